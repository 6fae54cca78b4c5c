"""The arithmetic of a network in C, either in float32 or in 16-bit fixed point."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.emitter import Loops
from hdlif.deploy.c.fixed.fixed_point import LARGEST_TOTAL, FixedPoint
from hdlif.deploy.c.fixed.values import LARGEST, Scaled, held, integers_of, rescaled
from hdlif.deploy.c.ops import EMITTERS
from hdlif.deploy.c.stage_text import Expressions, StageText
from hdlif.deploy.c.stages import inputs_of
from hdlif.deploy.c.text import real
from hdlif.graph.dataflow import state_names
from hdlif.graph.graph import INPUT, INPUT_KINDS, Graph, Node
from hdlif.graph.learning import Place
from hdlif.graph.ops.program import program_of


class Floats:
    """Arithmetic in float32, with the same order of operations as the reference implementation.

    Attributes:
        number, local, total: the types of numbers in arrays, of local variables and of sums.
        number_bytes: size of a number in an array.
    """

    number, local, total, number_bytes = "float", "NUMBER", "float", 4

    def loops(self, op: str) -> Loops | None:
        """Return the function that writes the loops of an op, or None for an op without loops."""
        return EMITTERS[op].loops

    def entry(self, s: StageText, node: Node) -> str:
        """Return a C expression for an elementwise op's value at the current entry."""
        entry = EMITTERS[node.op].entry
        assert entry is not None
        return entry(s, node)

    def weights(self, node: Node) -> NDArray[Any]:
        """Return the weights to store in C for a layer with float32 weights."""
        return node.tensors["weight"]

    def of_total(self, s: StageText, node: Node, total: str) -> str:
        """Return a C expression that converts the sum `total` to an entry of the node's value."""
        return total

    def alike(self, s: StageText, node: Node, name: str, entry: str) -> str:
        """Return a C expression that converts an input's entry to the number format of the node."""
        return f"(NUMBER){entry}"

    def keep(self, node: Node, source: str, entry: str) -> str | None:
        """Return a C expression that converts `entry` of `source` to the state's format; None if the formats match."""
        return None

    def frame(self, graph: Graph) -> tuple[str, str]:
        """Return C tables of per-channel constants, and a C expression that normalises a value with these constants."""
        whole = INPUT_KINDS[graph.input.kind]
        value = "values[i]" if whole == 1 else f"(float)values[i] / {real(whole)}"
        return _means_and_deviations(graph), f"({value} - mean[c]) / deviation[c]"


class Fixed:
    """Arithmetic in 16-bit fixed point, with the methods of `Floats` and separate fraction bits for each value."""

    number, local, total, number_bytes = "int16_t", "int32_t", "int32_t", 2

    def __init__(self, network: FixedPoint) -> None:
        self.network = network

    def loops(self, op: str) -> Loops | None:
        own = EMITTERS[op].fixed_loops
        return EMITTERS[op].loops if own is None else lambda s, node: own(s, self.network, node)

    def entry(self, s: StageText, node: Node) -> str:
        entry = EMITTERS[node.op].fixed_entry
        assert entry is not None
        k = s.expressions(node)
        inputs = [
            Scaled(k.bounded(s.input(node, place).text, *self._ends(name)), self.network.fractions[name])
            for place, name in enumerate(inputs_of(node))
        ]
        if node.op == "program" and 0 not in program_of(node).needed:
            s.line(f"(void){inputs[0].integer};")
        held = self._ends(node.name) if s.file.state_is_code(node) else (-LARGEST - 1, LARGEST)
        names = {name: k.bounded(s.state_at(node, name), *held) for name in state_names(node)}
        states = dict(names)
        value = entry(k, self.network, node, inputs, states)
        assert value.fraction == self.network.fractions[node.name], node.name
        result = k.kept(value.integer) if states != names else value.integer
        for name, after in states.items():
            if after != names[name]:
                s.line(f"{names[name]} = {after};")
        return str(result)

    def _ends(self, name: str) -> tuple[int, int]:
        """Return the smallest and the largest integer that an entry of a value can be."""
        most = self.network.values[name].max_code
        return (-LARGEST - 1, LARGEST) if most is None else (0, most)

    def weights(self, node: Node) -> NDArray[Any]:
        return self.network.weights(node)[0].astype(np.int16)

    def of_total(self, s: StageText, node: Node, total: str) -> str:
        value = self.network.values[node.inputs[0]]
        fraction = self.network.fractions[node.inputs[0]] if value.max_code is None else 0
        k = s.expressions(node)
        if "weight" in node.tensors:
            weight, of_weight = self.network.weights(node)
            fraction += of_weight
            sums = np.abs(weight).sum(axis=tuple(range(1, weight.ndim)))
            most = int(sums.max()) * max(map(abs, self._ends(node.inputs[0])))
            most = LARGEST_TOTAL if Place(node.name, "weight") in s.file.learned else most
            k.bounded(total, -most, most)
        return str(rescaled(k, Scaled(total, fraction), self.network.fractions[node.name]).integer)

    def alike(self, s: StageText, node: Node, name: str, entry: str) -> str:
        x = Scaled(f"(int32_t){entry}", self.network.fractions[name])
        return f"(NUMBER){held(Expressions(s, node), x, self.network.fractions[node.name]).integer}"

    def keep(self, node: Node, source: str, entry: str) -> str | None:
        there, here = self.network.fractions[source], self.network.fractions[node.name]
        if there == here:
            return None
        return f"(NUMBER)(({entry} + {1 << (there - here - 1)}) >> {there - here})"

    def frame(self, graph: Graph) -> tuple[str, str]:
        whole, fraction = INPUT_KINDS[graph.input.kind], self.network.fractions[INPUT]
        if whole == 1:
            scaled = f"(values[i] - mean[c]) / deviation[c] * {real(2.0**fraction)}"
            return _means_and_deviations(graph), f"nearest({scaled})"
        factors = [1 / (whole * std) for std in graph.input.std]
        shifts = [-mean / std for mean, std in zip(graph.input.mean, graph.input.std, strict=True)]
        # a pixel has 8 bits, so factors have 21 bits and addends are below 2^29
        bits = math.floor(math.log2(2**21 / max(factors)))
        if any(shifts):
            bits = min(bits, math.floor(math.log2(2**29 / max(map(abs, shifts)))))
        bits = min(bits, fraction + 29)
        drop = bits - fraction
        count = len(factors)
        scale, shift = (", ".join(map(str, integers_of(np.array(v), bits))) for v in (factors, shifts))
        tables = f"static const int32_t scale[{count}] = {{{scale}}}, shift[{count}] = {{{shift}}};"
        return tables, f"saturated((values[i] * scale[c] + shift[c] + {1 << (drop - 1)}) >> {drop})"


def _means_and_deviations(graph: Graph) -> str:
    means, deviations = (", ".join(map(real, numbers)) for numbers in (graph.input.mean, graph.input.std))
    count = len(graph.input.mean)
    return f"static const float mean[{count}] = {{{means}}}, deviation[{count}] = {{{deviations}}};"


Numbers = Floats | Fixed
