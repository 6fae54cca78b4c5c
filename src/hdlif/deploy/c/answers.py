"""C functions that process all time steps of a sample in one call, for networks that support this mode.

Each stage processes all time steps before the next stage starts. The kernels process the codes of four steps at a time,
keep neuron states in local variables, and compute constant values once. On processors with vector instructions,
fixed-point stages compute four channels at a time (kernels/lanes.c).
"""

import contextlib
import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.arithmetic import Numbers
from hdlif.deploy.c.c_file import CFile, has_one_frame, smallest, work_space
from hdlif.deploy.c.ops import EMITTERS
from hdlif.deploy.c.stage_text import Expressions, StageText
from hdlif.deploy.c.stages import Stage
from hdlif.deploy.c.synapses import BITS
from hdlif.graph.dataflow import state_names
from hdlif.graph.graph import INPUT, Node
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import program_of

LARGEST_CODE = 15
"""Largest input code for which two weighted sums fit into one word."""
LANES = 4
"""Number of channels per vector; 1 if the compiler has no vectors."""
MOST_NARROWED = 16
"""Largest shift of the vector instruction that saturates to 16 bits."""
_ALONE = """\
/* Functions that need all registers are not inlined. */
#if defined(__GNUC__)
#define ALONE static __attribute__((noinline))
#else
#define ALONE static
#endif
"""


def has_answers(file: CFile) -> bool:
    """Return whether hdlif can generate a function that runs all time steps of this network."""
    if file.graph.time_steps == 1:
        return False
    answers = file.for_answers()
    return all(_has_form(answers, node) for node in answers.nodes)


def _has_form(file: CFile, node: Node) -> bool:
    if not EMITTERS[node.op].is_in_answers:
        return False
    largest = file.values[node.inputs[0]].max_code
    if "weight" not in node.tensors or largest is None or node.attributes["encoding"] == "float32":
        return True
    is_map = math.prod(file.values[node.inputs[0]].shape[1:]) > 1
    changes = not file.is_constant(node.inputs[0]) and (file.is_by_pixel(node.inputs[0]) or not is_map)
    return changes and BITS[node.attributes["encoding"]] == 2 and largest <= LARGEST_CODE


class LaneExpressions(Expressions):
    """Fixed-point C expressions for several channels at a time.

    Expressions that all channels share are scalars, and all other expressions are vectors. The stage's `common`
    contains all scalar expressions that are not constant. The stage's `halves` maps each rounded expression to its
    operand and the number of bits rounded off.
    """

    def rows(self, key: str, table: NDArray[np.int64]) -> str:
        text = self.s.row(self.node, key, table)
        if text.endswith("[c]"):
            text = self.s.loaded("numbers" if smallest(table).dtype == np.int16 else "totals", text)
        else:
            self.s.common.add(text)
        return self.bounded(text, int(table.min()), int(table.max()))

    def plus(self, a: str, b: str) -> str:
        if self._is_common(a):
            a, b = b, a
        return self._with("plus", a, b, super().plus(a, b))

    def minus(self, a: str, b: str) -> str:
        return self._with("minus", a, b, super().minus(a if self._is_common(b) else self._lane(a), b))

    def times(self, a: str, b: str) -> str:
        if self._is_common(a):
            a, b = b, a
        return self._with("times", a, b, super().times(a, b))

    def _with(self, name: str, a: str, b: str, plain: str) -> str:
        """Return a call to a vector-scalar kernel if `a` is a vector and `b` a scalar; otherwise return `plain`."""
        if self._is_common(a):
            self.s.common.add(plain)
        elif self._is_common(b) and plain != a:
            return self.bounded(f"lanes_{name}({a}, {b})", *self.bounds(plain))
        return plain

    def shifted_down(self, a: str, bits: int) -> str:
        return self._like(a, super().shifted_down(a, bits))

    def rounded(self, a: str, bits: int) -> str:
        plain = super().rounded(a, bits)
        if self._is_common(a):
            return self._like(a, plain)
        text = self.bounded(f"lanes_rounded({a}, {bits})", *self.bounds(plain))
        self.s.halves[text] = (a, bits)
        return text

    def saturated(self, a: str) -> str:
        plain = super().saturated(a)
        whole, bits = self.s.halves.get(a, ("", MOST_NARROWED + 1))
        if plain == a or bits > MOST_NARROWED:
            return plain
        return self.bounded(f"lanes_held({whole}, {bits})", *self.bounds(plain))

    def greater(self, a: str, b: str) -> str:
        return self._call("greater", 0, 1, a, b)

    def greater_equal(self, a: str, b: str) -> str:
        return self._call("greater_equal", 0, 1, a, b)

    def select(self, chosen: str, a: str, b: str) -> str:
        ends = (*self.bounds(a), *self.bounds(b))
        return self._call("select", min(ends), max(ends), chosen, a, b)

    def kept(self, a: str) -> str:
        if not self._is_common(a):
            return super().kept(a)
        local = self.local(a, "int32_t")
        self.s.common.add(local)
        return local

    def _call(self, name: str, least: int, most: int, *operands: str) -> str:
        numbers = operands[1:] if name == "at_most_bits" else ()
        vectors = map(self._lane, operands[: len(operands) - len(numbers)])
        return self.bounded(f"lanes_{name}({', '.join((*vectors, *numbers))})", least, most)

    def _is_common(self, a: str) -> bool:
        return a in self.s.common or not re.search("[a-z]", a)

    def _like(self, a: str, text: str) -> str:
        if self._is_common(a):
            self.s.common.add(text)
        return text

    def _lane(self, a: str) -> str:
        return self.bounded(f"lane({a})", *self.bounds(a)) if self._is_common(a) else a


