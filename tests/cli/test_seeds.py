"""`hdlif train --seeds`: one run folder per seed, what is skipped, and the mean over them."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from command_line import hdlif
from hdlif.cli import seeds as module
from hdlif.cli.seeds import Spread, train_seeds
from hdlif.errors import CheckpointError, ExistingRunError, InputError, RecipeError
from stub_training import stub
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    monkeypatch.setattr(module, "train_in_one_process", stub(seen))
    return seen


def test_mean_and_deviation_are_of_the_seeds_and_finished_ones_are_skipped(tmp_path: Path, begun: list[Any]) -> None:
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
    assert [(recipe.seed, options.resume) for recipe, _, options in begun] == [(42, None), (43, None), (44, None)]
    # Another recipe in the same folder is no finished one.
    other = {"overrides": [*FAST, "training.momentum=0.5"], "memory_repeats": 0}
    with pytest.raises(ExistingRunError, match="seed_42"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path, **other)
    train_seeds("digits_hdlif", seeds=1, out=tmp_path, overwrite=True, **other)
    assert [(options.resume, options.overwrite) for _, _, options in begun[3:]] == [(False, True)]


def test_the_command_prints_the_mean_and_writes_what_it_prints(tmp_path: Path, begun: list[Any]) -> None:
    arguments = [word for one in FAST for word in ("--set", one)]
    done = hdlif("train", "digits_hdlif", *arguments, "--out", tmp_path, "--memory-repeats", 0, "--seeds", 2)
    assert done.stdout.startswith(f"{tmp_path.name}: ")
    assert done.stdout.endswith(" % (2)\n")
    again = hdlif("train", "digits_hdlif", *arguments, "--out", tmp_path, "--seeds", 2, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "seeds.json").read_text())
    assert again.stderr == ""
    assert len(begun) == 2


def test_a_run_of_one_seed_is_the_training_with_that_seed_and_goes_on(tmp_path: Path) -> None:
    own = {"overrides": [*FAST, "seed=7"], "memory_repeats": 0}
    train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", **own)
    train("digits_hdlif", out=tmp_path / "one", **own)
    folder = tmp_path / "many" / "seed_7"
    model = (folder / "model.safetensors").read_bytes()
    assert model == (tmp_path / "one" / "model.safetensors").read_bytes()
    (folder / "summary.json").unlink()
    kept = (folder / "last.safetensors").stat().st_mtime_ns
    train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", **own)
    assert ((folder / "last.safetensors").stat().st_mtime_ns, (folder / "summary.json").exists()) == (kept, True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = {"overrides": [*FAST, "seed=7", "training.momentum=0.5"], "memory_repeats": 0}
    with pytest.raises(CheckpointError, match=r"training\.momentum"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", resume=True, **other)
    with pytest.raises(InputError):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", resume=True, overwrite=True, **other)
    assert {path: path.read_bytes() for path in before if path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_seeds_that_no_recipe_can_have_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="4294967296"):
        train_seeds("digits_hdlif", seeds=2, out=tmp_path, overrides=[*FAST, "seed=4294967295"], memory_repeats=0)
    assert list(tmp_path.iterdir()) == []
