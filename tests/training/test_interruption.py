"""Signals that wait for a moment at which the training state is whole."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hdlif.learning import StochasticStep
from hdlif.training import checkpoint
from hdlif.training.interruption import deferred_signals
from training.tiny import EPOCHS, At, model_bytes, same, tiny_sets, train


def work(*, signals: Sequence[signal.Signals] = (), error: Exception | None = None) -> None:
    """What is done while signals come."""
    with deferred_signals():
        for number in signals:
            os.kill(os.getpid(), number)
        if error is not None:
            raise error


def test_signal_is_not_lost_where_something_else_goes_wrong() -> None:
    with pytest.raises(SystemExit) as left:
        work(signals=[signal.SIGTERM], error=ValueError("pruned"))
    assert left.value.code == 143
    assert isinstance(left.value.__cause__, ValueError)


# In a training


@pytest.mark.parametrize(
    ("number", "outcome", "batch"),
    [(signal.SIGINT, KeyboardInterrupt, 0), (signal.SIGINT, KeyboardInterrupt, 9), (signal.SIGTERM, SystemExit, 14)],
)
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
    assert same(tmp_path, straight)


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
