"""Translation of a deployed network to C99, as one source file and one header without dependencies."""

import math
from dataclasses import dataclass

from hdlif.deploy.c import early_exit
from hdlif.deploy.c.answers import Answers, has_answers
from hdlif.deploy.c.arithmetic import Fixed, Floats, Numbers
from hdlif.deploy.c.c_file import CFile, Struct, has_one_frame, work_space
from hdlif.deploy.c.fixed.fixed_point import FixedPoint
from hdlif.deploy.c.integer_learning import IntegerLearning, trained_in_fixed
from hdlif.deploy.c.learning import Learning, trained_in
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.text import comment, identifier, indented, quoted
from hdlif.errors import InputError
from hdlif.graph.dataflow import feedback, state_names
from hdlif.graph.graph import INPUT, INPUT_KINDS, Graph
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
/* Sums have one order, and no multiplication is joined with an addition: gcc and clang give the same bits. */
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
/* Negative integers are shifted as two's complement. */
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

    The outputs in C are bit-identical to those of `hdlif.runtime.reference`, or in fixed point to those of `fixed.run`.
    If `learn` is set, the C code can also continue to train the network. Trained values are bit-identical to those of
    `hdlif.runtime.reference_learning`, or in fixed point to those of `FixedLearner`.

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
    if graph.input.kind == "image":
        # Two constants per channel convert pixels to numbers.
        file.frame_bytes = 8 * len(graph.input.mean)
        if fixed is not None:
            file.use("saturated")
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
        _header(file, arithmetic, name, state, work, answers, learning),
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


def _header(
    file: CFile,
    arithmetic: Numbers,
    name: str,
    state: Struct,
    work: Struct,
    answers: Answers | None,
    learning: Learning | None,
) -> str:
    graph, upper = file.graph, name.upper()
    channels, height, width = graph.input.shape
    lines = [
        f"/* {comment(name)}.h: a spiking neural network of {graph.time_steps} time steps, written by hdlif.",
        "",
        f"   {name}_start makes the state of a new sequence, and {name}_step gives the outputs of one time step:",
        f"   {_meaning(graph)}.",
        f"   {_shown(graph)}",
        "   The work space carries nothing from one step to the next: networks and sequences may share one. */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {upper}_TIME_STEPS {graph.time_steps}",
        f"#define {upper}_CHANNELS {channels}",
        f"#define {upper}_HEIGHT {height}",
        f"#define {upper}_WIDTH {width}",
        f"#define {upper}_FRAME {math.prod(graph.input.shape)}",
        *_outputs(file, upper),
        *([] if learning is None else [f"#define {upper}_LEARNS 1"]),
        "",
        *_number(file, arithmetic, name),
        "",
        *state.typedef(f"{name}_state", "State, carried from step to step"),
        "",
        *work.typedef(f"{name}_work", "Work space of one step"),
        "",
        *([] if learning is None else [*learning.learned.typedef(f"{name}_learned", "Values changed by training"), ""]),
        f"extern const char {name}_labels[{upper}_LABELS][{label_bytes(graph)}];",
        "",
        f"void {name}_start({name}_state *state);",
        "",
        "/* A frame is [channels][height][width], and each entry of it",
        f"   (value / {INPUT_KINDS[graph.input.kind]} - mean) / deviation of its channel. */",
        f"void {name}_step({name}_state *state, {name}_work *work, {file.as_learned(name)}const {name}_number *frame,",
        f"{name}_number *outputs);",
        "",
    ]
    if graph.input.kind == "image":
        lines += [
            "/* Makes a frame of the pixels [channels][height][width] of an image, 0 to 255. */",
            f"void {name}_frame(const uint8_t *pixels, {name}_number *frame);",
            "",
        ]
    if graph.confidence is not None:
        lines += early_exit.declared(graph, name, file.as_learned(name), is_static=has_one_frame(graph))
    if answers is not None:
        lines += answers.header()
    if learning is not None:
        lines += learning.header()
    lines += ["#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return indented("\n".join(lines)) + "\n"


def _outputs(file: CFile, upper: str) -> list[str]:
    """Return macros for the number of outputs, the number of labels and the size of an output map."""
    graph = file.graph
    _, *sides = file.values[graph.output].shape
    lines = [f"#define {upper}_OUTPUTS {file.size(graph.output)}", f"#define {upper}_LABELS {len(graph.labels)}"]
    if sides:
        lines += [f"#define {upper}_OUTPUT_HEIGHT {sides[0]}", f"#define {upper}_OUTPUT_WIDTH {sides[1]}"]
    return lines


def _number(file: CFile, arithmetic: Numbers, name: str) -> list[str]:
    """Return declarations of the number types and, in fixed point, macros for the numbers of fraction bits."""
    typedef = f"typedef {arithmetic.number} {name}_number;"
    total = ["/* The type of sums of outputs over time steps. */", f"typedef {arithmetic.total} {name}_total;"]
    if not isinstance(arithmetic, Fixed):
        return [typedef, *total]
    fractions, upper = arithmetic.network.fractions, name.upper()
    return [
        "/* Frames and outputs are integers; multiplied by 2 to the power of -FRACTION, they are the values. */",
        typedef,
        f"#define {upper}_FRAME_FRACTION {_signed(fractions[INPUT])}",
        f"#define {upper}_OUTPUT_FRACTION {_signed(fractions[file.graph.output])}",
        *total,
    ]


def _signed(value: int) -> str:
    return str(value) if value >= 0 else f"({value})"


def _shown(graph: Graph) -> str:
    if has_one_frame(graph):
        return f"The same frame is given {graph.time_steps} times."
    return f"A sample has {graph.time_steps} frames, one per step."


def _meaning(graph: Graph) -> str:
    over = {"mean": "the mean over all steps so far", "last": "those of the last step", "each": "those of each step"}
    what = {
        "classify": "the class is the largest of",
        "sequence": "the class is the largest of",
        "regress": "values are",
        "multilabel": "a label is predicted if the sigmoid exceeds the threshold, of",
        "segment": "they are maps [labels][height][width]; the class of a pixel is the largest of",
        "instances": "they are maps [labels][height][width] of background, boundary and inside; objects are read off",
        "detect": "they are scores and four distances, [labels + 4][height][width] per level; boxes are read off",
    }
    return f"{what[graph.task.kind]} {over[graph.task.combine]}"


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
    if graph.input.kind == "image":
        pieces.append(_frame(file, arithmetic, name))
    if graph.confidence is not None:
        pieces.append(early_exit.functions(file, arithmetic, name, is_static=has_one_frame(graph)))
    return indented("\n".join(piece for piece in pieces if piece))


def label_bytes(graph: Graph) -> int:
    """Return the size in bytes of the longest label, including the terminating 0."""
    return 1 + max(len(label.encode()) for label in graph.labels)


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
        f"void {name}_frame(const uint8_t *pixels, {name}_number *frame)\n{{\n{tables}\n"
        f"for (uint32_t c = 0, i = 0; c < {channels}; c++)\n"
        f"for (const uint32_t end = i + {height * width}; i < end; i++)\n"
        f"frame[i] = (NUMBER)({number});\n}}\n"
    )
