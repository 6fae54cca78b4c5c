"""`hdlif sweep`: what is trained and pruned, and that a study survives whatever ends its processes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hdlif.cli import sweep_trials as module
from hdlif.cli.sweep import sweep, trials_table
from hdlif.errors import DataError, InputError, MissingExtraError, RecipeError, TrainingError
from hdlif.recipe import Recipe, dump_recipe
from hdlif.recipe.runs import study as study_module
from hdlif.recipe.runs.search_space import override
from hdlif.recipe.runs.summary import TrainResult
from hdlif.training.tasks import Classify, Evaluation
from trainings import train

pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")

Run = Callable[..., dict[str, Any]]
Curve = dict[str, Any]
RECIPE = "digits_hdlif"
OVERRIDES = ["data={kind: synthetic, batch_size: 64, validation: 40}", "model.width=4", "model.blocks=[1]"]
OVERRIDES += ["training.epochs=3", "training.warmup_epochs=0"]
SPACE = """
training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}
neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def run(tmp_path: Path, space: Path) -> Run:
    def run(trials: int, *, name: str = "study", **changes: Any) -> dict[str, Any]:
        arguments = {"space": space, "overrides": OVERRIDES, "study": tmp_path / name / "study.journal"} | changes
        return sweep(RECIPE, trials=trials, **arguments).as_dict()

    return run


def trained(accuracy: float) -> TrainResult:
    """What a training has come to, as far as a search looks at it."""
    validated = {"validation_accuracy": accuracy, "validation_score": accuracy}
    return TrainResult(name="net", accuracy=accuracy, accuracy_per_step=(accuracy,), **validated)


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> Curve:
    """Training replaced by a curve: the accuracy is the learning rate, in each of three epochs."""
    seen: dict[str, Any] = {"trained": [], "at": lambda recipe, epoch: None}

    def fake(recipe: Recipe, out: Path, options: Any) -> TrainResult:
        seen["trained"].append((out.name, options.resume))
        (out / "recipe.yaml").write_text(dump_recipe(recipe))
        for epoch in (1, 2, 3):
            seen["at"](recipe, epoch)
            accuracy = recipe.training.learning_rate
            stand = SimpleNamespace(counters=SimpleNamespace(epoch=epoch - 1), task=Classify(("a", "b"), 1))
            for callback in options.callbacks:
                callback.on_epoch_end(stand, Evaluation(accuracy, (accuracy,), 0.0, 1, {"accuracy": accuracy}))
        return trained(recipe.training.learning_rate)

    monkeypatch.setattr(module, "train_in_one_process", fake)
    return seen


def test_trials_are_trained_and_the_best_can_be_trained_again(run: Run, tmp_path: Path) -> None:
    brief = [*OVERRIDES, "training.epochs=1"]
    result = run(2, overrides=brief)
    assert [(trial["number"], trial["state"], trial["epochs"]) for trial in result["trials"]] == [
        (number, "complete", 1) for number in (0, 1)
    ]
    assert json.loads((tmp_path / "study" / "sweep.json").read_text()) == result
    best = max(result["trials"], key=lambda trial: trial["validation_accuracy"])
    assert result["best"]["number"] == best["number"]
    recipe = module.built(RECIPE, [*brief, *result["best"]["overrides"]])
    assert train(recipe, out=tmp_path / "again", memory_repeats=0).validation_accuracy == best["validation_accuracy"]
    model = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert (Path(best["folder"]) / "model.safetensors").read_bytes() == model


