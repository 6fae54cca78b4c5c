"""`hdlif train`: what it leaves in the run folder and replaces there, streams, and what is refused before."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import hdlif
from hdlif.cli import demo as demo_module
from hdlif.cli import recipes, training_run
from hdlif.errors import ExistingRunError, RecipeError, TrainingError
from hdlif.recipe import load_recipe
from hdlif.recipe.runs.recipe_data import _as_streams
from hdlif.report import peak_memory as probe
from hdlif.run_folder import MEASURED
from hdlif.training import Batch, Callback, Training
from hostile import one_printable_line
from trainings import train


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
    assert "could not be measured (exit code -9); the summary omits it" in "".join(capsys.readouterr())
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


def test_a_recipe_alone_in_the_folder_may_be_the_users(tmp_path: Path) -> None:
    for content in ("name: mine\n", "[]"):
        (tmp_path / "recipe.yaml").write_text(content)
        for resume in (False, True):
            with pytest.raises(ExistingRunError) as refused:
                train("digits_hdlif", overrides=FAST, out=tmp_path, resume=resume)
            assert "--resume" not in str(refused.value)
        assert (tmp_path / "recipe.yaml").read_text() == content
    # Whatever a run says of itself, the refusal is one line.
    hostile = ["", "{", "[]", "3", '{"name": 3}', '{"name": "\\u001b[31m"}', "[" * 100_000, '{"name": "' + "x" * 9999]
    for content in hostile:
        for name in ("summary.json", "recipe.yaml"):
            (tmp_path / name).write_text(content)
        with pytest.raises(ExistingRunError) as refused:
            train("digits_hdlif", out=tmp_path, **OPTIONS)
        one_printable_line(refused.value)


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
    assert ["no gradient through time" in line for line in lines] == [True, False, False]
    stated = load_recipe("sines_dense_hdlif", [*SHARED, "training.stream=8"])
    assert _as_streams(stated, lines.append) is stated


def test_a_single_stream_is_enough_and_a_loss_that_is_not_finite_is_located(tmp_path: Path) -> None:
    """Batch norms have averages for statistics, in what is measured of an update too."""
    given: dict[str, Any] = {"memory_repeats": 0, "stream": True}
    found = train("sines_conv1d_hdlif", overrides=[*SHARED, *FEW], out=tmp_path / "a", **given)
    assert found.saved_bytes
    diverging = [*SHARED, *FEW, "training.learning_rate=1.0e+30"]
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf), and the first value that is not finite is .*; lower learning_rate"
    ):
        train("sines_conv1d_hdlif", overrides=diverging, out=tmp_path / "b", **given)


FAST = ["training.epochs=1", "data.batch_size=32", "model.width=4", "model.blocks=[1]", "data.train=32"]
KEPT = [*FAST, "training.keep_every=1"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}
OF_OTHER_TASKS = {"errors.json", "labels.json", "gallery.json"}
FILES = {"recipe.yaml", "metrics.jsonl", "tensorboard", *MEASURED} - OF_OTHER_TASKS
FILES |= {f"{name}.safetensors" for name in ("last", "previous", "best", "model", "damaged", "epoch_1")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with everything that a training and what measures it write."""
    out = tmp_path_factory.mktemp("overwrite") / "run"
    train("digits_hdlif", out=out, overrides=KEPT, memory_repeats=0)
    names = ("coherence.json", "report.html", "data_files.json", "previous", "damaged", "best")
    for name in (name if "." in name else f"{name}.safetensors" for name in names):
        (out / name).write_text("{}")
    assert {path.name for path in out.iterdir()} - {".lock"} == FILES
    return out


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_run_is_not_replaced_unasked(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    before = everything(out)
    for changes in ([], ["training.momentum=0.5"], ["name=another"]):
        with pytest.raises(ExistingRunError) as refused:
            train("digits_hdlif", out=out, overrides=[*FAST, *changes], memory_repeats=0)
        said = one_printable_line(refused.value)
        assert all(words in said for words in (str(out), "digits_hdlif", "--resume", "--overwrite", "--out"))
        assert everything(out) == before
    # A summary that lacks a figure is of no finished training.
    for name in ("previous", "best"):
        (out / f"{name}.safetensors").unlink()
    whole = json.loads((out / "summary.json").read_text())
    for change in ({"accuracy": "x"}, {"sops": []}):
        (out / "summary.json").write_text(json.dumps(whole | change))
        again = train("digits_hdlif", out=out, overrides=KEPT, resume=True, memory_repeats=0)
        assert again.accuracy == whole["accuracy"]
        assert json.loads((out / "summary.json").read_text()) == again.as_dict()


def test_any_file_of_a_run_alone_keeps_a_training_out_and_a_resume_has_nothing_to_go_on_from(
    run: Path, tmp_path: Path
) -> None:
    for name in FILES:
        out, source = tmp_path / name, run / name
        out.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, out / name)
        before = everything(out)
        resumes = name in ("summary.json", "report.html", "coherence.json", "recipe.yaml", "epoch_1.safetensors")
        for options in ({}, {"resume": True}) if resumes else ({},):
            with pytest.raises(ExistingRunError, match=name):
                train("digits_hdlif", out=out, **OPTIONS, **options)
            assert everything(out) == before


def test_overwriting_replaces_the_run_and_leaves_what_is_none_of_it(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    mine = ("notes.txt", "epoch_1_notes.safetensors", "model.safetensors.bak", "a/b")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"mine")
    (out / ".last.safetensors.0123456789abcdef.tmp").write_text("of a writer that was killed")
    options = [word for override in [*FAST, "seed=7"] for word in ("--set", override)]
    command = ["train", "digits_hdlif", *options, "--out", out, "--memory-repeats", "0", "--json"]
    assert hdlif(*command).returncode == 2
    done = hdlif(*command, "--overwrite")
    assert done.returncode == 0, done.stderr
    after = everything(out)
    assert {after[name] for name in mine} == {b"mine"}
    assert json.loads(after["summary.json"]) == json.loads(done.stdout)
    gone = {"coherence.json", "report.html", "previous.safetensors", "damaged.safetensors", "epoch_1.safetensors"}
    assert not gone & after.keys()
    assert not [name for name in after if name.endswith(".tmp")]


@pytest.mark.slow
def test_a_demo_is_replaced_by_a_demo_and_a_training_is_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "NETWORKS", demo_module.NETWORKS[1:2])
    monkeypatch.setattr("hdlif.recipe.load_recipe", lambda name: load_recipe(name, FAST))
    for _ in range(2):
        demo_module.demo(out=tmp_path / "demo", memory_repeats=0)
    with pytest.raises(ExistingRunError, match="demo: contains a run"):
        train("digits_hdlif", out=tmp_path / "demo", **OPTIONS)
    # A training of one's own there, or in the folder of one of its networks.
    for place in (tmp_path / "run", tmp_path / "runs" / "hdlif"):
        shutil.copytree(run, place)
        out = tmp_path / place.relative_to(tmp_path).parts[0]
        before = everything(out)
        with pytest.raises(ExistingRunError, match="contains a run of digits_hdlif"):
            demo_module.demo(out=out, memory_repeats=0)
        assert everything(out) == before
