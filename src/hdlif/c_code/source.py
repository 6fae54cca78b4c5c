"""A deployed network as C99 source: one file and its header, which need no library."""

import math
from dataclasses import dataclass

from hdlif.c_code import kernels
from hdlif.c_code.indenting import indented
from hdlif.c_code.text import comment, identifier, real
from hdlif.c_code.translation import Translation
from hdlif.errors import InputError
from hdlif.ops import Graph, state_names
from hdlif.ops.graph import INPUT_KINDS

_FILE_NAMES = "letters, digits and underscores, and begin with a letter"


@dataclass(frozen=True)
class Source:
    """A network's C file and header.

    Attributes:
        name: what the files and all names in the header begin with.
        data_bytes: of the constants; code comes on top.
        state_bytes: of what is carried from step to step, `NAME_state`.
        work_bytes: of what a step needs besides, `NAME_work`; several networks and streams may share it.
        additions: pairs of an input and a weight in a step, where no input is 0.
    """

    name: str
    code: str
    header: str
    data_bytes: int
    state_bytes: int
    work_bytes: int
    additions: int

    @property
    def ram_bytes(self) -> int:
        """State and work together, without the stack."""
        return self.state_bytes + self.work_bytes


def translate(graph: Graph, name: str = "network") -> Source:
    """The C99 source of a graph, in float32, whose outputs have the bits of `hdlif.runtime.reference`.

    Args:
        name: of the files, and what their names begin with.
    Raises:
        InputError: `name` is no identifier.
        ArtefactError: the graph breaks the format.
    """
    if not name.isascii() or not name.isidentifier() or identifier(name) != name or name in kernels.identifiers():
        raise InputError(f"{name}: names of C files are {_FILE_NAMES}; in small letters and no word of C")
    parts = Translation(graph)
    functions = parts.functions()
    state, state_bytes = _state(parts)
    work, work_bytes = _work(parts)
    return Source(
        name,
        _code(parts, name, functions),
        _header(parts, name, state, work, state_bytes, work_bytes),
        parts.data_bytes,
        state_bytes,
        work_bytes,
        parts.additions,
    )


