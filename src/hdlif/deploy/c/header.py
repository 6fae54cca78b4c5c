"""The header of a network's C file, with documentation of the functions."""

import math
import textwrap

from hdlif.deploy.c import early_exit
from hdlif.deploy.c.answers import Answers
from hdlif.deploy.c.arithmetic import Fixed, Numbers
from hdlif.deploy.c.c_file import CFile, Struct, has_one_frame
from hdlif.deploy.c.learning import Learning
from hdlif.deploy.c.text import WIDTH, comment, indented
from hdlif.graph.graph import INPUT, INPUT_KINDS, Graph

MOST_CHANNELS = 16
"""Largest number of channels whose mean and deviation are listed."""


def header(
    file: CFile,
    arithmetic: Numbers,
    name: str,
    state: Struct,
    work: Struct,
    answers: Answers | None,
    learning: Learning | None,
) -> str:
    """Return the text of the header."""
    graph, upper = file.graph, name.upper()
    channels, height, width = graph.input.shape
    lines = [
        f"/* {comment(name)}.h: a spiking neural network of {graph.time_steps} time steps, written by hdlif.",
        "",
        f"   {name}_start initialises the state of a sequence, and {name}_step computes the outputs of a time step:",
        f"   {_meaning(graph)}.",
        f"   {_shown(graph)}",
        "   The workspace keeps nothing between steps, so networks and sequences may share one. */",
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
        *([] if answers is None else [f"#define {upper}_ANSWERS 1"]),
        "",
        *_number(file, arithmetic, name),
        "",
        *state.typedef(f"{name}_state", "State, kept from step to step"),
        "",
        *work.typedef(f"{name}_work", "Workspace of one step"),
        "",
        *([] if learning is None else [*learning.learned.typedef(f"{name}_learned", "Values changed by training"), ""]),
        f"extern const char {name}_labels[{upper}_LABELS][{label_bytes(graph)}];",
        "",
        f"void {name}_start({name}_state *state);",
        "",
        *_frame_comment(graph),
        f"void {name}_step({name}_state *state, {name}_work *work, {file.as_learned(name)}const {name}_number *frame,",
        f"{name}_number *outputs);",
        "",
    ]
    what = "pixels 0 to 255" if graph.input.kind == "image" else "values"
    lines += [
        f"/* Converts the {what} of a step, [channels][height][width], to a frame. */",
        f"void {name}_frame({raw_input(graph)}, {name}_number *frame);",
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


def raw_input(graph: Graph) -> str:
    """Return the C parameter for a step's values before normalisation."""
    return f"const {'uint8_t' if graph.input.kind == 'image' else 'float'} *values"


def _frame_comment(graph: Graph) -> list[str]:
    """Return a comment on a frame's normalisation, which lists the constants unless there are many channels."""
    record, whole = graph.input, INPUT_KINDS[graph.input.kind]
    value = "value" if whole == 1 else f"value / {whole}"
    lines = [
        "/* A frame is [channels][height][width]; each entry is",
        f"   ({value} - mean) / deviation, by channel.",
    ]
    if len(record.mean) <= MOST_CHANNELS:
        for name, numbers in (("mean", record.mean), ("deviation", record.std)):
            text = f"{name}: {', '.join(f'{number:.9g}' for number in numbers)}."
            lines += textwrap.wrap(text, WIDTH - 8, initial_indent="   ", subsequent_indent="   ")
    return [*lines[:-1], f"{lines[-1]} */"]


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
    total = ["/* The type of the sums of outputs over time steps. */", f"typedef {arithmetic.total} {name}_total;"]
    if not isinstance(arithmetic, Fixed):
        return [typedef, *total]
    fractions, upper = arithmetic.network.fractions, name.upper()
    return [
        "/* Frames and outputs are integers; a value is its integer times 2 to the power of -FRACTION. */",
        typedef,
        f"#define {upper}_FRAME_FRACTION {_signed(fractions[INPUT])}",
        f"#define {upper}_OUTPUT_FRACTION {_signed(fractions[file.graph.output])}",
        *total,
    ]


def _signed(value: int) -> str:
    return str(value) if value >= 0 else f"({value})"


def _shown(graph: Graph) -> str:
    if has_one_frame(graph):
        return f"All {graph.time_steps} steps of a sample take the same frame."
    return f"A sample has {graph.time_steps} frames, one per step."


def _meaning(graph: Graph) -> str:
    over = {"mean": "the mean over all steps so far", "last": "the last step's outputs", "each": "each step's outputs"}
    what = {
        "classify": "the class is the index of the largest entry in",
        "sequence": "the class is the index of the largest entry in",
        "regress": "values are",
        "multilabel": "a label is predicted if the sigmoid exceeds the threshold, for",
        "segment": "maps [labels][height][width]; the class of a pixel is the index of the largest entry in",
        "instances": "maps [labels][height][width] of background, boundary and inside; objects are decoded from",
        "detect": "scores and four distances, [labels + 4][height][width] per level; boxes are decoded from",
    }
    return f"{what[graph.task.kind]} {over[graph.task.combine]}"


def label_bytes(graph: Graph) -> int:
    """Return the size in bytes of the longest label, including the terminating 0."""
    return 1 + max(len(label.encode()) for label in graph.labels)
