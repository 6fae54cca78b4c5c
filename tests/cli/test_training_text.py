"""What a person reads of a finished training, and what samples are called in it."""

from dataclasses import replace
from pathlib import Path

from hdlif.cli.seeds import SeedsResult
from hdlif.cli.train import as_text
from hdlif.graph.artefact import InputRecord
from hdlif.graph.ops import SAMPLE, sample_name
from hdlif.graph.ops.graph import SoundRecord
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.summary import TrainResult

RESULT = TrainResult(
    name="digits_hdlif",
    recipe=load_recipe("digits_hdlif").model_dump(mode="json"),
    accuracy=0.9722,
    accuracy_per_step=(0.9, 0.9722),
    test_samples=1300,
    train_seconds=41.23,
    stored_mb=0.0244,
)
VALUES = {"accuracy": None, "accuracy_per_step": (), "metric": "rmse", "metrics": {"rmse": 0.31234}}
UNKNOWN = {"recipe": None, "test_samples": None, "stored_mb": None}


def test_the_text_says_what_is_known_and_ends_with_a_command() -> None:
    for changes, first in (
        ({}, "my photos: 97.2% of 1,300 test images right, 24.4 kB, trained in 41.2 s"),
        ({"best_epoch": 7, "validation_accuracy": 0.96}, "kept from epoch 7, the best on validation"),
        ({"best_epoch": 20}, "kept from epoch 20, the last"),
        (VALUES | UNKNOWN | {"train_seconds": None}, "my photos: rmse 0.3123 on the test samples"),
    ):
        lines = as_text(replace(RESULT, **changes), Path("runs/my photos")).splitlines()
        assert lines[0].endswith(first)
        assert lines[-1].endswith("hdlif profile 'runs/my photos'")
    seeds = SeedsResult.of("digits_hdlif", [replace(RESULT, seed=42, accuracy=0.9)])
    assert (seeds.text(Path("runs/photos")), seeds.text()) == ("photos: 90.00 % (1)", "digits_hdlif: 90.00 % (1)")
    two = SeedsResult.of("net", [replace(RESULT, accuracy=accuracy) for accuracy in (0.9075, 0.9175)])
    assert str(two) == "net: 91.25 ± 0.71 % (2)"


SOUND = SoundRecord(8000, 8000, "first", 8000, 40, 256, 80, 20.0, 4000.0)


def test_a_sample_is_called_by_what_a_network_takes() -> None:
    for shape, options, word in (
        ((1, 8, 8), {}, "images"),
        ((1, 8, 1), {"kind": "series"}, "series"),
        ((1, 8, 1), {"kind": "series", "windows": (8, 4)}, "windows"),
        ((1, 1, 1), {"kind": "table"}, "rows"),
        ((2, 8, 8), {"kind": "events"}, "recordings"),
        ((40, 8, 1), {"kind": "series", "sound": SOUND}, "sounds"),
    ):
        record = InputRecord(shape, (0.0,) * shape[0], (1.0,) * shape[0], **options)  # type: ignore[arg-type]
        assert sample_name(record).many == word
    rows = load_recipe("wine_hdlif").model_dump(mode="json")
    assert builders.sample_name_of([RESULT.recipe, RESULT.recipe]).one == "image"
    assert builders.sample_name_of([rows]).one == "row"
    for recipes in ([RESULT.recipe, rows], [{"name": "x", "data": 3}], [None]):
        assert builders.sample_name_of(recipes) == SAMPLE
