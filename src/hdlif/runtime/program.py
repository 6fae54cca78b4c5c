"""A graph in the flat form that the compiled runtime reads; `native/program.h` states the form.

Nothing is checked here: the native side checks every field itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.artefact import pack
from hdlif.graph.equations import OPERATIONS
from hdlif.graph.equations import Program as Equation
from hdlif.graph.ops import INPUT, OPS, Graph, Node
from hdlif.graph.ops.program import row_names

FORM_VERSION = 6
MAX_TENSORS = 2
OPERATION_CODES = {name: code for code, name in enumerate(OPERATIONS)}
ENCODING_CODES = {"float32": 0, "ternary": 1, "binary": 2, "int2": 3, "int4": 4, "int8": 5}


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
        _append_node(program, node, index)
    program.words[len(header) - 1] = len(program.equations)
    program.words += program.equations
    return program


def _append_node(program: Program, node: Node, index: Mapping[str, int]) -> None:
    """A node's words and buffers; `index` has the number of every value of the graph."""
    op, attributes = OPS[node.op], node.attributes
    own = op.flat(node)
    inputs = [*(index[name] for name in node.inputs), -1][:2]
    source = -1 if own.source is None else index[own.source]
    kernel = attributes.get("kernel", own.kernel)
    stride, padding = attributes.get("stride", (0, 0)), attributes.get("padding", (0, 0))
    encoding = ENCODING_CODES[attributes["encoding"]] if op.is_synapse else 0
    choice, scalar = own.choice, _append_scalars(program, *own.scalars) if own.scalars else -1
    if own.equation is not None:
        choice = len(program.equations)
        _append_equation(program, node, own.equation)
    program.words += [op.code, *inputs, own.out_channels, *kernel, *stride, *padding, *own.dilation, own.groups]
    program.words += [encoding, choice, source, scalar]
    roles = op.tensors or ()
    for role in roles:
        tensor = node.tensors[role]
        packed = pack(tensor, attributes["encoding"]) if encoding else _bytes(tensor)
        program.words += [len(program.buffers), *((0, 0) if op.is_synapse else tensor.shape)]
        program.buffers.append(packed)
    program.words += [-1, 0, 0] * (MAX_TENSORS - len(roles))


def _append_equation(program: Program, node: Node, equation: Equation) -> None:
    """States, rows and operations, by number; spike and states after; the rows' tensors; the operations."""
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
