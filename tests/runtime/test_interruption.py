"""A signal ends a run soon and leaves the session usable; so does a fork, in the child and in the parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import every
from deployed_graphs import Builder, random_input, residual_network
from hdlif.errors import HdlifError, StateError
from hdlif.graph.artefact import INPUT, Graph
from hdlif.runtime import Session, reference
from runtime.test_timelines import convolutional

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
MOMENT = 0.1
SOON = 2.0
"""Seconds that a busy machine may take for what takes 0.2 on a quiet one; each of the runs would take 20 or more."""


class RungError(Exception):
    pass


@pytest.fixture
def after_a_moment() -> Iterator[Callable[[float], list[float]]]:
    """Sends this process a signal, once a run is under way; gives the time when its handler raised `RungError`."""
    raised: list[float] = []
    timers: list[threading.Timer] = []

    def handle(*_: object) -> None:
        raised.append(time.monotonic())
        raise RungError

    before = signal.signal(signal.SIGUSR1, handle)

    def send(seconds: float) -> list[float]:
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1)))
        timers[-1].start()
        return raised

    yield send
    for timer in timers:
        timer.cancel()
    signal.signal(signal.SIGUSR1, before)


def long_layer() -> Graph:
    """One convolution, of many rows."""
    b = Builder((16, 128, 128), 1, 0)
    x = b.conv(INPUT, 64, kernel=(31, 31), padding=(15, 15), encoding="float32")
    return b.graph(b.add("global_sum_pool", b.hd_lif(x)))


def long_chain() -> Graph:
    """Pointwise ops on one long row."""
    b = Builder((1, 1, 2**20), 1, 0)
    x = b.lif(INPUT)
    one = {"scale": np.ones((1, 1), np.float32), "shift": np.ones((1, 1), np.float32)}
    for _ in range(2000):
        x = b.add("affine", x, tensors=one)
    return b.graph(b.add("global_sum_pool", x))


def many_stages() -> Graph:
    b = Builder((1, 1, 1), 1, 0)
    x = b.lif(INPUT)
    for _ in range(2000):
        x = b.add("max_pool", x, kernel=(1, 1), stride=(1, 1), padding=(0, 0))
    return b.graph(x)


def large_image() -> Graph:
    b = Builder((1, 4096, 4096), 1, 0)
    x = b.add("max_pool", INPUT, kernel=(1, 1), stride=(64, 64), padding=(0, 0))
    return b.graph(b.lif(b.add("global_sum_pool", x)))


def long_pool() -> Graph:
    """One row, of many large windows."""
    b = Builder((1, 4, 66_000), 1, 0)
    x = b.add("max_pool", INPUT, kernel=(1, 4000), stride=(1, 1), padding=(0, 0))
    return b.graph(b.lif(b.add("global_sum_pool", x)))


def long_row() -> Graph:
    """One row of a convolution."""
    b = Builder((32, 1, 2**17), 1, 0)
    x = b.conv(INPUT, 64, kernel=(1, 63), padding=(0, 31), encoding="float32")
    return b.graph(b.lif(b.add("global_sum_pool", x)))


RUNS: dict[str, tuple[Callable[[], Graph], int]] = {
    "rows": (long_layer, 8),
    "chain": (long_chain, 16),
    "stages": (many_stages, 2**20),
    "input": (large_image, 40_000),
    "steps": (residual_network, 300_000),
    "pool": (long_pool, 60),
    "row": (long_row, 8),
}


@every("name", "threads", of=[*((name, 2) for name in RUNS), ("rows", 1), ("stages", 1)])
def test_a_signal_ends_a_run(name: str, threads: int, after_a_moment: Callable[[float], list[float]]) -> None:
    make, amount = RUNS[name]
    graph = make()
    session = Session(graph, threads, max_bytes=2**40, max_operations=2**60)
    is_batch = name in ("rows", "stages", "pool", "row")
    # a view of one image: the input itself takes no memory
    x = np.broadcast_to(
        np.ones((1, 1, *graph.input.shape), np.float32), (1, amount if is_batch else 1, *graph.input.shape)
    )
    steps = 1 if is_batch else amount
    small = x[:, :1]
    expected = session.run(small, 1) if name in ("stages", "steps") else None

    def run_until_the_signal() -> None:
        # Here, for on a busy machine it may come at once.
        after_a_moment(MOMENT)
        session.run(x, steps)

    start = time.monotonic()
    with pytest.raises(RungError):
        run_until_the_signal()
    assert time.monotonic() - start < MOMENT + SOON
    if expected is not None:
        np.testing.assert_array_equal(session.run(small, 1), expected)


def test_a_handler_that_returns_ends_nothing() -> None:
    graph = residual_network()
    session = Session(graph, 2)
    x = random_input(graph, 1, 1)
    expected = session.run(x, 3000)
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(session.run(x, 3)))

    def send() -> None:
        # Two that come before Python has handled one are one.
        while len(seen) < 2:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.03)

    sender = threading.Thread(target=send)
    sender.start()
    # a handler may use the session that it interrupts
    while len(seen) < 2:
        np.testing.assert_array_equal(session.run(x, 3000), expected)
    sender.join()
    signal.signal(signal.SIGUSR1, before)
    for logits in seen:
        np.testing.assert_array_equal(logits, session.run(x, 3))


def test_a_handler_that_forks_leaves_both_processes_good() -> None:
    graph = residual_network()
    session = Session(graph, 2)
    x = random_input(graph, 1, 1)
    expected = session.run(x, 6000)
    children: list[int] = []

    def fork(*_: object) -> None:
        children.append(os.fork())

    before = signal.signal(signal.SIGUSR1, fork)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        while not children:
            logits = session.run(x, 6000)
        status = 0 if (logits == expected).all() else 1
    except HdlifError as error:  # in the child, of a run whose threads are not there
        is_good = "forked this process within a run" in str(error) and (session.run(x, 6000) == expected).all()
        status = 0 if is_good else 1
    finally:
        if children == [0]:
            os._exit(status)
    signal.signal(signal.SIGUSR1, before)
    assert wait(children[0]) == 0
    assert status == 0


@every(in_place=[True, False])
def test_a_state_whose_writing_was_interrupted_is_taken_no_more(in_place: bool, after_a_moment: Any) -> None:
    graph = long_layer()
    session = Session(graph, 2, max_bytes=2**40, max_operations=2**60)
    x = np.broadcast_to(np.ones((1, *graph.input.shape), np.float32), (4, *graph.input.shape))
    state = {"t": np.array(0, np.int64), **session._start(4)}
    kept = {name: value.copy() for name, value in state.items()}
    out = state if in_place else {name: value.copy() for name, value in state.items()}
    after_a_moment(3 * MOMENT)
    with pytest.raises(RungError):
        session.step(x, state, out=out)
    assert int(out["t"]) == -1
    with pytest.raises(StateError, match=r"state\['t'\] = .*interrupted.*state=None"):
        session.step(x, out)
    if not in_place:
        for name, value in kept.items():
            np.testing.assert_array_equal(state[name], value)


def test_an_interrupted_sequence_is_none_any_more(after_a_moment: Callable[[float], list[float]]) -> None:
    """A chunk of a timeline that takes long looks at signals."""
    graph = convolutional(3, [("hd_lif", 400, 5, 4, "float32"), ("hd_lif", 400, 5, 4, "float32")], 0)
    session = Session(graph, 1, max_bytes=2**40, max_operations=2**60)
    x = random_input(graph, 400_000, 1)
    expected = session.run(x[:3])
    sequence = session.sequence()
    after_a_moment(3 * MOMENT)
    with pytest.raises(RungError):
        sequence.run(x)
    assert sequence.t < 0
    with pytest.raises(StateError, match="begin another one"):
        sequence.run(x)
    with pytest.raises(StateError, match="begin another one"):
        _ = sequence.state
    np.testing.assert_array_equal(session.sequence().run(x[:3]), expected)


SECONDS = 30


def exit_code(work: Callable[[], None]) -> int:
    """Of a forked child that does `work`; it is killed when it takes too long."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return wait(child)