def _state(parts: Translation) -> tuple[list[str], int]:
    """The members of the state, and its bytes."""
    numbers, codes, size = ["uint32_t t;"], [], 4
    for node in parts.nodes:
        for name in state_names(node):
            entries = parts.size(node.name)
            member = parts.state_names[f"{node.name}.{name}"]
            if parts.state_is_code(node):
                codes.append(f"uint8_t {member}[{entries}];")
                size += entries
            else:
                numbers.append(f"float {member}[{entries}];")
                size += 4 * entries
    return numbers + codes, -(-size // 4) * 4


def _work(parts: Translation) -> tuple[list[str], int]:
    """The members of the work space, and its bytes."""
    entry = "uint16_t" if parts.longest_window <= 2**16 else "uint32_t"
    arrays = [
        ("int32_t", 4, "sums", parts.sums),
        ("float", 4, "totals", parts.totals),
        ("float", 4, "numbers", parts.entries[False]),
        (entry, 2 if entry == "uint16_t" else 4, "entry", parts.listed),
        ("uint8_t", 1, "codes", parts.entries[True]),
        ("uint8_t", 1, "code", parts.listed),
    ]
    arrays = [array for array in arrays if array[3]] or [("uint8_t", 1, "unused", 1)]
    arrays.sort(key=lambda array: -array[1])
    size, widest = sum(width * count for _, width, _, count in arrays), arrays[0][1]
    return [f"{kind} {name}[{count}];" for kind, _, name, count in arrays], -(-size // widest) * widest


def _header(parts: Translation, name: str, state: list[str], work: list[str], state_bytes: int, work_bytes: int) -> str:
    graph, upper = parts.graph, name.upper()
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
        f"#define {upper}_OUTPUTS {parts.size(graph.output)}",
        "",
        f"typedef float {name}_number;",
        "",
        f"/* Carried from step to step: {state_bytes} bytes. */",
        "typedef struct {",
        *state,
        f"}} {name}_state;",
        "",
        f"/* Of one step: {work_bytes} bytes. */",
        "typedef struct {",
        *work,
        f"}} {name}_work;",
        "",
        f"extern const char *const {name}_labels[{upper}_OUTPUTS];",
        "",
        f"void {name}_start({name}_state *state);",
        "",
        "/* A frame is [channels][height][width], and each entry of it",
        f"   (value / {INPUT_KINDS[graph.input.kind]} - mean) / deviation of its channel. */",
        f"void {name}_step({name}_state *state, {name}_work *work, const {name}_number *frame,",
        f"{name}_number *outputs);",
        "",
    ]
    if graph.input.kind == "image":
        lines += [
            "/* Makes a frame of the pixels [channels][height][width] of an image, 0 to 255. */",
            f"void {name}_frame(const uint8_t *pixels, {name}_number *frame);",
            "",
        ]
    lines += ["#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return indented("\n".join(lines)) + "\n"


def _shown(graph: Graph) -> str:
    if graph.input.frames == "constant" and graph.input.kind != "events":
        return f"The same frame is given {graph.time_steps} times."
    return f"A sample has {graph.time_steps} frames, one a step."


def _meaning(graph: Graph) -> str:
    over = {"mean": "the mean over all steps so far", "last": "those of the last step", "each": "those of each step"}
    what = {
        "classify": "the class is the largest of",
        "sequence": "the class is the largest of",
        "regress": "values are",
        "multilabel": "a label is said where the sigmoid passes its threshold, of",
    }
    return f"{what[graph.task.kind]} {over[graph.task.combine]}"


def _code(parts: Translation, name: str, functions: dict[str, str]) -> str:
    graph = parts.graph
    entry = "uint16_t" if parts.longest_window <= 2**16 else "uint32_t"
    includes = "".join(f"#include <{header}>\n" for header in parts.includes)
    pieces = [
        f"/* {comment(name)}.c: see {comment(name)}.h. Written by hdlif; sums of numbers have one order, and no",
        "   multiplication is joined with an addition, so that every compiler gives the same bits. */",
        f'#include "{name}.h"\n',
        includes,
        "#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF\n#elif defined(__GNUC__)",
        '#pragma GCC optimize("fp-contract=off")\n#endif',
        "#if defined(__FAST_MATH__)\n#error this file needs IEEE arithmetic: leave out -ffast-math\n#endif\n",
        f"typedef {name}_number NUMBER;\ntypedef {name}_state STATE;\ntypedef {name}_work WORK;",
        "typedef float TOTAL;" if parts.totals else "",
        f"typedef {entry} ENTRY;\n" if parts.listed else "",
        *parts.kernels,
        *parts.tables,
        *functions.values(),
        _labels(graph, name),
        f"void {name}_start({name}_state *state)\n{{\nmemset(state, 0, sizeof *state);\n}}\n",
        _step(parts, name, list(functions)),
    ]
    if graph.input.kind == "image":
        pieces.append(_frame(graph, name))
    return indented("\n".join(piece for piece in pieces if piece))


def _labels(graph: Graph, name: str) -> str:
    texts = ", ".join(_string(label) for label in graph.labels)
    return f"const char *const {name}_labels[{name.upper()}_OUTPUTS] = {{{texts}}};\n"


def _string(text: str) -> str:
    """A C string of UTF-8, of which each byte that may mean something else is written as its number."""
    plain = frozenset(b" !#$%&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def _step(parts: Translation, name: str, functions: list[str]) -> str:
    graph = parts.graph
    output = parts.base[graph.output]
    array = parts.array(output)
    lines = [f"{function}(state, work, frame);" for function in functions]
    lines += [
        f"for (uint32_t k = 0; k < {name.upper()}_OUTPUTS; k++)",
        f"outputs[k] = (NUMBER){array}[k];",
    ]
    for node in parts.nodes:
        if node.op == "delay":
            member = parts.state_names[f"{node.name}.delayed"]
            lines.append(f"memcpy(state->{member}, {parts.array(parts.base[node.attributes['source']])}, ")
            lines[-1] += f"sizeof state->{member});"
    lines += ["if (state->t < UINT32_MAX)", "state->t++;"]
    return (
        f"void {name}_step({name}_state *state, {name}_work *work, const {name}_number *frame,\n"
        f"{name}_number *outputs)\n{{\n" + "\n".join(lines) + "\n}\n"
    )


def _frame(graph: Graph, name: str) -> str:
    channels, height, width = graph.input.shape
    plane = height * width
    means, stds = (", ".join(map(real, numbers)) for numbers in (graph.input.mean, graph.input.std))
    return (
        f"void {name}_frame(const uint8_t *pixels, {name}_number *frame)\n{{\n"
        f"static const NUMBER mean[{channels}] = {{{means}}}, deviation[{channels}] = {{{stds}}};\n"
        f"for (uint32_t c = 0, i = 0; c < {channels}; c++)\n"
        f"for (const uint32_t end = i + {plane}; i < end; i++)\n"
        f"frame[i] = ((NUMBER)pixels[i] / {real(INPUT_KINDS[graph.input.kind])} - mean[c]) / deviation[c];\n}}\n"
    )


__all__ = ["Source", "translate"]
