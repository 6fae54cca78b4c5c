"""In which numbers a network computes in C: float32, or integers of 16 bits."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.fixed.network import FixedPoint
from hdlif.deploy.c.fixed.scaled import Scaled, held, integers_of, rescaled
from hdlif.deploy.c.form import Loops
from hdlif.deploy.c.ops import FORMS
from hdlif.deploy.c.stage_text import Expressions, StageText
from hdlif.deploy.c.text import real
from hdlif.graph.ops import INPUT, Node, state_names
from hdlif.graph.ops.graph import INPUT_KINDS, Graph
from hdlif.graph.ops.program import program_of


class Floats:
    """float32, in the order of the reference."""

    number, total, number_bytes = "float", "float", 4

    def loops(self, op: str) -> Loops | None:
        return FORMS[op].loops

    def entry(self, s: StageText, node: Node) -> str:
        form = FORMS[node.op].entry
        assert form is not None
        return form(s, node)

    def weights(self, node: Node) -> NDArray[Any]:
        return node.tensors["weight"]

    def of_total(self, s: StageText, node: Node, total: str) -> str:
        return total

    def alike(self, s: StageText, node: Node, name: str, entry: str) -> str:
        return f"(NUMBER){entry}"

    def keep(self, node: Node, source: str) -> str | None:
        return None

    def frame(self, graph: Graph) -> tuple[str, str]:
        means, deviations = (", ".join(map(real, numbers)) for numbers in (graph.input.mean, graph.input.std))
        count = len(graph.input.mean)
        tables = f"static const NUMBER mean[{count}] = {{{means}}}, deviation[{count}] = {{{deviations}}};"
        whole = real(INPUT_KINDS[graph.input.kind])
        return tables, f"((NUMBER)pixels[i] / {whole} - mean[c]) / deviation[c]"


class Fixed:
    """Integers of 16 bits, each value with bits after the point of its own."""

    number, total, number_bytes = "int16_t", "int32_t", 2

    def __init__(self, network: FixedPoint) -> None:
        self.network = network

    def loops(self, op: str) -> Loops | None:
        own = FORMS[op].fixed_loops
        return FORMS[op].loops if own is None else lambda s, node: own(s, self.network, node)

    def entry(self, s: StageText, node: Node) -> str:
        form = FORMS[node.op].fixed_entry
        assert form is not None
        inputs = [
            Scaled(s.input(node, place).text, self.network.fractions[name])
            for place, name in enumerate(() if node.op == "delay" else node.inputs)
        ]
        if node.op == "program" and 0 not in program_of(node).needed:
            s.line(f"(void){inputs[0].integer};")
        names = {name: s.state_at(node, name) for name in state_names(node)}
        states = dict(names)
        k = Expressions(s, node)
        value = form(k, self.network, node, inputs, states)
        assert value.fraction == self.network.fractions[node.name], node.name
        is_code = s.value(node.name).max_code is not None
        result = k.kept(value.integer) if states != names else value.integer
        for name, after in states.items():
            if after != names[name]:
                s.line(f"{names[name]} = (NUMBER){after};")
        return f"({'uint8_t' if is_code else 'NUMBER'}){result}"

    def weights(self, node: Node) -> NDArray[Any]:
        return self.network.weights(node)[0].astype(np.int16)

    def of_total(self, s: StageText, node: Node, total: str) -> str:
        value = self.network.values[node.inputs[0]]
        fraction = self.network.fractions[node.inputs[0]] if value.max_code is None else 0
        if "weight" in node.tensors:
            fraction += self.network.weights(node)[1]
        rounded = rescaled(Expressions(s, node), Scaled(total, fraction), self.network.fractions[node.name])
        return f"(NUMBER){rounded.integer}"

    def alike(self, s: StageText, node: Node, name: str, entry: str) -> str:
        x = Scaled(f"(int32_t){entry}", self.network.fractions[name])
        return f"(NUMBER){held(Expressions(s, node), x, self.network.fractions[node.name]).integer}"

    def keep(self, node: Node, source: str) -> str | None:
        there, here = self.network.fractions[node.attributes["source"]], self.network.fractions[node.name]
        if there == here:
            return None
        return f"(NUMBER)(({source} + {1 << (there - here - 1)}) >> {there - here})"

    def frame(self, graph: Graph) -> tuple[str, str]:
        whole, fraction = INPUT_KINDS[graph.input.kind], self.network.fractions[INPUT]
        factors = [1 / (whole * std) for std in graph.input.std]
        shifts = [-mean / std for mean, std in zip(graph.input.mean, graph.input.std, strict=True)]
        # a pixel has 8 bits: factors of 21, and what is added below 2^29
        bits = math.floor(math.log2(2**21 / max(factors)))
        if any(shifts):
            bits = min(bits, math.floor(math.log2(2**29 / max(map(abs, shifts)))))
        bits = min(bits, fraction + 29)
        drop = bits - fraction
        count = len(factors)
        scale, shift = (", ".join(map(str, integers_of(np.array(v), bits))) for v in (factors, shifts))
        tables = f"static const int32_t scale[{count}] = {{{scale}}}, shift[{count}] = {{{shift}}};"
        return tables, f"saturated((pixels[i] * scale[c] + shift[c] + {1 << (drop - 1)}) >> {drop})"


Numbers = Floats | Fixed
