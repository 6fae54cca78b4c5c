"""Check the inputs and states that are passed to a runtime.

A state is {"t": int64, "<node>.potential": float32 [B, C, H, W] or [B, C], ...}. The entry "t" is the number of steps
that have run. All entries except "t" are potentials of neurons, or states that a neuron's program defines. The initial
state is None.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import ShapeError, StateError, brief, cut
from hdlif.graph.artefact import Graph, Value
from hdlif.graph.dataflow import state_names

Array = NDArray[Any]
State = dict[str, Array]
MAX_BATCH = 2**20
MAX_STEPS = 2**31 - 1
MAX_FRAMES = 2**32
"""Largest number of time steps of a run, summed over its images."""
INTERRUPTED = np.array(-1, np.int64)
"""Value of `t` in a state that an interrupted call left incomplete."""
INTERRUPTED.flags.writeable = False


def is_integer(value: object) -> bool:
    """Return whether a value is a Python or NumPy integer; a boolean is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def potential_shapes(graph: Graph, values: Mapping[str, Value]) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of each state entry in node order; shapes omit the batch axis."""
    return {f"{node.name}.{state}": values[node.name].shape for node in graph.nodes for state in state_names(node)}


def check_frame(x: Array, shape: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless `x` is float32 [B, *shape]."""
    fits = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.shape[1:] == shape
    if not fits or not 1 <= len(x) <= MAX_BATCH:
        raise ShapeError(f"x is {described(x)}; one step takes a float32 array [B, {', '.join(map(str, shape))}]")


def count_steps(x: Array, shape: tuple[int, ...], steps: int | None, time_steps: int) -> int:
    """Return the number of time steps in a run on `x`, float32 [K, B, *shape].

    Raises:
        ShapeError: `x` has another shape or type, or K is neither 1 nor `steps`.
    """
    fits = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 5 and x.shape[2:] == shape
    if not fits or len(x) < 1 or not 1 <= x.shape[1] <= MAX_BATCH:
        raise ShapeError(f"x is {described(x)}; a run takes a float32 array [T, B, {', '.join(map(str, shape))}]")
    if steps is None:
        steps = time_steps if len(x) == 1 else len(x)
    if not is_integer(steps):
        raise ShapeError(f"steps = {brief(steps)}; give an integer of at least 1")
    if steps < 1 or len(x) not in (1, steps):
        seen = brief(int(steps))
        raise ShapeError(f"x has {len(x)} time steps, but steps = {seen}; give 1 or {seen} time steps, at least 1")
    if steps > MAX_STEPS or steps * x.shape[1] > MAX_FRAMES:
        raise ShapeError(
            f"steps = {brief(int(steps))} of {x.shape[1]} images; a run takes up to {MAX_STEPS}, and {MAX_FRAMES} "
            "of all images together"
        )
    return int(steps)


def check_state(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], batch: int) -> int:
    """Return the number of steps in a state, or raise `StateError` if the state does not fit."""
    if set(state) != {"t", *shapes}:
        raise StateError(
            f"state has the entries {cut(str(sorted(map(str, state))), 400)}; this network's has "
            f"{cut(str(sorted(['t', *shapes])), 400)}; start again with state=None"
        )
    try:
        t = np.asarray(state["t"])
    # the value is a list of lists with different lengths
    except ValueError:
        t = np.asarray(np.nan)
    if t.shape != () or not np.issubdtype(t.dtype, np.integer) or not 0 <= int(t) < 2**62:
        interrupted = " (a call that was to write this state was interrupted)" if t.shape == () and t == -1 else ""
        raise StateError(
            f"state['t'] = {brief(state['t'])}; it must be an integer of at least 0{interrupted}; "
            "start again with state=None"
        )
    for name, shape in shapes.items():
        potential = state[name]
        expected = (batch, *shape)
        if not isinstance(potential, np.ndarray) or potential.dtype != np.float32 or potential.shape != expected:
            raise StateError(
                f"state[{name!r}] is {described(potential)}; x has batch {batch}, so it must be float32 "
                f"{list(expected)}; start again with state=None"
            )
    return int(t)


def check_out(out: Mapping[str, Array], state: Mapping[str, Array] | None, x: Array, names: Iterable[str]) -> None:
    """Raise `StateError` unless the arrays of `out` can be written without changing other arrays.

    An array of `out` must not share memory with another array of `out`, with `x`, or with an entry of `state` that has
    another name.
    """
    arrays = [(name, f"out[{name!r}]", out[name]) for name in names]
    for _, where, array in arrays:
        if not array.flags.writeable:
            raise StateError(f"{where} is read-only; give writable arrays, or out=None")
        if not _is_free_of_itself(array):
            raise StateError(f"{where} uses the same memory twice; give arrays that do not overlap, or out=None")
    read = [("", "x", x)]
    if state is not None and state is not out:
        read += [(name, f"state[{name!r}]", state[name]) for name in names]
    # compare each array with overlapping earlier ones in memory order
    spans = [
        (*_span(array), is_out, name, where, array)
        for is_out, some in ((True, arrays), (False, read))
        for name, where, array in some
    ]
    reaching: list[tuple[int, bool, str, str, Array]] = []
    for begin, end, is_out, name, where, array in sorted(spans, key=lambda span: span[:2]):
        reaching = [other for other in reaching if other[0] > begin]
        for _, is_other_out, other_name, other, other_array in reaching:
            matters = (is_out and is_other_out) or (is_out != is_other_out and name != other_name)
            if matters and _share(array, other_array):
                raise StateError(f"{other} and {where} share memory; give arrays that do not overlap, or out=None")
        reaching.append((end, is_out, name, where, array))


def _share(a: Array, b: Array) -> bool:
    # typed Any because the stub allows only two values; without a bound the search is exponential
    most: Any = 10_000
    try:
        return np.shares_memory(a, b, max_work=most)
    except np.exceptions.TooHardError:
        return True


def _span(array: Array) -> tuple[int, int]:
    """Return the address of an array's first byte and the address just after its last byte."""
    first = array.__array_interface__["data"][0]
    reach = [stride * (size - 1) for stride, size in zip(array.strides, array.shape, strict=True)]
    return first + sum(r for r in reach if r < 0), first + sum(r for r in reach if r > 0) + array.itemsize


def _is_free_of_itself(array: Array) -> bool:
    """Return whether all entries of an array have separate memory."""
    extent = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if stride < extent:
                return False
            extent += stride * (size - 1)
    return True


def described(value: object) -> str:
    """Describe the type and the shape of an argument for error messages."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def contiguous(array: Array) -> Array:
    """Return an array in C order and aligned for float32."""
    return np.ascontiguousarray(array) if array.flags.aligned else array.copy(order="C")


def channels_first(array: Array) -> Array:
    # equivalent to np.moveaxis in a tenth of the time
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


def channels_last(potentials: Mapping[str, Array]) -> list[Array]:
    """Return potentials as contiguous channels-last arrays, without copying them if possible."""
    return [contiguous(potential.transpose(0, *range(2, potential.ndim), 1)) for potential in potentials.values()]
