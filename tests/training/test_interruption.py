"""Signals that wait for a moment at which the training state is whole."""

import os
import signal

import pytest

from hdlif.training.interruption import deferred_signals


@pytest.mark.parametrize(("number", "consequence"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signal_has_its_consequence_at_the_end(number: signal.Signals, consequence: type[BaseException]) -> None:
    reached = False
    with pytest.raises(consequence), deferred_signals():
        os.kill(os.getpid(), number)
        reached = True
    assert reached


def test_signal_is_not_lost_where_something_else_goes_wrong() -> None:
    with pytest.raises(SystemExit) as left, deferred_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("pruned")
    assert left.value.code == 143
    assert isinstance(left.value.__cause__, ValueError)


def test_error_alone_is_as_it_was() -> None:
    with pytest.raises(ValueError, match="pruned"), deferred_signals():
        raise ValueError("pruned")
