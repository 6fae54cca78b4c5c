"""A session in the child of a fork: it runs, and the child ends; the parent goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cases import every
from deployed_graphs import random_input, residual_network
from hdlif.runtime import Session, reference

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
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


@every(threads=[1, 2, 4], runs_before=[False, True])
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


@every("threads", "use", of=[(1, "runs"), (4, "runs"), (4, "ends")])
def test_a_child_ends_as_python_does(threads: int, use: str) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-c", CHILD, str(threads), use]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, timeout=SECONDS, check=False)
    assert result.returncode == 0


def test_forks_while_another_thread_runs() -> None:
    """Whatever lock that thread holds, the child does not wait for it."""
    graph = residual_network()
    x = random_input(graph, 4, 16)
    session = Session(graph, 2)
    expected = session.run(x)
    is_over = threading.Event()

    def run_on() -> None:
        while not is_over.is_set():
            session.run(x)

    thread = threading.Thread(target=run_on)
    thread.start()
    try:
        for _ in range(20):
            assert exit_code(lambda: np.testing.assert_array_equal(session.run(x), expected)) == 0
    finally:
        is_over.set()
        thread.join()
