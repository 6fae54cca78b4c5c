"""`hdlif train --budget`: what it leaves, how it resumes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import hdlif
from command_line import hdlif as command
from hdlif.cli import budget_training
from hdlif.cli.budget_training import take_over
from hdlif.cli.training_run import TrainingOptions
from hdlif.errors import CheckpointError, ExistingRunError, RecipeError
from hdlif.recipe import Recipe, load_recipe
from hdlif.run_folder import BUDGET
from hdlif.training import Callback, Training, checkpoint

SMALL = ["model.width=4", "model.blocks=[1]", "data.train=128", "training.epochs=4", "training.ema_decay=0.9"]
NAME = "digits_hdlif_w1p5_s4"
OPTIONS: dict[str, Any] = {"overrides": SMALL, "memory_repeats": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training within a budget that nothing interrupted."""
    out = tmp_path_factory.mktemp("budget") / "run"
    hdlif.train(NAME, budget="nops=70%", out=out, **OPTIONS)
    return out


class KilledAt(Callback):
    """Ends a training after a batch, without a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, training: Training) -> None:
        if training.counters.step == self.step:
            raise KeyboardInterrupt


def test_a_run_is_one_of_the_chosen_recipe(run: Path) -> None:
    plan, summary = (json.loads((run / name).read_text()) for name in (BUDGET, "summary.json"))
    chosen = load_recipe(run / "recipe.yaml")
    assert [choice["epoch"] for choice in plan["choices"]] == [1, 2]
    assert plan["choices"][-1]["recipe"] == summary["recipe"] == chosen.model_dump(mode="json")
    assert chosen.neuron.arguments["parallel"] == list(plan["choices"][-1]["layers"]) != []
    # Of neurons the count does not change by training.
    assert summary["nops"] == plan["choices"][-1]["after"]["nops"] <= 0.7 * plan["choices"][-1]["before"]["nops"]
    assert chosen.training.epochs == 4
    epochs = [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2, 3, 4}
    # The best epoch is one of the chosen network.
    assert summary["best_epoch"] > 2
    assert hdlif.evaluate(run).as_dict()["accuracy"] == summary["accuracy"]
    assert hdlif.export(run, run.parent / "net.hdlif.safetensors")


def test_a_layer_that_gets_its_memory_back_begins_its_average_anew(tmp_path: Path) -> None:
    hdlif.train("digits_hdlif", budget="mb=80%", out=tmp_path / "run", **OPTIONS)
    first, last = json.loads((tmp_path / "run" / BUDGET).read_text())["choices"]
    back = [layer for layer in first["layers"] if layer not in last["layers"]]
    assert back
    names = checkpoint.load(tmp_path / "run/last.safetensors")[0]
    assert {f"{budget_training.AVERAGE}{layer}.leak.logit" for layer in back} <= set(names)


def test_a_block_with_fewer_channels_trains_on_with_its_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimiser and averages too; the second choice starts from the network that has them."""
    wide = ["model.width=32", "training.epochs=4", "data.train=64", "model.blocks=[1]", "training.ema_decay=0.9"]
    options: dict[str, Any] = {"overrides": wide, "memory_repeats": 0}
    taken = []

    def seen(recipe: Recipe, out: Path) -> None:
        take_over(recipe, out)
        taken.append(checkpoint.load(out / "last.safetensors")[0])

    monkeypatch.setattr(budget_training, "take_over", seen)
    found = hdlif.train(NAME, budget="flash_kb=70%", out=tmp_path / "run", **options)
    plan = json.loads((tmp_path / "run" / BUDGET).read_text())
    assert plan["choices"][0]["layers"]["body.stage1.0"] == "16 inner channels"
    assert plan["choices"][1]["limits"] == plan["choices"][0]["limits"]
    assert plan["choices"][1]["after"]["flash_kb"] <= plan["choices"][0]["limits"]["flash_kb"]
    shapes = {name: list(one.shape) for name, one in taken[0].items() if name.endswith("stage1.0.conv1.weight")}
    assert sorted(name.partition(".")[0] for name in shapes) == ["callbacks", "model", "optimizer"]
    assert all(shape[0] == 16 for shape in shapes.values())
    assert hdlif.evaluate(tmp_path / "run").as_dict()["accuracy"] == found.accuracy


