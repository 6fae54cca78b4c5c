"""Signals that wait for a moment at which the training state is whole."""

import os
import signal
from collections.abc import Sequence

import pytest

from hdlif.training.interruption import deferred_signals

done: list[Sequence[signal.Signals]] = []


def work(*, signals: Sequence[signal.Signals] = (), error: Exception | None = None) -> None:
    """What is done while signals come."""
    with deferred_signals():
        for number in signals:
            os.kill(os.getpid(), number)
        done.append(signals)
        if error is not None:
            raise error


@pytest.mark.parametrize(("number", "consequence"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signal_has_its_consequence_at_the_end(number: signal.Signals, consequence: type[BaseException]) -> None:
    done.clear()
    with pytest.raises(consequence):
        work(signals=[number])
    assert done == [[number]]


def test_signal_is_not_lost_where_something_else_goes_wrong() -> None:
    with pytest.raises(SystemExit) as left:
        work(signals=[signal.SIGTERM], error=ValueError("pruned"))
    assert left.value.code == 143
    assert isinstance(left.value.__cause__, ValueError)


def test_error_alone_is_as_it_was() -> None:
    with pytest.raises(ValueError, match="pruned"):
        work(error=ValueError("pruned"))
