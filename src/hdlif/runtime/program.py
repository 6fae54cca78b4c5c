"""A graph in the flat form that the compiled runtime reads; `native/program.h` states the form.

Nothing is checked here: the native side checks every field itself.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdlif.artefact import INPUT, Graph, Node, pack
from hdlif.artefact.format import program_of, row_names
from hdlif.equations import OPERATIONS

FORM_VERSION = 4
MAX_TENSORS = 2
OP_CODES = {
    "conv2d": 0,
    "linear": 1,
    "affine": 2,
    "quantise": 3,
    "add": 4,
    "sum_pool": 5,
    "max_pool": 6,
    "global_sum_pool": 7,
    "flatten": 8,
    "seca": 9,
    "slice": 10,
    "concat": 11,
    "program": 12,
}
OPERATION_CODES = {name: code for code, name in enumerate(OPERATIONS)}
ENCODING_CODES = {"float32": 0, "ternary": 1, "binary": 2, "int2": 3, "int4": 4, "int8": 5}
TENSORS = {
    "affine": ("scale", "shift"),
    "quantise": ("inverse_step",),
    "seca": ("weight", "bias"),
}


@dataclass
class Program:
    """The words, and the scalars and buffers that they point into; `equations` are the words behind the nodes."""

    words: list[int] = field(default_factory=list)
    equations: list[int] = field(default_factory=list)
    scalars: list[float] = field(default_factory=list)
    buffers: list[NDArray[np.uint8]] = field(default_factory=list)


def flatten_graph(graph: Graph) -> Program:
    """The flat form of a graph that `infer_values` accepts."""
    index = {INPUT: 0} | {node.name: i + 1 for i, node in enumerate(graph.nodes)}
    program = Program()
    header = [FORM_VERSION, graph.time_steps, *graph.input.shape, len(graph.nodes), index[graph.output], 0]
    program.words += header
    for node in graph.nodes:
        inputs = [index[name] for name in node.inputs]
        _append_node(program, node, [*inputs, -1][:2])
    program.words[len(header) - 1] = len(program.equations)
    program.words += program.equations
    return program


def _append_node(program: Program, node: Node, inputs: list[int]) -> None:
    attributes = node.attributes
    out_channels, encoding, choice, scalar = 0, 0, 0, -1
    kernel, stride, padding = (0, 0), (0, 0), (0, 0)
    tensors = []
    if node.op in ("conv2d", "linear"):
        weight = node.tensors["weight"]
        out_channels, encoding = len(weight), ENCODING_CODES[attributes["encoding"]]
        packed = pack(weight, attributes["encoding"]) if encoding else _bytes(weight)
        tensors.append((packed, 0, 0))
        kernel = tuple(weight.shape[2:]) or kernel
    for key in TENSORS.get(node.op, ()):
        tensors.append((_bytes(node.tensors[key]), *node.tensors[key].shape))
    kernel = attributes.get("kernel", kernel)
    stride, padding = attributes.get("stride", stride), attributes.get("padding", padding)
    if node.op == "slice":
        choice, out_channels = attributes["begin"], attributes["end"] - attributes["begin"]
    if node.op == "quantise":
        choice = int(attributes["bits"])
        scalar = _append_scalars(program, attributes["offset"])
    if node.op == "program":
        choice = len(program.equations)
        _append_equation(program, node)
    program.words += [OP_CODES[node.op], *inputs, out_channels, *kernel, *stride, *padding, encoding]
    program.words += [choice, scalar]
    for buffer, rows, columns in tensors:
        program.words += [len(program.buffers), rows, columns]
        program.buffers.append(buffer)
    program.words += [-1, 0, 0] * (MAX_TENSORS - len(tensors))


def _append_equation(program: Program, node: Node) -> None:
    """States, rows and operations, by number; spike and states after; the rows' tensors; the operations."""
    equation = program_of(node)
    counts = [len(equation.states), len(equation.rows), len(equation.instructions)]
    words = [*counts, equation.spike, *equation.after]
    for key in row_names(equation):
        tensor = node.tensors[key]
        words += [len(program.buffers), *tensor.shape]
        program.buffers.append(_bytes(tensor))
    for instruction in equation.instructions:
        operands = list(instruction.operands)
        if instruction.operation == "constant":
            operands = [_append_scalars(program, instruction.value)]
        words += [OPERATION_CODES[instruction.operation], *operands, *[-1] * (3 - len(operands))]
    program.equations += words


def _append_scalars(program: Program, *scalars: float) -> int:
    program.scalars += scalars
    return len(program.scalars) - len(scalars)


def _bytes(tensor: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
