"""What both runtimes ask of their arguments: the input's shape, and the state of a deployed network.

A state is {"t": int64, "<node>.potential": float32 [B, C, H, W] or [B, C]}: how many steps have been
taken, and the potential that each neuron carries into the next one. None stands for the start.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.artefact import Graph, Value
from hdlif.artefact.format import OPS
from hdlif.errors import ShapeError, StateError

Array = NDArray[Any]
State = dict[str, Array]
MAX_BATCH = 2**20


def potential_shapes(graph: Graph, values: Mapping[str, Value]) -> dict[str, tuple[int, ...]]:
    """The state's names, in node order, with their shapes without batch."""
    neurons = [node.name for node in graph.nodes if OPS[node.op].stateful]
    return {f"{name}.potential": values[name].shape for name in neurons}


def check_frame(x: Array, shape: tuple[int, ...]) -> None:
    """Raises `ShapeError` unless `x` is float32 [B, *shape]."""
    fits = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.shape[1:] == shape
    if not fits or not 1 <= len(x) <= MAX_BATCH:
        raise ShapeError(f"x is {_seen(x)}; one step takes a float32 array [B, {', '.join(map(str, shape))}]")


def count_steps(x: Array, shape: tuple[int, ...], steps: int | None, time_steps: int) -> int:
    """The steps of a run over `x`, float32 [K, B, *shape]: `steps`, or K, or `time_steps` where K is 1.

    Raises:
        ShapeError: `x` is another array, or K is neither 1 nor `steps`.
    """
    fits = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 5 and x.shape[2:] == shape
    if not fits or len(x) < 1 or not 1 <= x.shape[1] <= MAX_BATCH:
        raise ShapeError(f"x is {_seen(x)}; a run takes a float32 array [T, B, {', '.join(map(str, shape))}]")
    if steps is None:
        return time_steps if len(x) == 1 else len(x)
    if steps < 1 or len(x) not in (1, steps):
        raise ShapeError(f"x has {len(x)} time steps and steps = {steps}; give 1 or {steps} time steps, at least 1")
    return steps


def check_state(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], batch: int) -> int:
    """The state's `t`; raises `StateError` where it is not of this network and this batch."""
    if set(state) != {"t", *shapes}:
        raise StateError(
            f"state has the entries {sorted(state)}; this network's has {sorted(['t', *shapes])}; "
            "start anew with state=None"
        )
    t = np.asarray(state["t"])
    if t.shape != () or not np.issubdtype(t.dtype, np.integer) or not 0 <= int(t) < 2**62:
        raise StateError(f"state['t'] = {state['t']!r}; it must be an integer of at least 0")
    for name, shape in shapes.items():
        potential = state[name]
        expected = (batch, *shape)
        if not isinstance(potential, np.ndarray) or potential.dtype != np.float32 or potential.shape != expected:
            raise StateError(
                f"state[{name!r}] is {_seen(potential)}; x has batch {batch}, so it must be float32 "
                f"{list(expected)}; start anew with state=None"
            )
    return int(t)


def _seen(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
