"""Small deployed networks, built by hand or drawn at random, for the tests of artefact and runtime."""

from dataclasses import replace
from typing import Any

import numpy as np

from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, TaskRecord, Value, infer_values
from hdlif.graph.equations import Program, to_attributes
from hdlif.graph.ops.program import row_names
from hdlif.graph.weights import LARGEST_WEIGHT
from neuron_programs import as_program
from random_programs import random_program

CLASSES = 3


class Builder:
    """Appends nodes with random tensors; `add` returns the name of the new value.

    An op that names a neuron, such as "hd_lif", is its program (`neuron_programs`).
    """

    def __init__(self, shape: tuple[int, int, int], time_steps: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.time_steps = shape, time_steps
        self.nodes: list[Node] = []

    def add(self, op: str, *inputs: str, tensors: Any = None, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}.{op}"
        self.nodes.append(as_program(Node(op, name, inputs, attributes, tensors or {})))
        return name

    def channels(self, value: str) -> int:
        return self.value_shape(value)[0]

    def value_shape(self, value: str) -> tuple[int, ...]:
        return self.values()[value].shape

    def values(self) -> dict[str, Value]:
        # the classifier that closes the graph is not there yet: infer with a stand-in for it
        stand_in = [Node("global_sum_pool", "pooled", (INPUT,))]
        graph = Graph((*self.nodes, *stand_in), "pooled", self.time_steps, self.record(), ("",) * self.shape[0])
        return infer_values(graph)

    def record(self) -> InputRecord:
        return InputRecord(self.shape, (0.5,) * self.shape[0], (0.25,) * self.shape[0])

    def weights(self, shape: tuple[int, ...], encoding: str) -> np.ndarray:
        if encoding == "binary":
            return (self.rng.integers(0, 2, shape) * 2 - 1).astype(np.int8)
        if encoding in LARGEST_WEIGHT:
            most = LARGEST_WEIGHT[encoding]
            return self.rng.integers(-most, most + 1, shape).astype(np.int8)
        return self.rng.normal(size=shape).astype(np.float32)

    def conv(
        self,
        x: str,
        out: int,
        *,
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        encoding="ternary",
        dilation=(1, 1),
        groups=1,
    ) -> str:
        weight = self.weights((out, self.channels(x) // groups, *kernel), encoding)
        apart = {"dilation": dilation} if dilation != (1, 1) else {}
        apart |= {"groups": groups} if groups != 1 else {}
        return self.add(
            "conv2d",
            x,
            tensors={"weight": weight},
            encoding=encoding,
            role="body",
            stride=stride,
            padding=padding,
            **apart,
        )

    def linear(self, x: str, out: int, *, encoding="float32") -> str:
        weight = self.weights((out, self.channels(x)), encoding)
        return self.add("linear", x, tensors={"weight": weight}, encoding=encoding, role="classifier")

    def rows(self, rows: int, columns: int, low: float, high: float) -> np.ndarray:
        return self.rng.uniform(low, high, (rows, columns)).astype(np.float32)

    def shape_of_rows(self, x: str, per_step: bool, per_channel: bool, beyond: int = 0) -> tuple[int, int]:
        """One row, or a row for each of T + `beyond` steps, and one entry, or one for each channel of `x`."""
        return (self.time_steps + beyond if per_step else 1, self.channels(x) if per_channel else 1)

    def affine(self, x: str, *, per_step=False, scale=1.0, beyond=0) -> str:
        shape = self.shape_of_rows(x, per_step, True, beyond)
        return self.add(
            "affine", x, tensors={"scale": self.rows(*shape, -scale, scale), "shift": self.rows(*shape, -1, 1)}
        )

    def passing(self, x: str, *, identity: tuple[bool, ...]) -> str:
        """An affine with a row for each of `identity`; where it is true, the row changes no bit."""
        scale, shift = (self.rows(len(identity), self.channels(x), -1, 1) for _ in range(2))
        for t, unchanged in enumerate(identity):
            if unchanged:
                scale[t], shift[t] = 1, -0.0
        return self.add("affine", x, tensors={"scale": scale, "shift": shift})

    def hd_lif(self, x: str, *, per_step=True, per_channel=False, beyond=0) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        return self.add(
            "hd_lif", x, tensors={"leak": self.rows(*shape, -0.5, 1.2), "threshold": self.rows(*shape, -0.2, 1)}
        )

    def lif(self, x: str, *, per_step=True, per_channel=False, beyond=0, reset="soft", reset_potential=0.0) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        return self.add(
            "lif",
            x,
            tensors={"leak": self.rows(*shape, 0, 1), "threshold": self.rows(*shape, 0.1, 1)},
            reset=reset,
            reset_potential=reset_potential,
        )

    def graded_lif(self, x: str, *, per_step=True, per_channel=False, beyond=0) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        return self.add(
            "graded_lif", x, tensors={"leak": self.rows(*shape, -0.5, 1.2), "threshold": self.rows(*shape, -0.2, 1)}
        )

    def glif(self, x: str, *, per_step=True, per_channel=False, beyond=0) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        low_high = {
            "leak": (0.5, 1),
            "leak_after_spike": (0, 0.5),
            "gain": (0.5, 1),
            "shift": (-0.2, 0),
            "shift_after_spike": (-0.8, -0.2),
            "threshold": (0.1, 0.6),
        }
        return self.add("glif", x, tensors={key: self.rows(*shape, *ends) for key, ends in low_high.items()})

    def program(
        self, x: str, *, per_step=True, per_channel=False, beyond=0, program: Program | None = None, kind="Drawn"
    ) -> str:
        """A neuron of an equation, by default one drawn at random."""
        program = random_program(self.rng) if program is None else program
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        tensors = {name: self.rows(*shape, -1, 1) for name in row_names(program)}
        return self.add("program", x, tensors=tensors, kind=kind, **to_attributes(program))

    def parallel(self, x: str, *, per_step=True, per_channel=False, beyond=0) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        return self.add("parallel", x, tensors={"threshold": self.rows(*shape, -0.2, 0.6)})

    def seca(self, x: str, *, kernel=5, per_step=False, beyond=0) -> str:
        rows = self.time_steps + beyond if per_step else 1
        return self.add(
            "seca", x, tensors={"weight": self.rows(rows, kernel, -4, 4), "bias": self.rows(rows, 1, -1, 1)}
        )

    def quantise(
        self, x: str, *, bits=4, inverse_step=4.0, offset=0.5, per_step=False, per_channel=False, beyond=0
    ) -> str:
        shape = self.shape_of_rows(x, per_step, per_channel, beyond)
        rows = inverse_step * (self.rows(*shape, 0.5, 2) if per_step or per_channel else np.ones((1, 1)))
        return self.add("quantise", x, tensors={"inverse_step": rows.astype(np.float32)}, bits=bits, offset=offset)

    def slice(self, x: str, begin: int, end: int) -> str:
        return self.add("slice", x, begin=begin, end=end)

    def concat(self, x: str, y: str) -> str:
        return self.add("concat", x, y)

    def delay(self, x: str, max_code: int = 0) -> str:
        """What `lead_back` will name, at the step before; itself until then."""
        name = f"n{len(self.nodes)}.delay"
        return self.add("delay", x, source=name, max_code=max_code)

    def lead_back(self, delay: str, source: str) -> str:
        (place,) = (i for i, node in enumerate(self.nodes) if node.name == delay)
        node = self.nodes[place]
        self.nodes[place] = replace(node, attributes={**node.attributes, "source": source})
        return source

    def recurrent(self, x: str, neuron: str = "quantised", kernel: int = 3) -> str:
        """Neurons that also read what they emitted at the step before, through a convolution or a linear layer."""
        before = self.delay(x, {"quantised": 15, "lif": 1, "hd_lif": 0}[neuron])
        if len(self.value_shape(x)) == 3:
            back = self.conv(before, self.channels(x), kernel=(kernel, kernel), padding=(kernel // 2, kernel // 2))
        else:
            back = self.linear(before, self.channels(x), encoding="ternary")
        current = self.add("add", x, self.affine(back, scale=0.2))
        spikes = self.quantise(self.hd_lif(current)) if neuron == "quantised" else getattr(self, neuron)(current)
        return self.lead_back(before, spikes)

    def graph(self, x: str) -> Graph:
        """Closes the network with whatever turns the value `x` into `CLASSES` logits."""
        if len(self.value_shape(x)) == 3:
            x = self.add("flatten", x)
        x = self.linear(x, CLASSES)
        labels = tuple(f"class {i}" for i in range(CLASSES))
        return Graph(tuple(self.nodes), x, self.time_steps, self.record(), labels)

    def maps(self, x: str) -> Graph:
        """Ends the network with the map `x`, a class per pixel."""
        labels = tuple(f"class {i}" for i in range(self.channels(x)))
        return Graph(tuple(self.nodes), x, self.time_steps, self.record(), labels, TaskRecord("segment"))


def residual_network(seed: int = 0, *, time_steps: int = 4, encoding: str = "ternary", width: int = 5) -> Graph:
    """The shape of a deployed 1.5-bit, 4-bit-spike residual network, with odd sizes."""
    b = Builder((3, 9, 7), time_steps, seed)
    stream = b.affine(b.conv(INPUT, width, encoding="float32"))
    for stride in (1, 2):
        spikes = b.quantise(b.hd_lif(stream))
        inner = b.affine(b.conv(spikes, width, stride=(stride, stride), encoding=encoding), scale=0.2)
        spikes = b.quantise(b.parallel(inner))
        outer = b.affine(b.conv(spikes, width, encoding=encoding), per_step=True, scale=0.2)
        if stride > 1:
            skip = b.conv(stream, width, kernel=(1, 1), stride=(2, 2), padding=(0, 0), encoding=encoding)
            stream = b.affine(skip)
        stream = b.add("add", outer, stream)
    pooled = b.affine(b.add("global_sum_pool", stream), scale=0.1)
    return b.graph(pooled)


def coded_network(seed: int = 0, *, time_steps: int = 3, affine: bool = True, bits: int = 4) -> Graph:
    """A small network whose classifier reads codes."""
    b = Builder((2, 4, 3), time_steps, seed)
    spikes = b.quantise(b.hd_lif(b.affine(b.conv(INPUT, 4, encoding="float32"))), bits=bits)
    graph = b.graph(spikes)
    return replace(graph, output=b.affine(graph.output), nodes=tuple(b.nodes)) if affine else graph


def two_streams(seed: int = 0, *, time_steps: int = 3, encoding: str = "ternary", width: int = 5) -> Graph:
    """The shape of a deployed reversible block, its streams of unequal widths, after and before other layers."""
    b = Builder((3, 6, 5), time_steps, seed)
    stream = b.affine(b.conv(INPUT, width, encoding="float32"))
    first, second = b.slice(stream, 0, 2), b.slice(stream, 2, width)
    spikes = b.quantise(b.hd_lif(second))
    first = b.add("add", first, b.affine(b.conv(spikes, 2, encoding=encoding), per_step=True, scale=0.2))
    spikes = b.quantise(b.parallel(first))
    second = b.add("add", second, b.affine(b.conv(spikes, width - 2, encoding=encoding), scale=0.2))
    joined = b.concat(first, second)
    spikes = b.quantise(b.hd_lif(joined))
    # codes of two kinds, and codes beside floats
    codes = b.concat(b.slice(spikes, 1, width), b.lif(joined))
    mixed = b.concat(b.concat(joined, codes), b.slice(codes, 0, 1))
    return b.graph(b.add("add", b.add("global_sum_pool", mixed), b.add("global_sum_pool", mixed)))


def u_net(seed: int = 0, *, time_steps: int = 3, encoding: str = "ternary", width: int = 4) -> Graph:
    """The shape of a deployed U-Net of two levels: `CLASSES` maps of the size of its input."""
    b = Builder((3, 8, 6), time_steps, seed)

    def spikes(x: str, out: int, encoding: str) -> str:
        return b.quantise(b.hd_lif(b.affine(b.conv(x, out, encoding=encoding), scale=0.3)))

    upper = spikes(INPUT, width, "float32")
    lower = spikes(b.add("max_pool", upper, kernel=(2, 2), stride=(2, 2), padding=(0, 0)), 2 * width, encoding)
    joined = spikes(b.concat(b.add("upsample", lower, factor=(2, 2)), upper), width, encoding)
    return b.maps(b.affine(b.conv(joined, CLASSES, kernel=(1, 1), padding=(0, 0), encoding="float32")))


def detector(seed: int = 0, *, time_steps: int = 3) -> Graph:
    """A detector of two classes at two levels, for images of 16x24, which finds a few boxes in anything."""
    b = Builder((3, 16, 24), time_steps, seed)

    def spikes(x: str, encoding: str) -> str:
        x = b.conv(x, 6, stride=(2, 2), encoding=encoding)
        return b.quantise(b.hd_lif(b.affine(x, scale=0.3)))

    def level(x: str) -> str:
        x = b.conv(x, 2 + 4, kernel=(1, 1), padding=(0, 0), encoding="float32")
        return b.add("flatten", b.affine(x, scale=0.5))

    fine = spikes(spikes(INPUT, "float32"), "ternary")
    joined = b.concat(level(fine), level(spikes(fine, "ternary")))
    task = TaskRecord("detect", threshold=0.4, strides=(4, 8), overlap=0.6)
    return Graph(tuple(b.nodes), joined, time_steps, b.record(), ("red", "green"), task)


def tiny_network() -> Graph:
    """One ternary convolution and a neuron, with round numbers: its file is a golden file."""
    weight = np.array([-1, 0, 1, 1, 0, -1, 1], np.int8).reshape(7, 1, 1, 1)
    attributes = {"encoding": "ternary", "padding": (0, 0), "role": "body", "stride": (1, 1)}
    leak, threshold = np.array([[0.5]], np.float32), np.array([[1.0], [0.25]], np.float32)
    nodes = (
        Node("conv2d", "conv", (INPUT,), attributes, {"weight": weight}),
        as_program(Node("hd_lif", "neuron", ("conv",), {}, {"leak": leak, "threshold": threshold})),
        Node("global_sum_pool", "logits", ("neuron",)),
    )
    record = InputRecord((1, 2, 2), (0.5,), (0.25,))
    return Graph(nodes, "logits", 2, record, tuple("abcdefg"))


def random_input(graph: Graph, steps: int, batch: int, seed: int = 0) -> np.ndarray:
    """Normal deviates [steps, batch, C, H, W], a fifth of them zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(steps, batch, *graph.input.shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = 0
    return x


def every_op() -> Graph:
    """All ops and encodings in one network of small sizes."""
    b = Builder((3, 6, 5), 2, 0)
    x = b.quantise(b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True))
    x = b.quantise(b.conv(x, 4, kernel=(2, 2), dilation=(1, 2), groups=2, encoding="int8"))
    x = b.conv(b.add("max_pool", x, kernel=(2, 2), stride=(1, 1), padding=(1, 1)), 5, encoding="binary")
    x = b.glif(b.graded_lif(b.parallel(b.hd_lif(x, per_channel=True))), per_channel=True)
    x = b.program(x, program=random_program(np.random.default_rng(3), states=2), per_channel=True)
    x = b.program(x, program=random_program(np.random.default_rng(5), states=0))
    x = b.recurrent(b.lif(x), "lif", kernel=1)
    x = b.concat(b.slice(x, 1, 4), x)
    x = b.add("gate", x, b.slice(x, 2, 6))
    x = b.add("gate", x, b.lif(b.add("global_sum_pool", x)))
    x = b.add("upsample", b.add("sum_pool", x, kernel=(2, 2), stride=(2, 2)), factor=(2, 1))
    x = b.seca(b.conv(b.add("add", x, x), 3, encoding="int4"), kernel=3)
    return b.graph(b.linear(b.add("global_sum_pool", x), 4, encoding="ternary"))
