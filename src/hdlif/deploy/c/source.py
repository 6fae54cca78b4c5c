"""Translation of a deployed network to C99, as one source file and one header without dependencies."""

from dataclasses import dataclass

from hdlif.deploy.c import early_exit
from hdlif.deploy.c.answers import Answers, has_answers
from hdlif.deploy.c.arithmetic import Fixed, Floats, Numbers
from hdlif.deploy.c.c_file import CFile, Struct, has_one_frame, work_space
from hdlif.deploy.c.fixed.fixed_point import FixedPoint
from hdlif.deploy.c.header import header, label_bytes, raw_input
from hdlif.deploy.c.integer_learning import IntegerLearning, trained_in_fixed
from hdlif.deploy.c.learning import Learning
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.text import comment, identifier, indented, quoted
from hdlif.deploy.c.trained import trained_in
from hdlif.errors import InputError
from hdlif.graph.dataflow import feedback, state_names
from hdlif.graph.graph import Graph
from hdlif.graph.learning import Level

_HEADERS = frozenset(
    (
        *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"),
        *("setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib"),
        *("stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype"),
    )
)
"""Names of the C standard's headers, without .h."""


_FLOAT_RULES = """\
/* Sums have a fixed order, and multiplications are not fused with additions: gcc and clang compute the same bits. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#if defined(__FAST_MATH__)
#error this file needs IEEE arithmetic: leave out -ffast-math
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error this file needs sums of float in float: choose another floating-point unit, such as by -mfpmath=sse
#endif
"""
_FIXED_RULES = """\
/* Products and sums stay within 32 bits. */
"""
_INTEGER_RULES = """\
/* Negative integers must shift as two's complement. */
typedef char int_has_32_bits[sizeof(int) >= 4 ? 1 : -1];
typedef char shifts_round_down[(-3 >> 1) == -2 ? 1 : -1];
"""


@dataclass(frozen=True)
class Source:
    """The C source file and the header of a network.

    `translate` has an example.

    Attributes:
        name: prefix of the files and of all names in the header.
        code: text of NAME.c.
        header: text of NAME.h, which documents the functions.
        data_bytes: bytes of the constants, without code.
        state_bytes: bytes of `NAME_state`, the state carried from step to step.
        work_bytes: bytes of `NAME_work`, a step's scratch memory; several networks and streams may share it.
        answer_bytes: bytes of `NAME_answer_work`, the scratch memory of `NAME_answer`; 0 without such a function.
        additions: pairs of an input and a weight in a step, if no input is 0.
        dtype: NumPy name of the type of frames and outputs.
        learning: the learning part, for a network that continues to learn.
    """

    name: str
    code: str
    header: str
    data_bytes: int
    state_bytes: int
    work_bytes: int
    answer_bytes: int
    additions: int
    dtype: str
    learning: Learning | None = None

    @property
    def arithmetic(self) -> str:
        return "float" if self.dtype == "float32" else "fixed"

    @property
    def ram_bytes(self) -> int:
        """Return the number of bytes of RAM for state, scratch memory and learning, excluding the stack."""
        return self.state_bytes + self.work_bytes + (0 if self.learning is None else self.learning.ram_bytes)


def translate(
    graph: Graph,
    name: str = "network",
    *,
    fixed: FixedPoint | None = None,
    learn: Level | None = None,
    momentum: float = 0.0,
) -> Source:
    """Translate a graph to C99 source code.

    The outputs in C are bit-identical to the outputs of `hdlif.runtime.reference` or, in fixed point, of `fixed.run`.
    If `learn` is set, the C code can also continue to train the network. The trained values are bit-identical to the
    values of `hdlif.runtime.reference_learning` or, in fixed point, of `FixedLearner`.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> from hdlif.deploy.c import translate
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> source = translate(graph, "motion")
    >>> source.code.splitlines()[0][:2], source.state_bytes, source.additions, source.dtype
    ('/*', 4, 4, 'float32')

    Args:
        name: prefix of the files and of the names in them.
        fixed: the graph in fixed point; default: float32.
        learn: level of training as in `hdlif.runtime.Learner`, in fixed point "classifier"; default: no training.
        momentum: momentum of the updates, from 0 to below 1; 0 in fixed point.
        graph: as in `deploy.lower`, or `artefact.load`.
    Raises:
        InputError: `name` is not an identifier.
        HdlifError: the network cannot be trained at this level, or not in fixed point.
        ArtefactError: the graph breaks the format.
    """
    check_identifier(name)
    trained = None
    if learn is not None:
        trained = trained_in(graph, learn, momentum) if fixed is None else trained_in_fixed(fixed, learn, momentum)
    file = CFile(graph) if trained is None else CFile(graph, trained.places, trained.kept)
    arithmetic: Numbers = Floats() if fixed is None else Fixed(fixed)
    # Two constants per channel normalise an input.
    file.frame_bytes = 8 * len(graph.input.mean)
    if fixed is not None:
        file.use("saturated" if graph.input.kind == "image" else "nearest")
    if graph.confidence is not None:
        early_exit.use(file, arithmetic)
    functions = {}
    for stage in file.stages:
        function = f"stage__{file.names[stage.nodes[0].name]}"
        functions[function] = StageText(stage, file, arithmetic).function(function)
    answers = Answers(file, arithmetic, name) if trained is None and has_answers(file) else None
    learning = None
    if trained is not None:
        learning = Learning(file, name, trained) if fixed is None else IntegerLearning(file, name, trained, fixed)
    more = [part.code() for part in (answers, learning) if part is not None]
    file.finish("\n".join((*functions.values(), *more)))
    number = arithmetic.number, arithmetic.number_bytes
    state, work = _state(file, arithmetic), work_space(file, name, number, arithmetic.total)
    return Source(
        name,
        _code(file, arithmetic, name, functions, answers, learning),
        header(file, arithmetic, name, state, work, answers, learning),
        file.data_bytes + len(graph.labels) * label_bytes(graph),
        state.size,
        work.size,
        0 if answers is None else answers.work.size,
        file.additions,
        arithmetic.number.removesuffix("_t").replace("float", "float32"),
        learning,
    )