class AnswerText(StageText):
    """A builder for the C code of a stage that processes all time steps in its innermost loop, over `t`."""

    arguments, storage = "ANSWER *work, const NUMBER *frame", "ALONE"

    def __init__(self, stage: Stage, file: CFile, arithmetic: Numbers) -> None:
        super().__init__(stage, file, arithmetic)
        self._carried: list[str] = []
        first = stage.nodes[0]
        by_entry = OPS[first.op].is_synapse or OPS[first.op].is_elementwise
        self.has_lanes = by_entry and arithmetic.number == "int16_t" and self.shape(first.name)[0] % LANES == 0
        if self.has_lanes:
            file.use("lanes")

    def carry(self, declaration: str) -> None:
        self._carried.append(declaration)

    def state_at(self, node: Node, name: str) -> str:
        return f"{self.file.names[node.name]}__{self.file.state_names[f'{node.name}.{name}']}"

    def at(self, name: str, c: str, p: str) -> str:
        channels, height, width = self.shape(name)
        by_pixel = self.file.is_by_pixel(name)
        entry = f"({p}) * {channels} + {c}" if by_pixel else f"({c}) * {height * width} + {p}"
        if self.file.is_constant(name):
            return f"{self.pointer(name)}[{entry}]"
        if self.file.base[name] == INPUT:
            return f"frame[t * {self.file.size(INPUT)} + {entry}]"
        return f"{self.pointer(name)}[({entry}) * {self.file.steps_of(name)} + t]"

    def here(self, name: str) -> str:
        return self.at(name, "c", "p")

    def _apart(self, name: str) -> int:
        """Return the memory stride between adjacent channels."""
        _, height, width = self.shape(name)
        entries = 1 if self.file.is_by_pixel(name) else height * width
        return entries * (1 if self.file.base[name] == INPUT else self.file.steps_of(name))

    def load(self, name: str) -> str:
        kind = "numbers" if self.value(name).max_code is None else "codes"
        return self.loaded(kind, self.here(name), self._apart(name))

    def loaded(self, kind: str, text: str, apart: int = 1) -> str:
        if not self.has_lanes:
            return text
        return f"lanes_of_{kind}(&{text}, {apart})" if text.endswith("]") else f"lane({text})"

    def store(self, name: str, value: str) -> None:
        if not self.has_lanes:
            super().store(name, value)
        else:
            kind = "numbers" if self.value(name).max_code is None else "codes"
            self.line(f"put_{kind}(&{self.here(name)}, {self._apart(name)}, {value});")

    def local(self, is_code: bool) -> str:
        return "LANE" if self.has_lanes else super().local(is_code)

    def expressions(self, node: Node) -> Expressions:
        return (LaneExpressions if self.has_lanes else Expressions)(self, node)

    @contextlib.contextmanager
    def channels(self, name: str) -> Iterator[None]:
        step = "c += LANES" if self.has_lanes else "c++"
        self.line(f"for (uint32_t c = 0; c < {self.shape(name)[0]}; {step}) {{")
        yield
        self.line("}")

    @contextlib.contextmanager
    def pixels(self, name: str) -> Iterator[None]:
        _, height, width = self.shape(name)
        self.line(f"for (uint32_t y = 0, p = 0; y < {height}; y++) {{")
        self.line(f"for (uint32_t x = 0; x < {width}; x++, p++) {{")
        with self.channels(name):
            yield
        self.line("}")
        self.line("}")

    def each_entry(self, node: Node, value: str | None = None, *, at: str = "") -> None:
        _, height, width = self.shape(node.name)
        self.line(f"for (uint32_t p = 0; p < {height * width}; p++) {{")
        with self.channels(node.name):
            self.entry(value, at=at)
        self.line("}")

    def step_of_row(self, rows: int) -> str:
        return "[t]"

    def entry(self, value: str | None = None, *, at: str = "") -> None:
        nodes = self.stage.nodes
        constant = [node for node in nodes if self.file.is_constant(node.name)]
        changing = [node for node in nodes if not self.file.is_constant(node.name)]
        first = nodes[0] in constant
        if constant:
            self._nodes(constant, value if first else None, at if first else "")
        if not changing:
            return
        for node in changing:
            for name in state_names(node):
                self.carry(f"{self.local(False)} {self.state_at(node, name)} = {self.loaded('numbers', '0')};")
        for declaration in self._carried:
            self.line(declaration)
        self.line(f"for (uint32_t t = 0; t < {self.file.steps}; t++) {{")
        self._nodes(changing, None if first else value, "" if first else at)
        self.line("}")
        for node in changing:
            for register, name in enumerate(state_names(node), 1):
                if register not in program_of(node).needed:
                    self.line(f"(void){self.state_at(node, name)};")
        for name in self.stage.stored:
            # padding steps repeat the value of the last step
            for t in range(self.file.steps, self.file.steps_of(name)):
                lanes = "LANES" if self.has_lanes else "1"
                self.line(f"for (uint32_t k = c, t = {t}; k < c + {lanes}; k++)")
                self.line(f"{self.at(name, 'k', 'p')} = (&{self.at(name, 'k', 'p')})[-1];")


