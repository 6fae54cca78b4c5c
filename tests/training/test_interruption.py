"""Whatever ends a training before its time, a resume ends with the bytes, metrics and curves of an undisturbed one."""

import errno
import math
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim import lr_scheduler

import own_parts
from cases import every
from hdlif.errors import CheckpointError, TrainingError
from hdlif.learning import SLTT, STBP, Distillation, StochasticStep
from hdlif.training import Mix, Teacher, checkpoint, progress_bar
from hdlif.training.interruption import deferred_signals
from hdlif.training.optimization import Drops
from training.several_ranks import asking
from training.tiny import (
    BATCHES,
    EPOCHS,
    At,
    CrashError,
    config,
    convolutional,
    events,
    float16,
    model_bytes,
    same,
    stop,
    tiny_network,
    tiny_sets,
    train,
)


def curves(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every curve, as TensorBoard reads them."""
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def step_of(path: Path) -> int:
    step: int = checkpoint.load(path)[1]["counters"]["step"]
    return step


def send(number: signal.Signals, batch: int) -> At:
    return At(batch, lambda: os.kill(os.getpid(), number), StochasticStep())


def signalled(out: Path, number: signal.Signals, batch: int, **changes: Any) -> None:
    """A signal lets the batch in which it comes be finished first."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
        train(out, rule=send(number, batch), checkpoint_every=1e9, **changes)
    assert (raised.type is KeyboardInterrupt) == (number == signal.SIGINT)
    assert raised.type is KeyboardInterrupt or raised.value.code == 143  # type: ignore[union-attr]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert step_of(out / "last.safetensors") == batch + 1


def signalled_in_validation(out: Path) -> None:
    """What is kept then are the statistics of the training."""
    sets = tiny_sets()
    read = sets.validation.batch

    def interrupted(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        return read(indices)

    with patch.object(sets.validation, "batch", interrupted), pytest.raises(KeyboardInterrupt):
        train(out, sets=sets)


def crashed_between_validation_and_checkpoint(out: Path) -> None:
    written = checkpoint.save

    def save(path: Path, **content: Any) -> None:
        if path.name == "last.safetensors":
            raise CrashError
        written(path, **content)

    with patch.object(checkpoint, "save", save), pytest.raises(CrashError):
        train(out, checkpoint_every=1e9)
    assert (out / "best.safetensors").exists()


def crashed_twice(out: Path, batch: int) -> None:
    """The second time after a stretch whose checkpoint is never written."""
    stop(out, batch)
    stop(out, 4, checkpoint_every=1e9, resume=True)


def full_disk(out: Path) -> None:
    flush, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with patch.object(os, "fsync", full), pytest.raises(TrainingError, match=r"disk is full|cannot be written"):
        train(out, checkpoint_every=0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def damaged(out: Path, damage: Callable[[Path], None], batch: int) -> None:
    """The newest checkpoint is no longer whole; the run goes on from the one before."""
    stop(out, batch)
    assert step_of(out / "last.safetensors") == batch
    damage(out / "last.safetensors")


INTERRUPTIONS: dict[str, Callable[[Path], object]] = {
    **{f"a crash at batch {batch}": partial(stop, batch=batch) for batch in (0, 4, EPOCHS * BATCHES - 1)},
    "a crash with a checkpoint of each epoch alone": partial(stop, batch=8, checkpoint_every=1e9),
    # At batch 3 nothing was logged, and TensorBoard may have seen steps that no checkpoint has.
    **{f"a crash at batch {batch} and another one": partial(crashed_twice, batch=batch) for batch in (3, 8)},
    "a crash between validation and checkpoint": crashed_between_validation_and_checkpoint,
    "an interrupt in the first batch": partial(signalled, number=signal.SIGINT, batch=0),
    "an interrupt at an epoch's end": partial(signalled, number=signal.SIGINT, batch=BATCHES - 1),
    "a termination": partial(signalled, number=signal.SIGTERM, batch=7),
    "an interrupt in a validation": signalled_in_validation,
    # Batches that were made ahead when the signal came are made again.
    "an interrupt with workers": lambda out: signalled(out, signal.SIGINT, 6, sets=tiny_sets().made_by(2)),
    "a full disk": full_disk,
    "a checkpoint that is cut": partial(damaged, damage=cut, batch=7),
    "a checkpoint that is gone": partial(damaged, damage=Path.unlink, batch=7),
    "a checkpoint with another bit": partial(damaged, damage=flip, batch=11),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_resume_ends_as_if_nothing_had_ended_the_training(
    interruption: str, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    INTERRUPTIONS[interruption](out)
    workers = 1 if "workers" in interruption else 0
    with progress_bar(enabled=False) as bar:
        train(out, resume=True, sets=tiny_sets().made_by(workers), progress=bar)
    assert model_bytes(out) == model_bytes(straight)
    assert [event for event in events(out) if event["event"] != "fallback"] == events(straight)
    assert curves(out) == curves(straight)
    assert {path.name for path in out.iterdir()} >= {path.name for path in straight.iterdir()}
    # The one before is not taken up in silence.
    printed = capsys.readouterr()
    told = [event for event in events(out) if event["event"] == "fallback"]
    assert len(told) == ("a checkpoint" in interruption and "crash" not in interruption)
    assert printed.out == ""
    for event in told:
        assert f"resuming from {out / 'previous.safetensors'}, step {event['step']}" in printed.err
        assert str(event["damage"]) in printed.err


def test_damaged_files_never_take_the_place_of_a_whole_one_and_two_are_refused(stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    # Ends just after its first checkpoint, which has moved what was last.
    stop(stopped, 0, resume=True)
    assert step_of(stopped / "last.safetensors") == step_of(stopped / "previous.safetensors") == 6
    with pytest.raises(CheckpointError):
        checkpoint.load(stopped / "damaged.safetensors")
    cut(stopped / "last.safetensors")
    flip(stopped / "previous.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole.*previous\.safetensors: its digest"):
        train(stopped, resume=True)
    (stopped / "previous.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole"):
        train(stopped, resume=True)


def test_training_anew_takes_nothing_of_an_earlier_one(straight: Path, stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    train(stopped, epochs=1, resume=True, record={"seed": 7, "training": {"epochs": EPOCHS}})
    train(stopped)
    assert model_bytes(stopped) == model_bytes(straight)
    assert {path.name for path in stopped.iterdir()} == {path.name for path in straight.iterdir()}


def test_signal_is_not_lost_where_something_else_goes_wrong() -> None:
    def work() -> None:
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("pruned")

    with pytest.raises(SystemExit) as left:
        work()
    assert left.value.code == 143
    assert isinstance(left.value.__cause__, ValueError)


def test_a_signal_in_the_last_moment_is_not_lost_and_a_second_one_acts_at_once(straight: Path, tmp_path: Path) -> None:
    written = checkpoint.save

    def save(path: Path, **content: Any) -> None:
        written(path, **content)
        if content["record"].get("counters", {}).get("epoch") == EPOCHS:
            os.kill(os.getpid(), signal.SIGINT)

    with patch.object(checkpoint, "save", save), pytest.raises(KeyboardInterrupt):
        train(tmp_path / "last")
    assert model_bytes(tmp_path / "last") == model_bytes(straight)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "twice", rule=At(3, twice, StochasticStep()))
    assert not (tmp_path / "twice" / "last.safetensors").exists()


def test_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(tmp_path, rule=send(signal.SIGINT, 2), epochs=1)
    except KeyboardInterrupt:
        pytest.fail("the signal was acted on")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "model.safetensors").exists()


def test_training_outside_the_main_thread_needs_no_signals(tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(tmp_path,), kwargs={"epochs": 1})
    thread.start()
    thread.join()
    assert (tmp_path / "model.safetensors").exists()


@every("name", "value", of=[("norm.weight", math.nan), ("out.weight", math.inf)])
def test_loss_not_finite_names_step_and_first_layer(tmp_path: Path, name: str, value: float) -> None:
    model = tiny_network()

    def poison() -> None:
        with torch.no_grad():
            model.get_parameter(name).fill_(value)

    with pytest.raises(TrainingError, match=rf"step 4: the loss is (nan|inf).*the parameter {name};.*last good state"):
        train(tmp_path, model=model, rule=At(4, poison, StochasticStep()), checkpoint_every=0)
    tensors, record = checkpoint.load(tmp_path / "last.safetensors")
    assert record["counters"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_loss_not_finite_is_not_learned_from(tmp_path: Path) -> None:
    model = tiny_network()

    class Infinite(StochasticStep):
        def __call__(self, model, x, target, plan):  # type: ignore[no-untyped-def]
            for step in super().__call__(model, x, target, plan):
                yield type(step)(step.loss * math.inf, step.logits, step.update)

    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(TrainingError, match=r"the loss itself \(every layer is finite\).*no checkpoint"):
        train(tmp_path, model=model, rule=Infinite())
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_weight_not_finite_is_never_written(tmp_path: Path) -> None:
    model = tiny_network()
    name = "act.leak.logit"

    def nan_gradient() -> None:
        model.get_parameter(name).register_hook(lambda gradient: gradient * math.nan)

    # The loss is still finite when the weight is not: only the writing can notice.
    with pytest.raises(TrainingError, match=rf"step 4: {name} is not finite"):
        train(tmp_path, model=model, rule=At(3, nan_gradient, STBP()), checkpoint_every=0)
    assert checkpoint.load(tmp_path / "last.safetensors")[1]["counters"]["step"] == 3


# Whatever else a training has, too


def teacher() -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 10))
    return Teacher(network, shown=([0.5], [0.5]), taken=([0.0] * 3, [1.0] * 3))


EXTRAS: dict[str, dict[str, Any]] = {
    "accumulation, clipping, average": {
        "config": config(accumulate=3, clip_norm=0.1, ema_decay=0.9),
        "batch_size": 8,
    },
    "channels last, mixup": {
        "config": config(channels_last=True),
        "network": convolutional,
        "mix": Mix(classes=10, mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5),
    },
    "compiled": {"config": config(compile=True), "compile_backend": "eager", "network": convolutional},
    "teacher": {"teacher": teacher(), "rule": StochasticStep(criterion=Distillation(F.cross_entropy, 4.0, 0.5))},
}


def by(kind: Any, scheduler: Any = Drops([0.5])) -> dict[str, Any]:  # noqa: B008
    return {"optimizer": lambda model: kind(model.parameters(), lr=0.01), "scheduler": scheduler}


def warming_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    first = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [first, lr_scheduler.MultiStepLR(optimizer, [1, 1, 2], gamma=0.3)], [2])


# No epoch but the first is better than the best: the rate halves after the third.
PLATEAU = partial(lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=1, threshold=9.0, threshold_mode="abs")
LONG: dict[str, Any] = {"config": config(epochs=4), "stopped": 12}

TRAININGS: dict[str, dict[str, Any]] = {
    "stbp": {"rule": STBP()},
    "sltt in float64": {"rule": SLTT("each"), "precision": "64-true"},
    "two steps in bfloat16": {"rule": StochasticStep(2), "precision": "bf16-mixed"},
    **EXTRAS,
    "metrics": {"task": asking()},
    "adam": by(torch.optim.Adam),
    "a scheduler of losses": LONG | by(torch.optim.Adam, PLATEAU),
    "schedulers one after another": LONG | by(torch.optim.Adam, warming_up),
    "an optimiser of one's own": by(own_parts.SignSGD),
    "adamw": by(torch.optim.AdamW),
    "rmsprop": by(torch.optim.RMSprop),
    "adagrad": by(torch.optim.Adagrad),
    "nadam": by(torch.optim.NAdam),
}
SLOW = {"compiled", "adamw", "rmsprop", "adagrad", "nadam"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in TRAININGS])
def test_a_resumed_training_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = {"config": config()} | TRAININGS[name]
    stopped = arguments.pop("stopped", 7)
    train(one, **arguments)
    stop(two, stopped, **arguments)
    train(two, resume=True, **arguments)
    assert same(one, two)
    counters = [checkpoint.load(out / "last.safetensors")[1]["counters"] | {"train_seconds": 0} for out in (one, two)]
    assert counters[0] == counters[1]


def test_a_state_without_the_losses_that_a_scheduler_follows_is_refused(tmp_path: Path) -> None:
    arguments = {"config": config(epochs=4)} | by(torch.optim.Adam, PLATEAU)
    stop(tmp_path, 7, **arguments)
    tensors, record = checkpoint.load(tmp_path / "last.safetensors")
    assert len(record["scheduled_losses"]) == 1
    checkpoint.save(tmp_path / "last.safetensors", tensors=tensors, record=record | {"scheduled_losses": []})
    with pytest.raises(CheckpointError):
        train(tmp_path, resume=True, **arguments)


def test_resume_is_exact_in_float16_with_skipped_updates(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    scaled = partial(float16, init_scale=2.0**24, growth_interval=2)
    train(one, config=config(), accelerator=scaled())
    stop(two, 7, config=config(), accelerator=scaled())
    train(two, config=config(), accelerator=scaled(), resume=True)
    assert same(one, two)
    skipped = [event["skipped_updates"] for event in events(one) if event["event"] == "train"]
    assert 0 < skipped[0] <= skipped[-1] < 10