def check_identifier(name: str) -> None:
    """Raise `InputError` unless `name` is a valid name for C files and functions."""
    if name in _HEADERS:
        raise InputError(
            f"{name}.c: its header {name}.h would hide the standard C header of this name; choose another name, such "
            f"as {name}_network.c"
        )
    if not name.isascii() or not name.isidentifier() or identifier(name) != name:
        raise InputError(
            f"{name}.c: the name must consist of lower-case letters, digits and single underscores, begin with a "
            f"letter, and not be a C keyword; choose another name, such as {identifier(name)}.c"
        )


def _state(file: CFile, arithmetic: Numbers) -> Struct:
    numbers, codes, size = ["uint32_t t;"], [], 4
    kind, number_bytes = arithmetic.number, arithmetic.number_bytes
    for node in file.nodes:
        for name in state_names(node):
            entries = file.size(node.name)
            member = file.state_names[f"{node.name}.{name}"]
            if file.state_is_code(node):
                codes.append(f"uint8_t {member}[{entries}];")
                size += entries
            else:
                numbers.append(f"{kind} {member}[{entries}];")
                size += number_bytes * entries
    return Struct(numbers + codes, -(-size // 4) * 4)


def _code(
    file: CFile,
    arithmetic: Numbers,
    name: str,
    functions: dict[str, str],
    answers: Answers | None,
    learning: Learning | None,
) -> str:
    graph = file.graph
    entry = file.entry_type
    includes = "".join(f"#include <{header}>\n" for header in sorted(file.includes))
    pieces = [
        f"/* {comment(name)}.c: see {comment(name)}.h. Written by hdlif. */",
        f'#include "{name}.h"\n',
        includes,
        _FIXED_RULES if isinstance(arithmetic, Fixed) else _FLOAT_RULES,
        _INTEGER_RULES if isinstance(arithmetic, Fixed) or answers is not None else "",
        f"typedef {name}_number NUMBER;\ntypedef {name}_state STATE;\ntypedef {name}_work WORK;",
        f"typedef {arithmetic.total} TOTAL;" if file.totals or file.sums else "",
        f"typedef {entry} ENTRY;\n" if file.listed else "",
        "" if answers is None else answers.types(),
        "" if learning is None else learning.types(),
        *file.kernels,
        *file.tables,
        *functions.values(),
        _labels(graph, name),
        f"void {name}_start({name}_state *state)\n{{\nmemset(state, 0, sizeof *state);\n}}\n",
        _step(file, arithmetic, name, list(functions)),
    ]
    if answers is not None:
        pieces.append(answers.code())
    if learning is not None:
        pieces.append(learning.code())
    pieces.append(_frame(file, arithmetic, name))
    if graph.confidence is not None:
        pieces.append(early_exit.functions(file, arithmetic, name, is_static=has_one_frame(graph)))
    return indented("\n".join(piece for piece in pieces if piece))


def _labels(graph: Graph, name: str) -> str:
    texts = ",\n".join(quoted(label) for label in graph.labels)
    return f"const char {name}_labels[{name.upper()}_LABELS][{label_bytes(graph)}] = {{\n{texts}\n}};\n"


def _step(file: CFile, arithmetic: Numbers, name: str, functions: list[str]) -> str:
    graph = file.graph
    output = file.base[graph.output]
    array = file.array(output)
    lines = [f"{function}({file.given});" for function in functions]
    lines += [
        f"for (uint32_t k = 0; k < {name.upper()}_OUTPUTS; k++)",
        f"outputs[k] = (NUMBER){array}[k];",
    ]
    for node in file.nodes:
        for state, source in feedback(node):
            member, array = f"state->{file.state_names[f'{node.name}.{state}']}", file.array(file.base[source])
            kept = arithmetic.keep(node, source, f"{array}[k]")
            if kept is None:
                lines.append(f"memcpy({member}, {array}, sizeof {member});")
            else:
                lines += [f"for (uint32_t k = 0; k < {file.size(node.name)}; k++)", f"{member}[k] = {kept};"]
    lines += ["if (state->t < UINT32_MAX)", "state->t++;"]
    return (
        f"void {name}_step({name}_state *state, {name}_work *work, {file.as_learned(name)}const {name}_number *frame,\n"
        f"{name}_number *outputs)\n{{\n" + "\n".join(lines) + "\n}\n"
    )


def _frame(file: CFile, arithmetic: Numbers, name: str) -> str:
    graph = file.graph
    channels, height, width = graph.input.shape
    tables, number = arithmetic.frame(graph)
    return (
        f"void {name}_frame({raw_input(graph)}, {name}_number *frame)\n{{\n{tables}\n"
        f"for (uint32_t c = 0, i = 0; c < {channels}; c++)\n"
        f"for (const uint32_t end = i + {height * width}; i < end; i++)\n"
        f"frame[i] = (NUMBER)({number});\n}}\n"
    )
