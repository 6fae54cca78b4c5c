"""Run deployed networks in plain NumPy, as a slow and simple oracle for other runtimes.

Float values are float32. Every sum starts at +0 and has a defined order, in which each multiplication and each addition
is a separate operation. A runtime that preserves the order of operations produces bit-identical results. Sums of
integer codes are exact. A node's value has shape [B, C, H, W] or [B, C], where B is the batch size. The files in
`hdlif.graph.ops` define the ops.
"""

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.dataflow import state_names
from hdlif.graph.graph import INPUT, Graph
from hdlif.graph.inference import infer_values
from hdlif.graph.ops import OPS
from hdlif.runtime.state import Array, State, check_frame, check_state, count_steps, potential_shapes

Floats = NDArray[np.float32]


def random_frames(graph: Graph, count: int, *, steps: int = 1) -> Floats:
    """Return normally distributed inputs [steps, count, C, H, W], or small random counts for event networks."""
    rng, shape = np.random.default_rng(0), (steps, count, *graph.input.shape)
    drawn = rng.poisson(0.5, shape) if graph.input.kind == "events" else rng.normal(size=shape)
    return drawn.astype(np.float32)


def run(graph: Graph, x: Floats, steps: int | None = None) -> Floats:
    """Run a graph on x [T, B, C, H, W] or constant x [1, B, C, H, W], and return logits.

    The logits are [T, B, classes], or [T, B, classes, H, W] if the network predicts a class per pixel.
    """
    steps = count_steps(x, graph.input.shape, steps, graph.time_steps)
    state: State | None = None
    logits = []
    for t in range(steps):
        step_logits, state = step(graph, x[t if len(x) > 1 else 0], state)
        logits.append(step_logits)
    return np.stack(logits)


def step(graph: Graph, x: Floats, state: State | None = None) -> tuple[Floats, State]:
    """Run one time step on x [B, C, H, W], and return logits and the next state.

    Raises:
        ShapeError, StateError: `x` or `state` does not fit the network.
    """
    check_frame(x, graph.input.shape)
    shapes = potential_shapes(graph, infer_values(graph))
    t = 0
    potentials = {name: np.zeros((len(x), *shape), np.float32) for name, shape in shapes.items()}
    if state is not None:
        t = check_state(state, shapes, len(x))
        potentials = {name: state[name].copy() for name in shapes}
    values = evaluate(graph, x, potentials, t)
    return values[graph.output].astype(np.float32), {"t": np.array(t + 1, np.int64), **potentials}


def evaluate(graph: Graph, x: Floats, state: State, t: int) -> dict[str, Array]:
    """Run time step `t`, update `state` in place, and return each node's value by name; quantised codes are uint8."""
    types = infer_values(graph)
    values: dict[str, Array] = {INPUT: x}
    for node in graph.nodes:
        op = OPS[node.op]
        kept = {name: state[f"{node.name}.{name}"] for name in op.states(node)}
        result = op.evaluate(node, t, [values[name] for name in node.inputs], kept)
        is_code = types[node.name].max_code is not None
        values[node.name] = result.astype(np.uint8 if is_code else np.float32)
    for node in graph.nodes:
        if (keep := OPS[node.op].keep) is not None:
            keep(node, values, {name: state[f"{node.name}.{name}"] for name in state_names(node)})
    return values
