"""The loop: what it writes, that any stop is mended by a resume, and what it refuses."""

import errno
import json
import math
import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.progress import TaskID
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import own_parts
from hdlif.data import batches
from hdlif.errors import CheckpointError, DataError, TrainingError
from hdlif.learning import SLTT, STBP, Plan, Rule, StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.tasks import Classify, Evaluation
from hdlif.training import checkpoint, evaluate, progress_bar
from hdlif.training.optim import Drops, Optimization
from training.tiny import BATCHES, EPOCHS, TIME_STEPS, At, tiny_network, tiny_sets, train


class CrashError(Exception):
    """Stands for anything that ends a process without notice."""


def crash() -> None:
    raise CrashError


def events(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without its times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def model_bytes(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("straight")
    train(out)
    return out


def test_two_runs_give_the_same_model_and_metrics(straight: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    train(tmp_path)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_worker_processes_change_nothing(straight: Path, tmp_path: Path) -> None:
    # Batches that were made ahead when the signal came are made again.
    rule = At(BATCHES + 3, lambda: os.kill(os.getpid(), signal.SIGINT), StochasticStep())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, rule=rule, sets=tiny_sets().made_by(2))
    train(tmp_path, resume=True, sets=tiny_sets().made_by(1))
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_another_seed_gives_another_model(straight: Path, tmp_path: Path) -> None:
    train(tmp_path, seed=8)
    assert model_bytes(tmp_path) != model_bytes(straight)


def test_metrics_tell_of_every_window_and_epoch(straight: Path) -> None:
    seen = [(e["event"], e["epoch"], e["step"]) for e in events(straight)]
    first = [("train", 1, 4), ("train", 1, 8), ("train", 1, 10), ("validation", 1, 10), ("train", 2, 12)]
    assert seen[:5] == first
    assert seen[-1] == ("validation", EPOCHS, EPOCHS * BATCHES)
    validation = events(straight)[3]
    assert len(validation["accuracy_per_step"]) == TIME_STEPS
    assert validation["accuracy"] == validation["accuracy_per_step"][-1]
    # Warm-up over one epoch of ten batches: the last factor of the first window is 4/10.
    assert events(straight)[0]["learning_rate"] == pytest.approx(0.1 * 4 / 10)


def test_run_folder_holds_what_is_promised(straight: Path) -> None:
    assert sorted(path.name for path in straight.iterdir()) == [
        "last.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "previous.safetensors",
        "tensorboard",
    ]


def test_model_is_the_best_epoch_with_statistics_over_all_steps(tmp_path: Path) -> None:
    model, sets = tiny_network(), tiny_sets()
    result = train(tmp_path, model=model, sets=sets)
    validations = [e for e in events(tmp_path) if e["event"] == "validation"]
    accuracies = [e["accuracy"] for e in validations]
    assert result.metrics["accuracy"] == max(accuracies)
    best = max(validations, key=lambda event: (event["accuracy"], -event["loss"]))
    assert result.best_epoch == best["epoch"]
    assert list(result.per_step) == validations[result.best_epoch - 1]["accuracy_per_step"]
    loaded = tiny_network()
    record = checkpoint.load_model(tmp_path / "model.safetensors", loaded)
    assert record == {
        "recipe": {"seed": 7, "training": {"epochs": EPOCHS}},
        "epoch": result.best_epoch,
        "accuracy": result.metrics["accuracy"],
    }
    for one, two in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert not model.training
    x, target = sets.validation.sequence(torch.arange(40))
    # Without dropout and at fixed statistics, a batch's size changes nothing but rounding.
    again = evaluate(loaded, [(x, target)], task=Classify(tuple(map(str, range(10))), TIME_STEPS))
    assert again.accuracy == result.metrics["accuracy"]
    # All T steps of 320 images in ten batches, whatever the rule had run.
    assert loaded.body.stage1[0].bn1.num_batches_tracked.item() == BATCHES * TIME_STEPS


def test_first_of_epochs_with_equal_accuracy_and_loss_is_the_best(tmp_path: Path) -> None:
    still = TrainingConfig(epochs=3, learning_rate=1e-12)
    assert train(tmp_path, config=still).best_epoch == 1
    assert len({e["accuracy"] for e in events(tmp_path) if e["event"] == "validation"}) == 1


def test_train_accuracy_is_that_of_the_mean_logits(tmp_path: Path) -> None:
    class Two(STBP):
        def __call__(self, model, x, target, plan):  # type: ignore[no-untyped-def]
            for step in super().__call__(model, x, target, plan):
                shown = F.one_hot((target + (torch.arange(len(target)) % 4 == 0)) % 10, 10).float()
                # The last step alone would be wrong everywhere; the mean is wrong for one image in four.
                wrong = 0.5 * F.one_hot((target + 2) % 10, 10).float()
                yield type(step)(step.loss, torch.stack([shown, wrong]), step.update)

    train(tmp_path, rule=Two(), epochs=1)
    assert events(tmp_path)[0]["accuracy"] == 0.75


@pytest.mark.parametrize("batch", [0, 1, 9, 10, 17, EPOCHS * BATCHES - 1])
@pytest.mark.parametrize("checkpoint_every", [0.0, 1e9])
def test_resume_after_a_crash_ends_with_the_same_bytes(
    straight: Path, tmp_path: Path, batch: int, checkpoint_every: float
) -> None:
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(batch, crash, StochasticStep()), checkpoint_every=checkpoint_every)
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


@pytest.mark.parametrize(
    ("rule", "precision"),
    [
        (STBP(), "32-true"),
        (SLTT("sum"), "32-true"),
        (SLTT("each"), "32-true"),
        (StochasticStep(2), "bf16-mixed"),
        (StochasticStep(2), "64-true"),
    ],
)
def test_resume_is_exact_for_every_rule_and_precision(tmp_path: Path, rule: Rule, precision: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(one, rule=rule, precision=precision, epochs=2)
    with pytest.raises(CrashError):
        train(two, rule=At(13, crash, rule), precision=precision, epochs=2, checkpoint_every=0)
    train(two, rule=rule, precision=precision, epochs=2, resume=True)
    assert model_bytes(one) == model_bytes(two)
    assert events(one) == events(two)


@pytest.mark.parametrize(
    "kind",
    [
        torch.optim.Adam,
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam)
        ),
        own_parts.SignSGD,
    ],
)
def test_a_training_with_any_optimiser_resumes_exactly(tmp_path: Path, kind: type[torch.optim.Optimizer]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    stepping = Optimization(lambda model: kind(model.parameters(), lr=0.01), Drops([0.5]))
    train(one, optimization=stepping, epochs=2)
    with pytest.raises(CrashError):
        train(two, optimization=stepping, epochs=2, rule=At(13, crash, StochasticStep()), checkpoint_every=0)
    train(two, optimization=stepping, epochs=2, resume=True)
    assert model_bytes(one) == model_bytes(two)
    rates = [event["learning_rate"] for event in events(one) if event["event"] == "train"]
    assert rates[-1] == pytest.approx(0.1 * max(rates))


def test_an_optimiser_whose_state_no_checkpoint_takes_is_refused(tmp_path: Path) -> None:
    stepping = Optimization(lambda model: own_parts.KeepsMatrix(model.parameters(), lr=0.01))
    with pytest.raises(
        TrainingError,
        match=r"KeepsMatrix keeps 'matrix' of shape \[2, 2, 2, 2, 2\], where the parameter has .*another optimiser",
    ):
        train(tmp_path, optimization=stepping)


def test_crash_between_validation_and_checkpoint_leaves_no_second_event(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = checkpoint.save

    def save(path: Path, **content: Any) -> None:
        if path.name == "last.safetensors":
            raise CrashError
        written(path, **content)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(CrashError):
        train(tmp_path, checkpoint_every=1e9)
    monkeypatch.undo()
    assert (tmp_path / "best.safetensors").exists()
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_resume_of_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    first = train(tmp_path)
    before, metrics = model_bytes(tmp_path), events(tmp_path)
    again = train(tmp_path, resume=True)
    assert again.threads.count == first.threads.count
    assert replace(again, threads=first.threads) == first
    assert model_bytes(tmp_path) == before
    assert events(tmp_path) == metrics


def test_after_each_epoch_its_validation_is_told(straight: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    def note(epoch: int, result: Evaluation) -> None:
        seen.append((epoch, result.accuracy))
        if epoch == 2 and len(seen) == 2:
            raise CrashError

    with pytest.raises(CrashError):
        train(tmp_path, after_epoch=note)
    train(tmp_path, resume=True, after_epoch=note)
    accuracies = [e["accuracy"] for e in events(straight) if e["event"] == "validation"]
    # What was raised kept the second epoch from being done.
    assert seen == [(1, accuracies[0]), (2, accuracies[1]), (2, accuracies[1]), (3, accuracies[2])]
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_train_seconds_add_up_over_resumes(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(15, crash, StochasticStep()), checkpoint_every=0)
    path = tmp_path / "last.safetensors"
    tensors, record = checkpoint.load(path)
    record["counters"]["train_seconds"] = 1000.0
    checkpoint.save(path, tensors=tensors, record=record)
    assert 1000 < train(tmp_path, resume=True).train_seconds < 1060
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["seconds"] > 1000


def scalars(out: Path, tag: str) -> list[tuple[int, float]]:
    """TensorBoard's steps and values, as TensorBoard reads them."""
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(tag)]


# Batch 3: nothing was logged before the signal, which leaves a checkpoint of a step that TensorBoard may have seen.
@pytest.mark.parametrize("batch", [3, 9, 17])
def test_tensorboard_has_each_step_once_after_a_resume(straight: Path, tmp_path: Path, batch: int) -> None:
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(batch, crash, StochasticStep()), checkpoint_every=0)
    # Ended after another stretch whose checkpoint is never written.
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(8, crash, StochasticStep()), checkpoint_every=1e9, resume=True)
    train(tmp_path, resume=True)
    for tag in ("train/loss", "train/learning_rate", "validation/accuracy", "validation/accuracy_after_3"):
        assert scalars(tmp_path, tag) == scalars(straight, tag)
    steps = [step for step, _ in scalars(straight, "train/loss")]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(("number", "outcome"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
@pytest.mark.parametrize("batch", [0, 9, 14])
def test_signal_leaves_a_resumable_checkpoint(
    straight: Path, tmp_path: Path, number: signal.Signals, outcome: type[BaseException], batch: int
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = At(batch, lambda: os.kill(os.getpid(), number), StochasticStep())
    with pytest.raises(outcome) as raised:
        train(tmp_path, rule=stop, checkpoint_every=1e9)
    if outcome is SystemExit:
        assert raised.value.code == 143
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    _, record = checkpoint.load(tmp_path / "last.safetensors")
    # The batch in which the signal came is finished first.
    assert record["counters"]["step"] == batch + 1
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_signal_during_validation_saves_the_training_statistics(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = tiny_sets()
    read = sets.validation.batch

    def stop(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        return read(indices)

    monkeypatch.setattr(sets.validation, "batch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, sets=sets)
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def test_signal_in_the_last_moment_is_not_lost(straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = checkpoint.save

    def save(path: Path, **content: Any) -> None:
        written(path, **content)
        if content["record"].get("counters", {}).get("epoch") == EPOCHS:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    assert model_bytes(tmp_path) == model_bytes(straight)


def test_second_signal_acts_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, rule=At(5, twice, StochasticStep()))
    assert not (tmp_path / "last.safetensors").exists()


def test_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(tmp_path, rule=At(5, lambda: os.kill(os.getpid(), signal.SIGINT), StochasticStep()), epochs=1)
    except KeyboardInterrupt:
        pytest.fail("the signal was acted on")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "model.safetensors").exists()


def test_training_outside_the_main_thread_needs_no_signals(straight: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(tmp_path,))
    thread.start()
    thread.join()
    assert model_bytes(tmp_path) == model_bytes(straight)


def test_full_disk_is_mended_by_a_resume(straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    flush = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"the disk is full|cannot be written"):
        train(tmp_path, checkpoint_every=0)
    monkeypatch.undo()
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert events(tmp_path) == events(straight)


def poisoned(model: nn.Module, name: str, value: float, batch: int) -> At:
    def poison() -> None:
        with torch.no_grad():
            model.get_parameter(name).fill_(value)

    return At(batch, poison, StochasticStep())


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("body.stage1.0.bn1.weight", math.nan, r"the parameter body\.stage1\.0\.bn1\.weight"),
        ("stem.conv.weight", 3e38, r"the output of stem\.conv \(Conv2d\)"),
        ("classifier.bias", math.inf, r"the parameter classifier\.bias"),
    ],
)
def test_loss_not_finite_names_step_and_first_layer(tmp_path: Path, name: str, value: float, found: str) -> None:
    model = tiny_network()
    with pytest.raises(TrainingError, match=rf"step 7: the loss is (nan|inf).*{found};.*last good state"):
        train(tmp_path, model=model, rule=poisoned(model, name, value, 7), checkpoint_every=0)
    tensors, record = checkpoint.load(tmp_path / "last.safetensors")
    assert record["counters"]["step"] == 7
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_loss_not_finite_is_not_learned_from(tmp_path: Path) -> None:
    model = tiny_network()

    class Infinite(StochasticStep):
        def __call__(self, model, x, target, plan):  # type: ignore[no-untyped-def]
            for step in super().__call__(model, x, target, plan):
                yield type(step)(step.loss * math.inf, step.logits, step.update)

    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(TrainingError, match=r"the loss itself, every layer is finite.*no checkpoint"):
        train(tmp_path, model=model, rule=Infinite())
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_weight_not_finite_is_never_written(tmp_path: Path) -> None:
    model = tiny_network()
    name = "body.stage1.0.act1.leak.logit"
    assert name in dict(model.named_parameters())

    def nan_gradient() -> None:
        model.get_parameter(name).register_hook(lambda gradient: gradient * math.nan)

    # The loss is still finite when the weight is not: only the writing can notice.
    with pytest.raises(TrainingError, match=rf"step 4: {name.replace('.', '[.]')} is not finite"):
        train(tmp_path, model=model, rule=At(3, nan_gradient, STBP()), checkpoint_every=0)
    assert checkpoint.load(tmp_path / "last.safetensors")[1]["counters"]["step"] == 3


def test_data_order_follows_seed_and_epoch_and_leaves_the_remainder_out(tmp_path: Path) -> None:
    sets = tiny_sets()
    read, seen = sets.train.batch, []

    def note(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((sets.train.epoch, indices.tolist()))
        return read(indices)

    # What batch norm is measured on is a copy, which would note as well.
    plain = sets.train.plain()
    sets.train.plain = lambda: plain  # type: ignore[method-assign]
    sets.train.batch = note  # type: ignore[method-assign]
    train(tmp_path, sets=sets, epochs=2, batch_size=96)
    expected = [
        (epoch, part.tolist())
        for epoch in range(2)
        for part in batches(320, batch_size=96, seed=7, epoch=epoch, drop_last=True)
    ]
    assert seen == expected
    assert len(seen) == 6


def test_plan_is_drawn_from_seed_and_step(tmp_path: Path) -> None:
    class Noting(StochasticStep):
        plans: list[Plan] = []  # noqa: RUF012

        def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
            self.plans.append(super().schedule(time_steps, generator))
            return self.plans[-1]

    train(tmp_path, rule=Noting(), epochs=3)
    drawn = [plan.steps[0] for plan in Noting.plans]
    assert {drawn.count(t) > 3 for t in range(TIME_STEPS)} == {True}
    assert drawn[:10] != drawn[10:20]


def test_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    model = tiny_network()
    before = torch.get_rng_state()
    train(tmp_path, model=model, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A training stopped in its second epoch."""
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(15, crash, StochasticStep()), checkpoint_every=0)
    return tmp_path


def test_resume_with_another_recipe_is_refused(stopped: Path) -> None:
    with pytest.raises(CheckpointError, match=r"seed = 7, the recipe says 9"):
        train(stopped, resume=True, record={"seed": 9, "training": {"epochs": EPOCHS}})


def test_resume_from_a_model_file_is_refused(stopped: Path) -> None:
    (stopped / "best.safetensors").replace(stopped / "last.safetensors")
    with pytest.raises(CheckpointError, match="not a training state"):
        train(stopped, resume=True)


def test_resume_without_the_best_model_is_refused(stopped: Path) -> None:
    (stopped / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"best\.safetensors: is gone"):
        train(stopped, resume=True)


def test_resume_with_a_damaged_best_model_is_refused_at_once(stopped: Path) -> None:
    path = stopped / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"best\.safetensors: is damaged"):
        train(stopped, resume=True, rule=At(0, crash, StochasticStep()))


def test_resume_without_the_metrics_is_refused(stopped: Path) -> None:
    (stopped / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: has 0 bytes"):
        train(stopped, resume=True)


def test_resume_with_damaged_metrics_is_refused(stopped: Path) -> None:
    path = stopped / "metrics.jsonl"
    path.write_bytes(b"?" + path.read_bytes()[1:])
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: is damaged"):
        train(stopped, resume=True)


def test_resume_beside_a_finished_model_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match=r"no last\.safetensors"):
        train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == b"precious"


def test_training_anew_replaces_the_earlier_one(straight: Path, stopped: Path) -> None:
    train(stopped)
    assert model_bytes(stopped) == model_bytes(straight)
    assert events(stopped) == events(straight)


def test_refused_arguments_leave_an_earlier_training_as_it_is(stopped: Path) -> None:
    before = (stopped / "last.safetensors").read_bytes()
    with pytest.raises(DataError, match="do not fill one batch"):
        train(stopped, batch_size=1000)
    assert (stopped / "last.safetensors").read_bytes() == before


def test_progress_is_shown_on_standard_error_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Rich knows a terminal where there is none.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar(enabled=True) as bar:
        train(tmp_path / "shown", epochs=1, progress=bar)
    with progress_bar(enabled=False) as bar:
        train(tmp_path / "hidden", epochs=1, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "shown" in printed.err
    assert "accuracy" in printed.err
    assert f"{BATCHES}/{BATCHES}" in re.sub(r"\x1b\[[\d;]*m", "", printed.err)
    assert "epoch 1" not in printed.err
    assert "hidden" not in printed.err


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (256, "64 of 320 training samples are left out of each epoch, which has whole batches of 256 alone; "
              "--set data.batch_size=64 leaves 0 out\n"),
        (100, ""),
    ],
)  # fmt: skip
def test_samples_that_are_left_out_are_told_of_from_a_tenth_on(
    size: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, batch_size=size, epochs=1, cores=0, progress=progress_bar(enabled=True))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (said in printed.err) if said else ("left out" not in printed.err)


def test_where_there_is_no_terminal_each_epoch_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(enabled=True) as bar:
        train(tmp_path / "shown", epochs=2, progress=bar)
    with progress_bar(enabled=False) as bar:
        train(tmp_path / "hidden", epochs=1, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    logged = [json.loads(line) for line in (tmp_path / "shown" / "metrics.jsonl").read_text().splitlines()]
    learned = {event["epoch"]: event for event in logged if event["event"] == "train"}
    measured = [event for event in logged if event["event"] == "validation"]
    assert lines == [
        f"shown: epoch {of['epoch']} of 2: loss {learned[of['epoch']]['loss']:.4f}, accuracy "
        f"{learned[of['epoch']]['accuracy']:.1%}, validation accuracy {of['accuracy']:.1%}, {of['seconds']:.0f} s"
        for of in measured
    ]
    assert len(lines) == 2


def test_statistics_and_validation_have_bars_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[float]] = {}
    with progress_bar(enabled=False) as bar:
        removed = bar.remove_task

        def note(task: TaskID) -> None:
            of_task = bar.tasks[bar.task_ids.index(task)]
            shown.setdefault(of_task.description, []).append(of_task.completed)
            assert of_task.completed == of_task.total
            removed(task)

        monkeypatch.setattr(bar, "remove_task", note)
        train(tmp_path / "run", epochs=2, progress=bar)
        assert [task.description for task in bar.tasks] == ["run"]
    # Both modes are compared at the end.
    assert shown == {
        "run, batch norm": [320, 320, 320],
        "run, validation": [40, 40],
        "run, training samples": [288],
    }
