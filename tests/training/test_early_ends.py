"""Signals, damaged checkpoints, and a loss or weight that is not finite: what ends a training before its time."""

import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cases import every
from hdlif.errors import CheckpointError, TrainingError
from hdlif.learning import STBP, StochasticStep
from hdlif.training import checkpoint, progress_bar
from hdlif.training.interruption import deferred_signals
from training.test_loop import scalars
from training.tiny import EPOCHS, At, events, model_bytes, same, stop, tiny_network, tiny_sets, train


def test_signal_is_not_lost_where_something_else_goes_wrong() -> None:
    def work() -> None:
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("pruned")

    with pytest.raises(SystemExit) as left:
        work()
    assert left.value.code == 143
    assert isinstance(left.value.__cause__, ValueError)


@every(
    "number",
    "outcome",
    "batch",
    of=[(signal.SIGINT, KeyboardInterrupt, 0), (signal.SIGINT, KeyboardInterrupt, 9), (signal.SIGTERM, SystemExit, 14)],
)
def test_signal_leaves_a_resumable_checkpoint(
    straight: Path, tmp_path: Path, number: signal.Signals, outcome: type[BaseException], batch: int
) -> None:
    out = tmp_path / str(batch)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = At(batch, lambda: os.kill(os.getpid(), number), StochasticStep())
    with pytest.raises(outcome) as raised:
        train(out, rule=stop, checkpoint_every=1e9)
    assert outcome is KeyboardInterrupt or raised.value.code == 143  # type: ignore[attr-defined]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    _, record = checkpoint.load(out / "last.safetensors")
    # The batch in which the signal came is finished first.
    assert record["counters"]["step"] == batch + 1
    train(out, resume=True)
    assert same(out, straight)


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
    assert same(tmp_path, straight)


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


def step_of(path: Path) -> int:
    step: int = checkpoint.load(path)[1]["counters"]["step"]
    return step


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@every("damage", "batch", of=[(cut, 15), (Path.unlink, 15), (flip, 21)])
def test_run_goes_on_from_the_one_before_says_so_and_ends_with_the_same_bytes(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], batch: int
) -> None:
    out = tmp_path / f"{damage.__name__} {batch}"
    stop(out, batch)
    last = out / "last.safetensors"
    assert step_of(last) == batch
    damage(last)
    with progress_bar(enabled=False) as bar:
        train(out, resume=True, progress=bar)
    assert model_bytes(out) == model_bytes(straight)
    (found,) = [event for event in events(out) if event["event"] == "fallback"]
    assert [event for event in events(out) if event != found] == events(straight)
    assert scalars(out, "train/loss") == scalars(straight, "train/loss")
    assert found["step"] == batch - 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"going on from {out / 'previous.safetensors'}, step {batch - 1}" in printed.err
    assert str(found["damage"]) in printed.err


def test_damaged_files_never_take_the_place_of_a_whole_one_and_two_are_refused(stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    # Ends just after its first checkpoint, which has moved what was last.
    stop(stopped, 0, resume=True)
    assert step_of(stopped / "last.safetensors") == step_of(stopped / "previous.safetensors") == 14
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
