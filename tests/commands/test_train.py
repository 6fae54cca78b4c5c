"""`hdlif.commands.train`: what a finished training leaves where a part of its measuring fails."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hdlif.cli import cli
from hdlif.commands import recipes
from hdlif.commands import train as module
from hdlif.errors import ExistingRunError, RecipeError, TrainingError
from hdlif.recipe import load_recipe
from hdlif.report import peak_memory as probe
from hdlif.training import Batch, Callback, Training

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4"]


def test_a_summary_is_written_where_memory_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*arguments: object, **options: object) -> int:
        raise TrainingError("digits_hdlif: peak memory could not be measured (exit code -9)")

    monkeypatch.setattr(module, "peak_memory", killed)
    summary = module.train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=1)
    assert summary.peak_bytes is None
    assert json.loads((tmp_path / "summary.json").read_text()) == summary.as_dict()
    assert "could not be measured (exit code -9); the summary is without it" in "".join(capsys.readouterr())


def test_what_was_measured_of_an_earlier_network_goes_with_it(tmp_path: Path) -> None:
    module.train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=0)
    for name in ("coherence.json", "report.html"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    module.train("digits_hdlif", overrides=[*FAST, "seed=7"], out=tmp_path, overwrite=True, memory_repeats=0)
    assert not (tmp_path / "coherence.json").exists()
    assert not (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "confusion.json").read_text())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_process_that_cannot_measure_says_why_and_what_helps() -> None:
    how = "measured on the CPU, in one process with the whole batch"
    with pytest.raises(TrainingError, match=rf"name: .* \(exit code 9; it is {how}\); .*--memory-repeats 0"):
        probe.in_fresh_processes([sys.executable, "-c", "raise SystemExit(9)"], repeats=1, name="name")


class Fails(Callback):
    """Ends a training before its first update is over."""

    def __init__(self, error: BaseException | type[BaseException] | None = None) -> None:
        self.error = error or TrainingError("the first update fails")

    def on_batch_start(self, training: Training, batch: Batch) -> Batch:
        raise self.error


def test_a_training_that_ended_before_its_first_checkpoint_is_in_nobodys_way(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the first update fails"):
        module.train("digits_hdlif", overrides=FAST, out=tmp_path / "refused", callbacks=[Fails()])
    assert [path.name for path in (tmp_path / "refused").iterdir()] == [".lock"]
    # As it is killed, there is no time to remove what was written.
    with pytest.raises(KeyboardInterrupt):
        module.train("digits_hdlif", overrides=FAST, out=tmp_path / "run", callbacks=[Fails(KeyboardInterrupt)])
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    # Another recipe, as whoever mends the first one has it.
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        module.train(
            "digits_hdlif",
            overrides=[*FAST, "seed=7"],
            out=tmp_path / "run",
            callbacks=[Fails(KeyboardInterrupt)],
            say=said.append,
        )
    assert said == []
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before.replace("seed: 42", "seed: 7")
    out = tmp_path / "run"
    result = module.train("digits_hdlif", overrides=FAST, out=out, resume=True, memory_repeats=0, say=said.append)
    assert said == [f"{out}: has no checkpoint to go on from; the training begins with its first epoch"]
    assert result is not None
    assert result.seed == 42
    # Where its networks are gone, its log is a run's all the same; and so are networks of its epochs.
    for path in [*out.glob("*.safetensors"), out / "summary.json", out / "confusion.json"]:
        path.unlink()
    # As of two epochs: one validation is written before there is a first checkpoint.
    log = 2 * (out / "metrics.jsonl").read_bytes()
    (out / "metrics.jsonl").write_bytes(log)
    for resume, overrides in ((False, [*FAST, "seed=7"]), (True, FAST)):
        with pytest.raises(ExistingRunError, match="it has no checkpoint, replace it"):
            module.train("digits_hdlif", overrides=overrides, out=out, resume=resume)
    assert (out / "metrics.jsonl").read_bytes() == log
    (out / "metrics.jsonl").write_text("")
    (out / "epoch_1.safetensors").write_text("kept")
    with pytest.raises(ExistingRunError, match=r"epoch_1\.safetensors"):
        module.train("digits_hdlif", overrides=FAST, out=out, resume=True)
    assert (out / "epoch_1.safetensors").read_text() == "kept"


def test_where_a_recipe_alone_is_nobody_is_told_to_go_on(tmp_path: Path) -> None:
    """It may be the user's, who trains into the folder that it lies in."""
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    for resume in (False, True):
        with pytest.raises(
            ExistingRunError, match=r"it has no checkpoint, replace it \(--overwrite\), or choose"
        ) as refused:
            module.train("digits_hdlif", overrides=FAST, out=tmp_path, resume=resume)
        assert "--resume" not in str(refused.value)
    assert (tmp_path / "recipe.yaml").read_text() == "name: mine\n"


