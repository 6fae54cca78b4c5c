"""Check the runtime against the oracle on small networks that together contain every op and encoding.

Run this module in a separate process, because a faulty runtime may crash it. The following command prints one JSON line
per measurement:

    python -m hdlif.report.small_graphs
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif._native import instruction_sets
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.graph.equations import to_attributes, trace
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import row_names
from hdlif.graph.weights import LARGEST_WEIGHT
from hdlif.runtime import Session, reference

Array = NDArray[Any]
Run = Callable[[Graph, Array], Array]
ENCODINGS = ("float32", *LARGEST_WEIGHT)
CHANNELS, SIDE, STEPS, BATCH, CLASSES = 19, 7, 3, 2, 5
"""Odd sizes, which give vector loops a remainder."""


def small_graphs() -> Iterator[tuple[str, Graph]]:
    """Yield named networks that together contain every weight encoding and every op, including every neuron."""
    for encoding in ENCODINGS:
        yield f"{encoding} weights", _convolutional(encoding)
    yield "dilation and groups", _apart()
    for step, states in _STEPS.items():
        b = _Nodes()
        x = b.affine(b.conv(INPUT, 3, "float32"))
        rows = {"leak": b.rows(0.2, 0.9), "threshold": b.rows(0.1, 0.5, CHANNELS)}
        yield (
            step.__name__.strip("_"),
            b.graph(b("global_sum_pool", b.neuron(step, x, states=states, **rows)), CHANNELS),
        )
    held = {node.op for node in _convolutional("float32").nodes}
    for op in OPS:
        if op not in held:
            yield op, _around(op)


def differing(graph: Graph, run: Run) -> float | None:
    """Return the largest difference between the logits of `run` and the oracle, or None if they are bit-identical."""
    x = np.random.default_rng(1).normal(size=(STEPS, BATCH, *graph.input.shape)).astype(np.float32)
    seen, expected = run(graph, x), reference.run(graph, x, STEPS)
    if seen.dtype == expected.dtype and seen.tobytes() == expected.tobytes():
        return None
    return float(np.abs(seen - expected).max())


def native(instructions: str) -> Run:
    """Return a function that runs a graph with the given instruction set and two threads."""
    return lambda graph, x: Session(graph, 2, instructions=instructions).run(x, STEPS)


class _Nodes:
    def __init__(self) -> None:
        self.all: list[Node] = []
        self._rng = np.random.default_rng(0)

    def __call__(self, op: str, *inputs: str, tensors: Mapping[str, Array] | None = None, **attributes: Any) -> str:
        name = f"{op}{len(self.all)}"
        self.all.append(Node(op, name, inputs, attributes, tensors or {}))
        return name

    def rows(self, low: float, high: float, columns: int = 1, rows: int = STEPS) -> Array:
        return self._rng.uniform(low, high, (rows, columns)).astype(np.float32)

    def weights(self, shape: tuple[int, ...], encoding: str) -> dict[str, Any]:
        if encoding == "float32":
            weight = self._rng.normal(size=shape).astype(np.float32)
        elif encoding == "binary":
            weight = (2 * self._rng.integers(0, 2, shape) - 1).astype(np.int8)
        else:
            most = LARGEST_WEIGHT[encoding]
            weight = self._rng.integers(-most, most + 1, shape).astype(np.int8)
        return {"tensors": {"weight": weight}, "encoding": encoding}

    def conv(self, x: str, inputs: int, encoding: str, *, kernel: int = 3, stride: int = 1) -> str:
        shape, pad = (CHANNELS, inputs, kernel, kernel), kernel // 2
        return self(
            "conv2d", x, role="body", stride=(stride, stride), padding=(pad, pad), **self.weights(shape, encoding)
        )

    def affine(self, x: str) -> str:
        return self(
            "affine", x, tensors={"scale": self.rows(-0.5, 0.5, CHANNELS), "shift": self.rows(-0.5, 0.5, CHANNELS)}
        )

    def neuron(
        self, step: Callable[..., Any], x: str, *, states: tuple[str, ...] = ("potential",), **rows: Array
    ) -> str:
        program, values = trace(step, states=states, rows=rows)
        tensors = dict(zip(row_names(program), values.values(), strict=True))
        return self("program", x, tensors=tensors, kind=step.__name__, **to_attributes(program))

    def hd_lif(self, x: str) -> str:
        return self.neuron(_hd_lif, x, leak=self.rows(0.2, 0.9), threshold=self.rows(0.1, 0.5))

    def quantise(self, x: str) -> str:
        return self("quantise", x, tensors={"inverse_step": self.rows(3, 5)}, bits=4, offset=0.5)

    def graph(self, x: str, inputs: int, encoding: str = "float32") -> Graph:
        logits = self("linear", x, role="classifier", **self.weights((CLASSES, inputs), encoding))
        record = InputRecord((3, SIDE, SIDE), (0.5,) * 3, (0.25,) * 3)
        return Graph(tuple(self.all), logits, STEPS, record, tuple("abcde"))


def _convolutional(encoding: str) -> Graph:
    """Build a small residual network with a strided shortcut.

    The stem and the shortcut take real-valued inputs, and all other synaptic layers take integer codes.
    """
    b = _Nodes()
    stream = b.affine(b.conv(INPUT, 3, "float32"))
    inner = b.affine(b.conv(b.quantise(b.hd_lif(stream)), CHANNELS, encoding, stride=2))
    spikes = b.quantise(b.neuron(_parallel, inner, states=(), threshold=b.rows(0.1, 0.4)))
    shortcut = b.affine(b.conv(stream, CHANNELS, encoding, kernel=1, stride=2))
    stream = b("add", b.affine(b.conv(spikes, CHANNELS, encoding)), shortcut)
    pooled = b("max_pool", stream, kernel=(2, 2), stride=(1, 1), padding=(0, 0))
    summed = b("sum_pool", b.quantise(pooled), kernel=(2, 2), stride=(1, 1))
    return b.graph(b("flatten", summed), CHANNELS * 4, encoding)


def _apart() -> Graph:
    """Build a network that applies one depthwise and one dilated convolution to spikes."""
    b = _Nodes()
    x = b.hd_lif(b.affine(b.conv(INPUT, 3, "float32")))
    for groups, dilation in ((CHANNELS, (1, 1)), (1, (2, 3))):
        weights = b.weights((CHANNELS, CHANNELS // groups, 3, 3), "ternary")
        x = b("conv2d", x, role="body", stride=(1, 1), padding=dilation, dilation=dilation, groups=groups, **weights)
        x = b.hd_lif(b.affine(x))
    return b.graph(b("global_sum_pool", x), CHANNELS)


def _around(op: str) -> Graph:
    """Build a network with a stem, one op of kind `op`, and a classifier on pooled features."""
    b = _Nodes()
    x = b.affine(b.conv(INPUT, 3, "float32"))
    channels = CHANNELS
    if op == "seca":
        x = b(op, x, tensors={"weight": b.rows(-4, 4, 5), "bias": b.rows(-1, 1)})
    elif op == "slice":
        x, channels = b(op, x, begin=2, end=CHANNELS - 1), CHANNELS - 3
    elif op == "delay":
        before = b(op, x, source="", max_code=15)
        back = b.affine(b.conv(before, CHANNELS, "ternary"))
        x = b.quantise(b.hd_lif(b("add", x, back)))
        place = next(place for place, node in enumerate(b.all) if node.name == before)
        b.all[place] = replace(b.all[place], attributes={"source": x, "max_code": 15})
    elif op == "concat":
        x, channels = b(op, x, b.hd_lif(x)), 2 * CHANNELS
    elif op == "gate":
        of_pixels, of_channels = b("slice", x, begin=0, end=1), b.hd_lif(b("global_sum_pool", x))
        x = b(op, b(op, b.quantise(b.hd_lif(x)), of_pixels), of_channels)
    elif op == "upsample":
        x = b(op, x, factor=(2, 3))
    else:
        assert op == "global_sum_pool", f"{op} has no small network yet"
    return b.graph(b("global_sum_pool", x), channels)


def _hd_lif(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    spike = (membrane - threshold).relu()
    return spike, membrane - spike


def _parallel(current: Any, threshold: Any) -> Any:
    return (current - threshold).relu()


def _lif(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    fired = (membrane - threshold).heaviside("none")
    return fired, membrane - threshold * fired


def _lif_with_hard_reset(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    fired = (membrane - threshold).heaviside("none")
    return fired, membrane * (1 - fired) - 0.25 * fired


def _gated_lif(current: Any, potential: Any, fired: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * (1 - threshold * fired) * potential + current
    fired = (membrane - threshold).heaviside("none")
    return fired, membrane, fired


def _every_operation(current: Any, potential: Any, other: Any, leak: Any, threshold: Any) -> Any:
    membrane = leak * potential + current
    raised = abs(other) + threshold
    fired = (membrane > raised) & ~(current >= 1.5)
    stepped = (membrane - raised).heaviside("none")
    spike = (membrane - raised).relu().clamp(max=3) + (4 * membrane).floor() * 0.125
    return spike * fired, membrane - raised * stepped, -other * 0.5 + spike


_STEPS: Mapping[Callable[..., Any], tuple[str, ...]] = {
    _lif: ("potential",),
    _lif_with_hard_reset: ("potential",),
    _gated_lif: ("potential", "fired"),
    _every_operation: ("potential", "other"),
}
"""Ops that do not occur in the convolutional networks, with the states of each."""


def measure() -> Iterator[dict[str, Any]]:
    """Measure the error of every small network with every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name, graph in small_graphs():
            yield {
                "instructions": instructions,
                "network": name,
                "difference": differing(graph, native(instructions)),
            }


if __name__ == "__main__":
    for found in measure():
        print(json.dumps(found), flush=True)
