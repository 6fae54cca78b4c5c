"""What a person reads of a finished training, and what samples are called in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from hdlif.cli import cli
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


def test_the_first_line_says_it_all_and_the_last_what_the_figures_are() -> None:
    first, _, header, _, row, _, note = as_text(RESULT, Path("runs/my photos")).splitlines()
    assert first == "my photos: 97.2% of 1,300 test images right, 24.4 kB, trained in 41.2 s"
    assert header.split()[:5] == ["network", "accuracy", "MB", "published", "MB"]
    assert row.startswith("my photos (digits_hdlif)  ")
    assert "97.22%" in row
    assert "Per image, SOPs and NOPs are operations" in note
    assert note.endswith("By layer: hdlif profile 'runs/my photos'")


def test_the_line_says_which_epoch_was_kept() -> None:
    validated = replace(RESULT, best_epoch=7, validation_accuracy=0.96)
    first, *_ = as_text(validated, Path("runs/digits_hdlif")).splitlines()
    assert first.endswith("trained in 41.2 s, kept from epoch 7, the best on validation")
    first, *_ = as_text(replace(RESULT, best_epoch=20), Path("runs/digits_hdlif")).splitlines()
    assert first.endswith("trained in 41.2 s, kept from epoch 20, the last")


def test_a_run_in_the_folder_of_its_recipe_has_one_name() -> None:
    lines = as_text(RESULT, Path("runs/digits_hdlif")).splitlines()
    assert lines[0].startswith("digits_hdlif: ")
    assert lines[4].startswith("digits_hdlif  ")


def test_what_is_not_known_is_left_out() -> None:
    values = replace(RESULT, accuracy=None, accuracy_per_step=(), metric="rmse", metrics={"rmse": 0.31234})
    without = replace(values, recipe=None, test_samples=None, stored_mb=None)
    first, *_ = as_text(without, Path("runs/wear")).splitlines()
    assert first == "wear: rmse 0.3123 on the test samples, trained in 41.2 s"
    assert as_text(replace(without, train_seconds=None), Path("runs/wear")).startswith(
        "wear: rmse 0.3123 on the test samples\n"
    )


def test_seeds_are_told_of_by_their_folder() -> None:
    result = SeedsResult.of("digits_hdlif", [replace(RESULT, seed=42, accuracy=0.9)])
    assert result.text(Path("runs/photos")).startswith("photos: 90")
    assert result.text().startswith("digits_hdlif: 90")


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (InputRecord((1, 8, 8), (0.0,), (1.0,)), "images"),
        (InputRecord((1, 8, 1), (0.0,), (1.0,), kind="series"), "series"),
        (InputRecord((1, 8, 1), (0.0,), (1.0,), kind="series", windows=(8, 4)), "windows"),
        (InputRecord((1, 1, 1), (0.0,), (1.0,), kind="table"), "rows"),
        (InputRecord((2, 8, 8), (0.0, 0.0), (1.0, 1.0), kind="events"), "recordings"),
        (
            InputRecord(
                (40, 8, 1),
                (0.0,),
                (1.0,),
                kind="series",
                sound=SoundRecord(8000, 8000, "first", 8000, 40, 256, 80, 20.0, 4000.0),
            ),
            "sounds",
        ),
    ],
)
def test_a_sample_is_called_by_what_a_network_takes(record: InputRecord, word: str) -> None:
    assert sample_name(record).many == word


def test_samples_of_several_kinds_or_of_none_that_is_known_are_samples() -> None:
    rows = replace(RESULT, recipe=load_recipe("wine_hdlif").model_dump(mode="json"))
    assert builders.sample_name_of([RESULT.recipe, RESULT.recipe]).one == "image"
    assert builders.sample_name_of([rows.recipe]).one == "row"
    assert builders.sample_name_of([RESULT.recipe, rows.recipe]) == SAMPLE
    for unknown in ({"name": "x", "data": 3}, None):
        assert builders.sample_name_of([unknown]) == SAMPLE


def test_train_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "model.width=4", "--set", "model.blocks=[1]", "--set", "training.epochs=1", "--threads", "1"]
    out = ["--out", str(tmp_path / "photos"), "--memory-repeats", "0"]
    cli(["train", "digits_hdlif", *small, *out], standalone_mode=False)
    first, *_, note = capsys.readouterr().out.splitlines()
    assert first.startswith("photos: ")
    assert "of 360 test images right" in first
    assert note.endswith(f"hdlif profile {tmp_path / 'photos'}")