def check_refused(recipe: str, overrides: list[str], message: str, out: Path) -> None:
    """By what would train, before it makes a folder, and by what looks at the recipe alike."""
    with pytest.raises(RecipeError, match=message):
        module.train(recipe, overrides=overrides, out=out)
    assert not out.exists()
    with pytest.raises(RecipeError, match=message):
        recipes.check(recipe, overrides, build=True)


def test_a_rule_that_cannot_learn_from_a_network_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    overrides = [*FAST[:2], "model={kind: 'own_models:Untraceable'}", "rule={kind: ottt}"]
    message = r"rule.ottt cannot train model.own_models:Untraceable: network.mix feeds a membrane and cannot learn"
    check_refused("digits_hdlif", overrides, message, tmp_path / "run")
    recipes.check("digits_hdlif", [*overrides, "rule={kind: stbp}"], build=True)


def test_traces_that_a_rule_cannot_keep_are_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    overrides = ["rule={kind: forward_mode, budget: 100}", "neuron.per_step=false"]
    message = r"rule.forward_mode cannot train model.dense: forward mode keeps .* set rule.budget to \d+ or more"
    check_refused("sines_dense_hdlif", overrides, message, tmp_path / "run")


SHARED = ["neuron.per_step=false", "training.epochs=1", "model.widths=[8]"]


def test_a_recipe_is_trained_on_as_a_stream(tmp_path: Path) -> None:
    words = [word for change in SHARED for word in ("--set", change)]
    command = ["train", "sines_dense_hdlif", "--stream", *words, "--memory-repeats", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    said = "training.stream = 16: an update every 16 steps, the most up to 16 that divide time_steps = 32"
    assert said in done.output
    # The most up to 16 that divide the 32 steps.
    assert load_recipe(tmp_path / "recipe.yaml").training.stream == 16
    assert json.loads((tmp_path / "summary.json").read_text())["accuracy"] > 0.3
    again = CliRunner().invoke(cli, [*command, "--resume"])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            29,
            "training.stream = 1: an update every step, for no number from 2 to 16 divides time_steps = 29; a rule "
            "without traces, such as stbp, then sees no time at all; set training.stream=29",
        ),
        (34, "training.stream = 2: an update every 2 steps, the most up to 16 that divide time_steps = 34; set "),
    ],
)
def test_a_stream_of_single_steps_is_warned_of(steps: int, said: str) -> None:
    lines = list[str]()
    few = ["neuron.per_step=false", "model={kind: dense, widths: [4]}", f"time_steps={steps}", f"data.steps={steps}"]
    chosen = load_recipe("mackey_glass_hdlif", few)
    module._as_streams(chosen, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith(said)


def test_a_single_stream_is_enough(tmp_path: Path) -> None:
    """Batch norms have averages for statistics, in what is measured of an update too."""
    few = [*SHARED, "data.batch_size=1", "data.train=8", "data.validation=4"]
    module.train("sines_conv1d_hdlif", overrides=few, out=str(tmp_path), memory_repeats=0, stream=True)
    assert json.loads((tmp_path / "summary.json").read_text())["saved_bytes"] > 0


def test_a_stream_whose_loss_is_not_finite_says_where(tmp_path: Path) -> None:
    few = [*SHARED, "data.batch_size=1", "data.train=8", "data.validation=4", "training.learning_rate=1.0e+30"]
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf), and first not finite is .*; lower learning_rate"):
        module.train("sines_conv1d_hdlif", overrides=few, out=tmp_path, memory_repeats=0, stream=True)


def test_the_steps_of_a_stream_that_a_recipe_states_stay(tmp_path: Path) -> None:
    stated = [*SHARED, "training.stream=8"]
    module.train("sines_dense_hdlif", overrides=stated, out=tmp_path, memory_repeats=0, stream=True)
    assert load_recipe(tmp_path / "recipe.yaml").training.stream == 8
    recipe = load_recipe("sines_dense_hdlif", SHARED)
    module.train(recipe, out=tmp_path, memory_repeats=0, stream=True, overwrite=True)
    assert load_recipe(tmp_path / "recipe.yaml").training.stream == 16


def test_the_steps_of_a_stream_follow_from_the_data(tmp_path: Path) -> None:
    """As many as divide the time steps that the data give, which may be others than the recipe's."""
    small = ["data.steps=48", "data.samples=32", "data.test=8", "data.validation=8", "training.epochs=1"]
    module.train(
        "mackey_glass_hdlif",
        overrides=[*small, "model={kind: dense, widths: [4]}"],
        out=tmp_path,
        memory_repeats=0,
        stream=True,
    )
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert (recipe.time_steps, recipe.training.stream) == (48, 16)