def wait(child: int) -> int:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail(f"the child still ran after {SECONDS} s")


@every("threads", "runs_before", of=[(1, False), (2, True), (4, False), (4, True)])
def test_a_session_runs_in_a_child_and_in_its_child(threads: int, runs_before: bool) -> None:
    graph = residual_network()
    x = random_input(graph, 3, 5)
    expected = reference.run(graph, x)
    session = Session(graph, threads)
    if runs_before:
        session.run(x)

    def run() -> None:
        np.testing.assert_array_equal(session.run(x), expected)
        np.testing.assert_array_equal(session.step(x[0])[0], expected[0])

    def run_and_fork() -> None:
        run()
        assert exit_code(run) == 0

    assert exit_code(run_and_fork) == 0
    run()


# each child ends as Python does: it runs the handlers, and takes down what it has
CHILD = """
import os, sys
from deployed_graphs import random_input, residual_network
from hdlif.runtime import Session
graph = residual_network()
session = Session(graph, int(sys.argv[1]))
session.run(random_input(graph, 3, 5))
child = os.fork()
if child == 0 and sys.argv[2] == "runs":
    session.run(random_input(graph, 3, 5))
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@every("threads", "use", of=[(4, "runs"), (4, "ends")])
def test_a_child_ends_as_python_does(threads: int, use: str) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-c", CHILD, str(threads), use]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, timeout=SECONDS, check=False)
    assert result.returncode == 0


def test_forks_while_another_thread_runs() -> None:
    """Whatever lock that thread holds, the child does not wait for it."""
    graph = residual_network()
    x = random_input(graph, 4, 4)
    session = Session(graph, 2)
    expected = session.run(x)
    is_over = threading.Event()

    def run_on() -> None:
        while not is_over.is_set():
            session.run(x)

    thread = threading.Thread(target=run_on)
    thread.start()
    try:
        for _ in range(8):
            assert exit_code(lambda: np.testing.assert_array_equal(session.run(x), expected)) == 0
    finally:
        is_over.set()
        thread.join()
