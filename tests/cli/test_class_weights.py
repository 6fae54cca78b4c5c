"""Class weights from recipe to training: counted from the training samples, stated, and learned with."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.profile import profile_training
from hdlif.cli.recipes import check
from hdlif.errors import RecipeError
from hdlif.recipe import Component, Recipe, builders, load_recipe
from hdlif.recipe.runs.recipe_data import Looks, load_with_data, with_class_weights
from hdlif.training.tasks import balanced_weights
from series_files import write_csv
from table_files import table_rows
from trainings import train

FAST = ["model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2", "data.columns=[width, height]"]
BALANCED = "task={kind: classify, class_weights: balanced}"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows of 50 that are big, and of 10 that are small."""
    of_both = table_rows(100)
    big, small = ([row for row in of_both if row[1] == label] for label in ("big", "small"))
    return write_csv(tmp_path / "rows.csv", [*big, *small[:10]], ["who", "label", "width", "height"])


def trained(rows: Path, out: Path, task: str, **options: Any) -> None:
    train("wine_hdlif", data=str(rows), overrides=[*FAST, task], out=out, memory_repeats=0, **options)


def test_balanced_weights_are_those_of_the_training_part_and_stand_in_the_recipe(rows: Path, tmp_path: Path) -> None:
    said: list[str] = []
    trained(rows, tmp_path / "run", BALANCED, say=said.append)
    kept = load_recipe(tmp_path / "run" / "recipe.yaml")
    labels = builders.build_data(kept).train.labels
    counts = torch.bincount(labels)
    assert counts[0] > 3 * counts[1] > 0
    weights = kept.task.arguments["class_weights"]
    assert weights == list(balanced_weights(labels, 2))
    assert f"class weights: big {weights[0]:.3g}, small {weights[1]:.3g}" in said
    # What is found finished is the same training.
    before = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    trained(rows, tmp_path / "run", BALANCED, resume=True)
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == before


def test_inspect_says_how_a_rare_class_counts_alike(rows: Path, tmp_path: Path) -> None:
    text = as_text(inspect(str(rows), overrides=["data.columns=[width, height]"]))
    assert re.search(r"rarest class   small, \d of \d\d to train", text)
    (fix,) = (line.strip() for line in text.splitlines() if "--set 'task=" in line)
    given = [*FAST, fix.removeprefix("--set '").removesuffix("'")]
    assert load_with_data("wine_hdlif", given, data=str(rows))[0].task.arguments["best"] == "balanced_accuracy"
    even = write_csv(tmp_path / "even.csv", table_rows(40), ["who", "label", "width", "height"])
    assert "rarest class" not in as_text(inspect(str(even), overrides=["data.columns=[width, height]"]))


def test_tables_of_trainings_count_classes_once_and_as_a_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = load_recipe("digits_hdlif", [BALANCED])
    weighed = with_class_weights(chosen)
    assert weighed.task != chosen.task
    built, build = list[Recipe](), builders.build_data

    def noted(recipe: Recipe, *arguments: Any, **options: Any) -> Any:
        built.append(recipe)
        return build(recipe, *arguments, **options)

    monkeypatch.setattr(builders, "build_data", noted)
    look = Looks()
    for seed in (42, 43):
        assert look(chosen.model_copy(update={"seed": seed})) == weighed.model_copy(update={"seed": seed})
    plain = chosen.model_copy(update={"task": Component.model_validate({"kind": "classify"})})
    assert look(plain) == plain
    assert len(built) == 1


def test_of_a_series_with_a_delay_the_steps_that_are_learned_are_counted() -> None:
    """All others have one class of this set: seven times as much would be learned from those that are asked for."""
    weighed = with_class_weights(load_recipe("copy_hdlif", ["task.class_weights=balanced"]))
    weights = np.array(weighed.task.arguments["class_weights"])
    delay = weighed.task.arguments["delay"]
    learned = builders.build_data(weighed).train.labels[:, : weighed.time_steps - delay]
    assert weights[learned.numpy()].mean() == pytest.approx(1, abs=1e-3)


def test_what_trains_on_noise_or_only_checks_needs_no_data() -> None:
    assert profile_training("vowels_hdlif", overrides=[BALANCED, "model.widths=[4]", "data.batch_size=2"]).as_dict()
    for build in (True, False):
        check("digits_hdlif", [BALANCED], build=build)


def test_weights_that_are_none_are_refused() -> None:
    for recipe, weights, words in (
        ("digits_hdlif", "[1, 2]", "has 2 numbers; give one for each of the 10 classes"),
        ("digits_hdlif", "equal", '= "equal" is unknown'),
        ("digits_hdlif", "[1, x]", "item 2"),
        ("mackey_glass_hdlif", "[1, 2]", "learns one class of a sample"),
    ):
        with pytest.raises(RecipeError, match=words):
            builders.check(load_recipe(recipe, [f"task={{kind: classify, class_weights: {weights}}}"]))
    with pytest.raises(RecipeError, match="learns one class of a sample"):
        Looks()(load_recipe("mackey_glass_hdlif", [BALANCED]))
    with pytest.raises(RecipeError, match=r"task\.class_weights = .* is unknown"):
        builders.check_names(load_recipe("mackey_glass_hdlif", ["task.class_weights=balanced"]))
