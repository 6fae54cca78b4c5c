"""The compiled runtime beside the NumPy reference."""

import numpy as np

from hdlif._native import instruction_sets
from hdlif.graph.artefact import Graph, infer_values
from hdlif.runtime import Session, reference
from hdlif.runtime.state import potential_shapes


def reference_values(graph: Graph, x: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    shapes = potential_shapes(graph, infer_values(graph))
    state = {name: np.zeros((x.shape[1], *shape), np.float32) for name, shape in shapes.items()}
    rows = [reference.evaluate(graph, x[t if len(x) > 1 else 0], state, t) for t in range(steps)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def assert_same_bits(graph: Graph, x: np.ndarray, steps: int | None = None, threads: int = 2) -> None:
    """Every value of every step, and the logits of a plain run (fused, in reused buffers), on all instruction sets."""
    expected = None
    for instructions in instruction_sets():
        session = Session(graph, threads, instructions=instructions)
        seen = session.values(x, steps)
        if expected is None:
            expected = reference_values(graph, x, len(next(iter(seen.values()))))
        assert list(seen) == list(expected)
        for name, values in expected.items():
            assert seen[name].dtype == values.dtype, name
            np.testing.assert_array_equal(seen[name], values, err_msg=f"{name}, {instructions}", strict=True)
        logits = session.run(x, steps)
        np.testing.assert_array_equal(logits, expected[graph.output], err_msg=instructions, strict=True)
