"""Every way of running a network, beside the reference one step after the other."""

import numpy as np

from hdlif._native import instruction_sets
from hdlif.graph.artefact import Graph
from hdlif.runtime import Session, reference
from hdlif.runtime.state import State


def by_steps(graph: Graph, x: np.ndarray) -> tuple[np.ndarray, State]:
    """The outputs of the reference [T, B, ...] and its last state."""
    state: State | None = None
    outputs = []
    for frame in x:
        row, state = reference.step(graph, frame, state)
        outputs.append(row)
    assert state is not None
    return np.stack(outputs), state


def assert_same_state(seen: State | None, expected: State) -> None:
    assert seen is not None
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(seen[name], value, err_msg=name, strict=True)


def assert_runs_as_steps(graph: Graph, x: np.ndarray, threads: int = 2) -> None:
    """On every instruction set a run, a sequence, and steps into one state give the reference's bits and states."""
    expected, last = by_steps(graph, x)
    for instructions in instruction_sets():
        session = Session(graph, threads, instructions=instructions)
        sequence, state, steps = session.sequence(x.shape[1]), None, []
        for frame in x:
            outputs, state = session.step(frame, state, out=state)
            steps.append(outputs)
        ways = {"run": session.run(x, len(x)), "sequence": sequence.run(x), "steps": np.stack(steps)}
        for way, found in ways.items():
            np.testing.assert_array_equal(found, expected, err_msg=f"{way}, {instructions}", strict=True)
            assert found.tobytes() == expected.tobytes(), f"{way}, {instructions}: the sign of a zero"
        assert_same_state(state, last)
        assert_same_state(sequence.state, last)
