"""`hdlif train`: what it leaves in the run folder, streams, and what is refused before a folder is made."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import hdlif
from hdlif.cli import recipes, training_run
from hdlif.errors import ExistingRunError, RecipeError, TrainingError
from hdlif.recipe import load_recipe
from hdlif.recipe.runs.recipe_data import _as_streams
from hdlif.report import peak_memory as probe
from hdlif.training import Batch, Callback, Training
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4", "model.blocks=[1]", "data.train=256"]


def test_a_summary_is_written_although_memory_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*arguments: object, **options: object) -> int:
        raise TrainingError("digits_hdlif: peak memory could not be measured (exit code -9)")

    monkeypatch.setattr(training_run, "peak_memory", killed)
    result = train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=1)
    assert result.peak_bytes is None
    # The threads of PyTorch, whatever they are, are stated.
    assert result.as_dict()["threads"] == {"count": 1, "chosen_by": "default", "seconds_per_update": {}}
    assert json.loads((tmp_path / "summary.json").read_text()) == result.as_dict()
    assert "could not be measured (exit code -9); the summary is without it" in "".join(capsys.readouterr())
    with pytest.raises(TrainingError, match=r"name: .* \(exit code 9; .*\); .*--memory-repeats 0"):
        probe.in_fresh_processes([sys.executable, "-c", "raise SystemExit(9)"], repeats=1, name="name")


class Fails(Callback):
    """Ends a training before its first update is over."""

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self.error = error

    def on_batch_start(self, training: Training, batch: Batch) -> Batch:
        raise self.error


def test_a_training_that_ended_before_its_first_checkpoint_is_in_nobodys_way(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fails"):
        train("digits_hdlif", overrides=FAST, out=tmp_path / "refused", callbacks=[Fails(TrainingError("fails"))])
    assert [path.name for path in (tmp_path / "refused").iterdir()] == [".lock"]
    # As it is killed, there is no time to remove what was written.
    out, printed, stop = tmp_path / "run", list[str](), [Fails(KeyboardInterrupt)]
    for seed in (42, 7):
        with pytest.raises(KeyboardInterrupt):
            train("digits_hdlif", overrides=[*FAST, f"seed={seed}"], out=out, callbacks=stop, say=printed.append)
        assert load_recipe(out / "recipe.yaml").seed == seed
    assert printed == []
    result = train("digits_hdlif", overrides=FAST, out=out, resume=True, memory_repeats=0, say=printed.append)
    assert (result.seed, len(printed), "has no checkpoint" in printed[0]) == (42, 1, True)
    # If its networks are gone, its log is a run's all the same; and so are networks of its epochs.
    for path in [*out.glob("*.safetensors"), out / "summary.json", out / "confusion.json"]:
        path.unlink()
    # As of two epochs: one validation is written before there is a first checkpoint.
    log = 2 * (out / "metrics.jsonl").read_bytes()
    (out / "metrics.jsonl").write_bytes(log)
    for resume, overrides in ((False, [*FAST, "seed=7"]), (True, FAST)):
        with pytest.raises(ExistingRunError):
            train("digits_hdlif", overrides=overrides, out=out, resume=resume)
    assert (out / "metrics.jsonl").read_bytes() == log
    (out / "metrics.jsonl").write_text("")
    (out / "epoch_1.safetensors").write_text("kept")
    with pytest.raises(ExistingRunError, match=r"epoch_1\.safetensors"):
        train("digits_hdlif", overrides=FAST, out=out, resume=True)
    assert (out / "epoch_1.safetensors").read_text() == "kept"


def test_a_recipe_alone_in_the_folder_may_be_the_users(tmp_path: Path) -> None:
    for content in ("name: mine\n", "[]"):
        (tmp_path / "recipe.yaml").write_text(content)
        for resume in (False, True):
            with pytest.raises(ExistingRunError) as refused:
                train("digits_hdlif", overrides=FAST, out=tmp_path, resume=resume)
            assert "--resume" not in str(refused.value)
        assert (tmp_path / "recipe.yaml").read_text() == content


def test_what_a_rule_cannot_train_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    untraceable = [*FAST[:2], "model={kind: 'own_models:Untraceable'}"]
    for recipe, overrides, message in (
        ("digits_hdlif", [*untraceable, "rule={kind: ottt}"], "rule.ottt cannot train"),
        ("sines_dense_hdlif", ["rule={kind: forward_mode, budget: 100}", "neuron.per_step=false"], "set rule.budget"),
    ):
        for use in (train, recipes.check):
            options: dict[str, Any] = {"out": tmp_path / "run"} if use is train else {"build": True}
            with pytest.raises(RecipeError, match=message):
                use(recipe, overrides=overrides, **options)
            assert not (tmp_path / "run").exists()
    recipes.check("digits_hdlif", [*untraceable, "rule={kind: stbp}"], build=True)


def test_threads_are_pytorchs_own_unless_they_are_given_or_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    class Asked(training_run.Trainer):
        def __init__(self, model: object, **options: object) -> None:
            asked.append({key: options[key] for key in ("threads", "cores")})
            raise TrainingError("asked")

    monkeypatch.setattr(training_run, "Trainer", Asked)
    monkeypatch.setattr(training_run, "cores_to_try", lambda: 6)
    for threads in (None, 3, "auto"):
        with pytest.raises(TrainingError, match="asked"):
            train("digits_hdlif", overrides=FAST, out=tmp_path / "none", memory_repeats=0, threads=threads)
    assert asked == [{"threads": None, "cores": 0}, {"threads": 3, "cores": 0}, {"threads": None, "cores": 6}]
    for wrong in ("0", "many"):
        assert hdlif("train", "digits_hdlif", "--threads", wrong).returncode == 2


SHARED = ["neuron.per_step=false", "training.epochs=1", "model.widths=[8]"]
FEW = ["data.batch_size=1", "data.train=8", "data.validation=4"]


def test_a_recipe_is_trained_on_as_a_stream_and_its_memory_is_measured(tmp_path: Path) -> None:
    words = [word for change in (*SHARED, *FEW) for word in ("--set", change)]
    command = ["train", "sines_dense_hdlif", "--stream", *words, "--memory-repeats", 1, "--out", tmp_path / "run"]
    done = hdlif(*command)
    assert done.returncode == 0, done.stderr
    assert "training.stream = 16: an update every 16 steps" in done.stderr
    # The most up to 16 that divide the 32 steps.
    assert load_recipe(tmp_path / "run" / "recipe.yaml").training.stream == 16
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["peak_bytes"] > 100_000
    assert hdlif(*command, "--resume").returncode == 0


def test_the_steps_of_a_stream_are_the_recipes_or_follow_from_the_data() -> None:
    lines: list[str] = []
    few = ["neuron.per_step=false", "model={kind: dense, widths: [4]}"]
    # Of a prime number of steps none divides it but one, which is warned of.
    for steps, stream in ((29, 1), (34, 2), (48, 16)):
        chosen = load_recipe("mackey_glass_hdlif", [*few, f"time_steps={steps}", f"data.steps={steps}"])
        assert _as_streams(chosen, lines.append).training.stream == stream
    assert ["sees no time" in line for line in lines] == [True, False, False]
    stated = load_recipe("sines_dense_hdlif", [*SHARED, "training.stream=8"])
    assert _as_streams(stated, lines.append) is stated


def test_a_single_stream_is_enough_and_a_loss_that_is_not_finite_is_located(tmp_path: Path) -> None:
    """Batch norms have averages for statistics, in what is measured of an update too."""
    given: dict[str, Any] = {"memory_repeats": 0, "stream": True}
    found = train("sines_conv1d_hdlif", overrides=[*SHARED, *FEW], out=tmp_path / "a", **given)
    assert found.saved_bytes
    diverging = [*SHARED, *FEW, "training.learning_rate=1.0e+30"]
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf), and first not finite is .*; lower learning_rate"):
        train("sines_conv1d_hdlif", overrides=diverging, out=tmp_path / "b", **given)
