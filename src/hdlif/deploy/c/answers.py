"""All time steps of a sample in one call: which graphs have it, and its C functions.

Stages run one after another, each for all steps: an input's codes of four steps are listed and multiplied together, a
neuron's states are local variables, and what is the same at all steps is computed once.
"""

from hdlif.deploy.c.arithmetic import Numbers
from hdlif.deploy.c.c_file import CFile, has_one_frame
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.stages import Stage
from hdlif.deploy.c.structs import work_space
from hdlif.deploy.c.synapses import BITS
from hdlif.graph.ops import INPUT, Node, state_names
from hdlif.graph.ops.program import program_of

OPS = frozenset(
    ("add", "affine", "conv2d", "flatten", "global_sum_pool", "linear", "max_pool", "program", "quantise", "sum_pool")
)
"""Those that have a form for all steps."""
LARGEST_CODE = 15
"""Of those whose weighted sums are added up two in a word."""


def has_answers(file: CFile) -> bool:
    """Whether a network has a function of all its time steps."""
    return file.graph.time_steps > 1 and all(_has_form(file, node) for node in file.nodes)


def _has_form(file: CFile, node: Node) -> bool:
    if node.op not in OPS:
        return False
    largest = file.values[node.inputs[0]].max_code
    if "weight" not in node.tensors or largest is None or node.attributes["encoding"] == "float32":
        return True
    changes = not file.is_constant(node.inputs[0])
    return changes and BITS[node.attributes["encoding"]] == 2 and largest <= LARGEST_CODE


class AnswerText(StageText):
    """A stage for all time steps; in the innermost loop `t` is the step."""

    arguments = "ANSWER *work, const NUMBER *frame"

    def __init__(self, stage: Stage, file: CFile, arithmetic: Numbers) -> None:
        super().__init__(stage, file, arithmetic)
        self._carried: list[str] = []

    def carry(self, declaration: str) -> None:
        self._carried.append(declaration)

    def state_at(self, node: Node, name: str) -> str:
        return f"{self.file.names[node.name]}__{self.file.state_names[f'{node.name}.{name}']}"

    def at(self, name: str, index: str) -> str:
        if self.file.is_constant(name):
            return super().at(name, index)
        if self.file.base[name] == INPUT:
            return f"frame[t * {self.file.size(INPUT)} + {index}]"
        return super().at(name, f"({index}) * {self.file.steps_of(name)} + t")

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
                self.carry(f"NUMBER {self.state_at(node, name)} = 0;")
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
            steps, array = self.file.steps_of(name), self.pointer(name)
            # no change after the last step
            for t in range(self.file.steps, steps):
                self.line(f"{array}[i * {steps} + {t}] = {array}[i * {steps} + {self.file.steps - 1}];")


class Answers:
    """What a C file and its header have of the function of whole answers."""

    def __init__(self, file: CFile, arithmetic: Numbers, name: str) -> None:
        self.name, self.file = name, file.for_answers()
        self._functions = {}
        for stage in file.stages:
            function = f"answer__{file.names[stage.nodes[0].name]}"
            self._functions[function] = AnswerText(stage, self.file, arithmetic).function(function)
        self.work = work_space(self.file, arithmetic, name)

    def header(self) -> list[str]:
        name, upper = self.name, self.name.upper()
        is_same = has_one_frame(self.file.graph)
        shown = "the frame of a sample, which is the same at all of them" if is_same else "their frames"
        return [
            f"typedef struct {{ uint32_t offset; int32_t pair; }} {name}_change;",
            "",
            *self.work.typedef(f"{name}_answer_work", "Of one answer"),
            "",
            f"/* Gives the outputs of all time steps of a new sequence from {shown}:",
            f"   the numbers of {name}_step, in fewer instructions. */",
            f"void {name}_answer({name}_answer_work *work, const {name}_number *frame,",
            f"{name}_number (*outputs)[{upper}_OUTPUTS]);",
            "",
        ]

    def types(self) -> str:
        return f"typedef {self.name}_answer_work ANSWER;\ntypedef {self.name}_change CHANGE;\n"

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