def test_more_trials_add_to_the_study_and_as_many_change_nothing(
    run: Run, curve: Curve, space: Path, tmp_path: Path
) -> None:
    given = {"study": None, "out": tmp_path / "found"}
    first = run(3, **given)
    assert first["study"] == str(tmp_path / "found" / "study.journal")
    assert {path.name for path in (tmp_path / "found").iterdir()} >= {"study.journal", "sweep.json", "trial_0000"}
    # What a full disk leaves of a line does not spoil the journal.
    with (tmp_path / "found" / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    more = run(5, **given)
    assert more["trials"][:3] == first["trials"]
    assert [name for name, _ in curve["trained"][3:]] == ["trial_0003", "trial_0004"]
    assert run(5, **given) == more
    assert len(curve["trained"]) == 5
    # The table ends with what trains the best again.
    printed = trials_table(sweep(RECIPE, trials=5, space=space, overrides=OVERRIDES, out=tmp_path / "found"))
    assert "--set training.learning_rate=" in printed
    assert '--set \'neuron={"kind": ' in printed


def test_same_seed_searches_the_same_points_and_another_seed_others(run: Run, curve: Curve) -> None:
    def points(**changes: Any) -> list[Any]:
        return [trial["parameters"] for trial in run(3, **changes)["trials"]]

    assert points() == points(name="again") != points(name="other", overrides=[*OVERRIDES, "seed=7"])


def test_trial_below_the_median_is_pruned_and_keeps_its_best_epoch(run: Run, curve: Curve) -> None:
    # Five trials must be there to have a median; what is worse than their median afterwards ends after one epoch.
    trials = run(12)["trials"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    assert min(trial["number"] for trial in pruned) >= 5
    for trial in pruned:
        assert trial["epochs"] == 1
        assert trial["validation_accuracy"] == trial["parameters"]["training.learning_rate"]
    assert {trial["state"] for trial in trials} == {"complete", "pruned"}
    # Nothing is pruned in the epochs of the warm-up.
    longer = run(12, name="longer", overrides=[*OVERRIDES, "training.warmup_epochs=2"])["trials"]
    assert {trial["epochs"] for trial in longer if trial["state"] == "pruned"} == {3}


def test_failed_trials_have_their_errors_and_the_study_goes_on(run: Run, curve: Curve) -> None:
    errors = [TrainingError("the loss is nan"), DataError("too few images"), torch.OutOfMemoryError("no room")]

    def fail(recipe: Recipe, epoch: int) -> None:
        if len(curve["trained"]) <= len(errors):
            raise errors[len(curve["trained"]) - 1]

    curve["at"] = fail
    result = run(4)
    assert [(trial["state"], trial["error"]) for trial in result["trials"]] == [
        *(("failed", str(error)) for error in errors),
        ("complete", None),
    ]
    assert result["best"]["number"] == 3


def test_an_absent_data_set_is_no_trials_fault(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [*OVERRIDES[1:], "data={kind: fashion_mnist, batch_size: 64, validation: 40}"]
    with pytest.raises(DataError, match="fashion_mnist"):
        run(2, overrides=absent, data_root=tmp_path)
    monkeypatch.setattr(module, "train_in_one_process", lambda *_: trained(0.5))
    assert [trial["state"] for trial in run(1, overrides=absent, data_root=tmp_path)["trials"]] == ["complete"]


def test_a_trial_that_stops_three_times_where_it_began_has_failed(run: Run, curve: Curve, tmp_path: Path) -> None:
    last = tmp_path / "study" / "trial_0000" / "last.safetensors"

    def stop(recipe: Recipe, epoch: int) -> None:
        if len(curve["trained"]) == 2:
            last.write_text("a checkpoint")
        raise KeyboardInterrupt

    curve["at"] = stop
    # The second time it comes further than the first; then it stops three times where it is.
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(1)
    assert curve["trained"] == [("trial_0000", None)] * 4
    (trial,) = run(1)["trials"]
    assert (trial["state"], trial["error"]) == ("failed", "stopped 3 times without a new checkpoint")


def test_stopped_trial_is_taken_up_with_its_parameters(run: Run, curve: Curve) -> None:
    def stop(recipe: Recipe, epoch: int) -> None:
        if len(curve["trained"]) == 2 and epoch == 2:
            raise SystemExit

    curve["at"] = stop
    with pytest.raises(SystemExit):
        run(3)
    result = run(3)
    assert curve["trained"] == [(f"trial_{number:04}", None) for number in (0, 1, 1, 2)]
    # The epoch that was reported twice counts once.
    assert [(trial["state"], trial["epochs"]) for trial in result["trials"]] == [("complete", 3)] * 3
    # As if nothing had happened.
    assert [t["parameters"] for t in result["trials"]] == [t["parameters"] for t in run(3, name="straight")["trials"]]


def test_trial_of_a_living_process_is_left_alone(run: Run, curve: Curve, tmp_path: Path) -> None:
    def stop(recipe: Recipe, epoch: int) -> None:
        raise KeyboardInterrupt

    curve["at"] = stop
    with pytest.raises(KeyboardInterrupt):
        run(1)
    curve["at"] = lambda recipe, epoch: None
    hold = "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX); "
    hold += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, tmp_path / "study" / "trial_0000" / "lock"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert [trial["state"] for trial in run(2)["trials"]] == ["running", "complete"]
    # However it ends.
    holder.kill()
    holder.wait()
    assert [trial["state"] for trial in run(2)["trials"]] == ["complete", "complete"]


def test_of_two_processes_that_ask_at_once_the_later_withdraws(
    run: Run, curve: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials_of, asked = study_module.trials_of, list[int]()

    def late(study: Any) -> list[Any]:
        """What a process sees that looked just before another one asked."""
        asked.append(1)
        return trials_of(study)[:-1] if len(asked) == 2 else trials_of(study)

    run(2)
    with monkeypatch.context() as patched:
        patched.setattr(study_module, "trials_of", late)
        assert [trial["number"] for trial in run(2)["trials"]] == [0, 1]
    assert len(curve["trained"]) == 2
    # The withdrawn number is not used again.
    assert [trial["number"] for trial in run(3)["trials"]] == [0, 1, 3]


def test_what_cannot_be_searched_is_refused(
    run: Run, curve: Curve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(1)
    other = tmp_path / "other.yaml"
    other.write_text(SPACE.replace("0.3", "0.2"))
    # A study of another recipe or space is refused by all that differs.
    differing = r"recipe\.seed = 42, now 7; space\.training\.learning_rate\.high = 0\.3, now 0\.2"
    with pytest.raises(RecipeError, match=differing):
        run(1, space=other, overrides=[*OVERRIDES, "seed=7"])
    # A file that is no journal stays as it is.
    for content in ("precious: 1\nlast line without newline", "one line", '["op_code"]\n'):
        file = tmp_path / "precious.yaml"
        file.write_text(content)
        with pytest.raises(RecipeError, match=r"precious\.yaml: is not a journal"):
            run(1, study=file)
        assert file.read_text() == content
    with pytest.raises(TrainingError, match=r"precious\.yaml: cannot be created"):
        run(1, study=file / "s.journal")
    with pytest.raises(InputError, match="use one of them"):
        run(1, out=tmp_path / "other")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "optuna", None)
        with pytest.raises(MissingExtraError, match="optuna is not installed"):
            run(1)
    sync = os.fsync

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "study.journal":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"study\.journal: cannot be written \(No space left on device\)"):
        run(2)


@pytest.mark.slow
def test_two_processes_share_a_study_and_a_killed_one_loses_nothing(space: Path, tmp_path: Path) -> None:
    journal = tmp_path / "shared" / "study.journal"
    overrides = [*OVERRIDES, "training.epochs=10"]
    command = [sys.executable, "-m", "hdlif", "sweep", RECIPE, "--space", str(space), "--study", str(journal)]
    command += [part for setting in overrides for part in ("--set", setting)]
    command += ["--trials", "3", "--json"]
    paths = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    doomed = start()
    while not (tmp_path / "shared" / "trial_0000" / "last.safetensors").exists():
        assert doomed.poll() is None
        time.sleep(0.02)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    results = [json.loads(process.communicate(timeout=300)[0]) for process in [start(), start()]]
    last = max(results, key=lambda result: sum(trial["state"] == "complete" for trial in result["trials"]))
    assert [trial["number"] for trial in last["trials"]] == [0, 1, 2]
    assert {trial["state"] for trial in last["trials"]} == {"complete"}
    given = [override(key, value) for key, value in last["trials"][0]["parameters"].items()]
    train(module.built(RECIPE, [*overrides, *given]), out=tmp_path / "straight", memory_repeats=0)
    straight, killed = tmp_path / "straight", tmp_path / "shared" / "trial_0000"
    assert (killed / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
