"""A deployed graph as a torch module: the arithmetic that the runtime computes, on tensors.

Integer codes times {-1, 0, 1} are exact in float32 below 2^24, so that this module, the NumPy reference and the
native runtime agree code for code, but for the order of float sums.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.artefact import Graph, Node, infer_values
from hdlif.equations import Program
from hdlif.errors import StateError, did_you_mean
from hdlif.nn.state import State, Temporal, check_chunk, entries_of, kept_of, stack_steps, steps_of
from hdlif.ops import state_names
from hdlif.ops.graph import INPUT
from hdlif.ops.program import program_of, row_names

Observer = Callable[[Node, tuple[Tensor, ...], Tensor], None]
"""Sees each node with its inputs and output, [K or 1, B, ...]."""


class GraphModule(Temporal):
    """Runs a graph over chunks of time: images [K or 1, B, C, H, W] to logits [K, B, classes].

    State: {node name: {state's name: [B, C, H, W]}}. Steps are said as for `models.Network`.
    """

    def __init__(self, graph: Graph, *, observer: Observer | None = None) -> None:
        super().__init__()
        self.graph, self.observer = graph, observer
        infer_values(graph)
        self._programs = {node.name: program_of(node) for node in graph.nodes if node.op == "program"}
        for node in graph.nodes:
            for role, tensor in node.tensors.items():
                self.register_buffer(_buffer(node, role), torch.from_numpy(tensor.astype(np.float32)))

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        check_chunk(x, steps)
        values, after = {INPUT: x}, {}
        given = entries_of(state, "a graph")
        stateful = [node.name for node in self.graph.nodes if state_names(node)]
        if unknown := sorted(map(str, given.keys() - set(stateful))):
            raise StateError(f"state of {unknown[0]!r} belongs to no node; {did_you_mean(unknown[0], stateful)}")
        missing = [name for name in stateful if name not in given]
        if state is not None and missing:
            raise StateError(f"state lacks {missing[0]!r}; give the whole state, or None to start")
        for node in self.graph.nodes:
            inputs = tuple(values[name] for name in node.inputs)
            if node.op == "program":
                substate = entries_of(given[node.name], repr(node.name)) if node.name in given else None
                values[node.name], kept = self._run_program(node, inputs[0], substate, steps)
                if kept:
                    after[node.name] = kept
            else:
                values[node.name] = self._evaluate(node, inputs, steps)
            if self.observer is not None:
                self.observer(node, inputs, values[node.name])
        return values[self.graph.output].expand(len(steps), -1, -1), after or None

    def _rows(self, node: Node, role: str, steps: range, ndim: int) -> Tensor:
        """A per-step tensor for the steps of the chunk, broadcastable to [K, B, C, ...]."""
        rows: Tensor = getattr(self, _buffer(node, role))
        if len(rows) > 1:
            rows = rows[[min(t, len(rows) - 1) for t in steps]]
        return rows.view(rows.shape[0], 1, rows.shape[1], *[1] * (ndim - 3))

    def _run_program(self, node: Node, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State]:
        program = self._programs[node.name]
        kept = kept_of(state, x, *program.states)
        rows = [self._rows(node, key, steps, x.ndim) for key in row_names(program)]
        # One without states may be constant in time, as its current is.
        count = len(steps) if program.states else max(map(len, (x, *rows)))
        x, *rows = (value.expand(count, *value.shape[1:]) for value in (x, *rows))
        emitted = []
        for k in range(count):
            spike, *kept = _stepped(program, x[k], kept, [row[k] for row in rows])
            emitted.append(spike)
        return stack_steps(emitted), dict(zip(program.states, kept, strict=True))

    def _evaluate(self, node: Node, inputs: tuple[Tensor, ...], steps: range) -> Tensor:
        x = inputs[0]
        attributes: Any = node.attributes
        match node.op:
            case "conv2d":
                weight = getattr(self, _buffer(node, "weight"))
                return _folded(x, lambda v: F.conv2d(v, weight, None, attributes["stride"], attributes["padding"]))
            case "linear":
                return F.linear(x, getattr(self, _buffer(node, "weight")))
            case "affine":
                return x * self._rows(node, "scale", steps, x.ndim) + self._rows(node, "shift", steps, x.ndim)
            case "quantise":
                inverse_step = self._rows(node, "inverse_step", steps, x.ndim)
                code = torch.floor(x.clamp_min(0) * inverse_step + attributes["offset"])
                return code.clamp_max(2 ** attributes["bits"] - 1)
            case "seca":
                weight, bias = self._rows(node, "weight", steps, 3), self._rows(node, "bias", steps, 3)
                margin = weight.shape[2] // 2
                neighbours = F.pad(x.mean((3, 4)), (margin, margin)).unfold(2, weight.shape[2], 1)
                gate = torch.sigmoid((neighbours * weight[:, :, None]).sum(3) + bias)
                return x * gate[..., None, None]
            case "add":
                return x + inputs[1]
            case "sum_pool":
                kernel, stride = attributes["kernel"], attributes["stride"]
                return _folded(x, lambda v: F.avg_pool2d(v, kernel, stride, divisor_override=1))
            case "max_pool":
                kernel, stride, (pad_y, pad_x) = attributes["kernel"], attributes["stride"], attributes["padding"]
                # torch's own padding ends at half of the kernel
                x = F.pad(x, (pad_x, pad_x, pad_y, pad_y), value=-torch.inf)
                return _folded(x, lambda v: F.max_pool2d(v, kernel, stride))
            case "global_sum_pool":
                return x.sum((-2, -1))
            case "flatten":
                return x.flatten(2)
            case "slice":
                return x[:, :, attributes["begin"] : attributes["end"]]
            case "concat":
                leading = max(len(value) for value in inputs)
                return torch.cat([value.expand(leading, *value.shape[1:]) for value in inputs], 2)
        raise AssertionError(f"op {node.op} passed validation but has no torch form")


def _buffer(node: Node, role: str) -> str:
    """The name of a buffer: another for each name and role; torch allows no dot. A role has neither dot nor slash."""
    return node.name.replace("~", "~0").replace(".", "~1") + f"/{role}"


def _folded(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    y = function(x.flatten(0, 1))
    return y.reshape(*x.shape[:2], *y.shape[1:])


_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "negative": torch.neg,
    "absolute": torch.abs,
    "floor": torch.floor,
    "minimum": lambda a, b: torch.where(b < a, b, a),
    "maximum": lambda a, b: torch.where(b > a, b, a),
    "greater": lambda a, b: (a > b).to(torch.promote_types(a.dtype, b.dtype)),
    "greater_equal": lambda a, b: (a >= b).to(torch.promote_types(a.dtype, b.dtype)),
    "step": lambda x: (x >= 0).to(x.dtype),
    "select": lambda chosen, a, b: torch.where(chosen != 0, a, b),
}


def _stepped(program: Program, current: Tensor, states: Sequence[Tensor], rows: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """One step of a program: the spike and the states after it."""
    registers = [current, *states, *rows]
    for instruction in program.instructions:
        if instruction.operation == "constant":
            registers.append(current.new_full((), instruction.value))
        else:
            registers.append(_OPERATIONS[instruction.operation](*(registers[i] for i in instruction.operands)))
    return tuple(registers[i].expand_as(current) for i in (program.spike, *program.after))
