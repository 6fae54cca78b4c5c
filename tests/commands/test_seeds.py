"""`hdlif train --seeds`: one run folder a seed, what is skipped, and the mean over them."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from hdlif.commands import seeds as module
from hdlif.commands.seeds import SeedsResult, Spread, train_seeds
from hdlif.commands.train import train
from hdlif.errors import CheckpointError, ExistingRunError, InputError, RecipeError
from hdlif.recipe import dump_recipe, load_recipe
from hdlif.recipe.runs.summary import TrainResult
from hdlif.training import checkpoint

FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool | None]]:
    """Notes (seed, resume) of every training."""
    seen: list[tuple[int, bool | None]] = []

    def noting(recipe: Any, **options: Any) -> TrainResult | None:
        seen.append((recipe.seed, options["resume"]))
        return train(recipe, **options)

    monkeypatch.setattr(module, "train", noting)
    return seen


def test_mean_and_deviation_are_of_the_seeds_and_finished_ones_are_skipped(
    tmp_path: Path, trained: list[tuple[int, bool | None]]
) -> None:
    said: list[str] = []
    two = train_seeds("digits_hdlif", seeds=2, out=tmp_path, say=said.append, **OPTIONS)
    assert said[0] == "seed 42: training"
    summaries = [json.loads((tmp_path / f"seed_{seed}" / "summary.json").read_text()) for seed in (42, 43)]
    assert [summary["seed"] for summary in summaries] == list(two.seeds) == [42, 43]
    accuracies = [summary["accuracy"] for summary in summaries]
    assert two.accuracy == Spread(statistics.mean(accuracies), statistics.stdev(accuracies), tuple(accuracies))
    assert json.loads((tmp_path / "seeds.json").read_text()) == two.as_dict()
    three = train_seeds("digits_hdlif", seeds=3, out=tmp_path, **OPTIONS)
    assert list(three.accuracy.values[:2]) == accuracies
    assert trained == [(42, None), (43, None), (44, None)]
    # Another recipe in the same folder is no finished one.
    other = [*FAST, "training.momentum=0.5"]
    train_seeds("digits_hdlif", seeds=1, out=tmp_path, overrides=other, overwrite=True, memory_repeats=0)
    assert trained[3:] == [(42, False)]


def test_run_of_one_seed_is_the_training_with_that_seed(tmp_path: Path) -> None:
    train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", overrides=[*FAST, "seed=7"], memory_repeats=0)
    train("digits_hdlif", out=tmp_path / "one", overrides=[*FAST, "seed=7"], memory_repeats=0)
    paths = tmp_path / "many" / "seed_7" / "model.safetensors", tmp_path / "one" / "model.safetensors"
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_stopped_seed_is_taken_up_again(tmp_path: Path, trained: list[tuple[int, bool | None]]) -> None:
    recipe = load_recipe("digits_hdlif", FAST)
    folder = tmp_path / "seed_42"
    train(recipe, out=folder, memory_repeats=0)
    before = checkpoint.load(folder / "last.safetensors")[1]["counters"]
    (folder / "summary.json").unlink()
    assert (folder / "recipe.yaml").read_text() == dump_recipe(recipe)
    train_seeds("digits_hdlif", seeds=1, out=tmp_path, **OPTIONS)
    assert trained == [(42, None)]
    assert checkpoint.load(folder / "last.safetensors")[1]["counters"] == before


def test_a_run_of_another_recipe_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    first = train_seeds("digits_hdlif", seeds=1, out=tmp_path, **OPTIONS)
    other = {"overrides": [*FAST, "training.momentum=0.5"], "memory_repeats": 0}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"training\.momentum"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path, resume=True, **other)
    with pytest.raises(ExistingRunError, match=r"seed_42: holds a run of digits_hdlif, finished on"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path, **other)
    with pytest.raises(InputError, match="leave one of them out"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path, resume=True, overwrite=True, **other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert train_seeds("digits_hdlif", seeds=1, out=tmp_path, resume=True, **OPTIONS).accuracy == first.accuracy
    train_seeds("digits_hdlif", seeds=1, out=tmp_path, overwrite=True, **other)
    kept = json.loads((tmp_path / "seed_42/summary.json").read_text())
    assert kept["recipe"]["training"]["momentum"] == 0.5


def test_seeds_that_no_recipe_can_have_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"2 seeds from 4294967295 on end at 4294967296; a seed is at most 4294967295"
    ):
        train_seeds("digits_hdlif", seeds=2, out=tmp_path, overrides=[*FAST, "seed=4294967295"], memory_repeats=0)
    assert list(tmp_path.iterdir()) == []


def test_text_is_mean_deviation_and_number() -> None:
    def of(*accuracies: float) -> SeedsResult:
        runs = [TrainResult(name="net", accuracy=one, accuracy_per_step=(one,)) for one in accuracies]
        return SeedsResult.of("net", runs)

    assert str(of(0.9075, 0.9175)) == "net: 91.25 ± 0.71 % (2)"
    assert str(of(0.9)) == "net: 90.00 % (1)"