class Answers:
    """The declaration and the definition of a C function that runs all time steps."""

    def __init__(self, file: CFile, arithmetic: Numbers, name: str) -> None:
        self.name, self.file = name, file.for_answers()
        self._functions = {}
        for stage in file.stages:
            function = f"answer__{file.names[stage.nodes[0].name]}"
            self._functions[function] = AnswerText(stage, self.file, arithmetic).function(function)
        number = arithmetic.number, arithmetic.number_bytes
        self.work = work_space(self.file, name, number, arithmetic.total)

    def header(self) -> list[str]:
        name, upper = self.name, self.name.upper()
        is_same = has_one_frame(self.file.graph)
        shown = "the sample's frame, the same at every step" if is_same else "one frame per step"
        return [
            f"typedef struct {{ uint32_t offset; int32_t pair; }} {name}_change;",
            "",
            *self.work.typedef(f"{name}_answer_work", "Workspace of one prediction"),
            "",
            f"/* Computes the outputs of all time steps of a new sequence from {shown}:",
            f"   the same numbers as {name}_step, with fewer instructions. */",
            f"void {name}_answer({name}_answer_work *work, const {name}_number *frame,",
            f"{name}_number (*outputs)[{upper}_OUTPUTS]);",
            "",
        ]

    def types(self) -> str:
        return (
            f"typedef {self.name}_answer_work ANSWER;\ntypedef {self.name}_change CHANGE;\n"
            f"typedef {self.file.active_type} ACTIVE;\ntypedef {self.file.type_of_sums[0]} SUM;\n\n" + _ALONE
        )

    def code(self) -> str:
        name, upper, output = self.name, self.name.upper(), self.file.base[self.file.graph.output]
        steps = self.file.steps_of(output)
        place = "k" if steps == 1 else f"k * {steps} + t"
        lines = [
            *(f"{function}(work, frame);" for function in self._functions),
            f"for (uint32_t t = 0; t < {upper}_TIME_STEPS; t++)",
            f"for (uint32_t k = 0; k < {upper}_OUTPUTS; k++)",
            f"outputs[t][k] = (NUMBER){self.file.array(output)}[{place}];",
        ]
        return "\n".join(self._functions.values()) + (
            f"\nvoid {name}_answer({name}_answer_work *work, const {name}_number *frame,\n"
            f"{name}_number (*outputs)[{upper}_OUTPUTS])\n{{\n" + "\n".join(lines) + "\n}\n"
        )