def test_a_training_that_is_killed_resumes_exactly(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first checkpoint, between a choice and the checkpoint that it changes, and in a chosen network."""
    recipe, out = load_recipe(NAME, SMALL), tmp_path / "run"

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    for step in (1, 3, 7):
        options = TrainingOptions(resume=out.exists(), callbacks=[KilledAt(step)], memory_repeats=0)
        with pytest.raises(KeyboardInterrupt):
            budget_training.train_within_budget(recipe, None if options.resume else "nops=70%", out, options)
        with monkeypatch.context() as patched:
            patched.setattr(budget_training, "take_over", killed)
            with pytest.raises(KeyboardInterrupt):
                hdlif.train(NAME, out=out, resume=True, **OPTIONS)
    hdlif.train(out / "recipe.yaml", out=out, resume=True, memory_repeats=0)
    for name in ("recipe.yaml", BUDGET):
        assert (out / name).read_text() == (run / name).read_text()
    one, other = (checkpoint.load(folder / "model.safetensors")[0] for folder in (out, run))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_a_checkpoint_keeps_what_the_chosen_network_has(run: Path) -> None:
    tensors, record = checkpoint.load(run / "last.safetensors")
    lost = {f"{name}.leak.logit" for name in record["recipe"]["neuron"]["parallel"]}
    names = {name.partition(".")[2] for name in tensors}
    assert lost
    assert not lost & names
    assert {name.replace("leak", "threshold") for name in lost} <= names
    assert any(name.startswith("optimizer.") for name in tensors)


def test_a_dry_run_prints_the_options_and_leaves_nothing(tmp_path: Path) -> None:
    small = [argument for override in SMALL for argument in ("--set", override)]
    out = ["--out", tmp_path / "run"]
    text = command("train", NAME, *small, "--budget", "nops=70%", "--dry-run", *out)
    assert text.returncode == 0
    assert "body.stage1.0.act2" in text.stdout
    assert "without memory" in text.stdout
    assert "nops: 6,144 -> 4,096 (budget 4,300.8)" in text.stdout
    found = json.loads(command("train", NAME, *small, "--budget", "nops=70%", "--dry-run", "--json", *out).stdout)
    assert len(found["options"]) == 4
    assert list(found["layers"].values()) == ["without memory"]
    twin = ("--twin", "ordinary", "--budget", "mb=90%", "--dry-run", "--json")
    assert json.loads(command("train", NAME, *small, *twin, *out).stdout)["recipe"]["time_steps"] == 1
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_within_a_budget_is_refused(run: Path, tmp_path: Path) -> None:
    streamed = ["training.stream=2", "neuron.per_step=false", "norm.per_step=false"]
    for budget, changes, message in (
        ("nops=1%", [], "the nearest budget that can"),
        ("nops=70%", ["training.epochs=1"], "training.epochs = 1; set 2 or more"),
        ("nops=70%", streamed, "and training.stream cannot be combined"),
    ):
        with pytest.raises(RecipeError, match=message):
            hdlif.train(NAME, budget=budget, out=tmp_path / "run", overrides=[*SMALL, *changes])
        assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match='started with --budget "nops=70%"'):
        hdlif.train(NAME, budget="nops=80%", out=run, resume=True, **OPTIONS)
    with pytest.raises(CheckpointError, match="belongs to another recipe"):
        hdlif.train(NAME, out=run, resume=True, overrides=[*SMALL, "seed=3"])
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(CheckpointError, match="was started without --budget"):
        hdlif.train(NAME, budget="nops=70%", out=tmp_path, resume=True, **OPTIONS)
    with pytest.raises(ExistingRunError):
        hdlif.train(NAME, budget="nops=70%", out=run, **OPTIONS)
    for options in (["--dry-run"], ["--budget", "nops=70%", "--seeds", "2"]):
        assert command("train", NAME, *options).returncode == 2
