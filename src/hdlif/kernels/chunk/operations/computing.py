"""The operations of a written step in PyTorch: the functions that the step itself calls, one for each register.

Values stand in a list, each at a place of its own. What is 1 or 0 is so in the dtype of the states: on a CPU, PyTorch
converts truth values, and chooses by them, several times more slowly than it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Instruction, Value, WrittenStep

Held = Any
"""A tensor, or a number where nothing else is known of it than that."""
Compute = Callable[[list[Held]], Held]


def computing(step: WrittenStep, value: Value, dtype: torch.dtype, device: torch.device) -> Compute:
    """What computes a value from the registers that it follows from, by their numbers (`Saving.operands`)."""
    program = step.program
    if value.kind == "true":
        register = value.register
        return lambda held: (
            _compared(torch.ne, held[register], 0) if isinstance(held[register], Tensor) else held[register]
        )
    instruction = program.instructions[value.register - program.first]
    if value.kind != "value":
        if instruction.form == "relu":
            register = value.register
            return lambda held: held[register]
        return _of_tensors(_KINDS[value.kind, instruction.operation], instruction, dtype, device)
    extreme = step.extreme(value.register)
    if extreme is not None:
        return _of_tensors(_EXTREMES[extreme.operation, ""], extreme, dtype, device)
    match instruction.operation:
        case "constant":
            return lambda held: instruction.value
        case "select":
            return _select(instruction, dtype, device)
        case "add" | "subtract" | "multiply":
            return _arithmetic(instruction, dtype, device)
        case "maximum" if instruction.form == "relu":
            return _of_tensors(torch.relu, Instruction("maximum", instruction.operands[1:]), dtype, device)
        case "minimum" | "maximum":
            return _of_tensors(_EXTREMES[instruction.operation, instruction.form], instruction, dtype, device)
        case operation:
            return _of_tensors(_FUNCTIONS[operation], instruction, dtype, device)


def _of_tensors(
    function: Callable[..., Tensor], instruction: Instruction, dtype: torch.dtype, device: torch.device
) -> Compute:
    """A function whose first operand must be a tensor, and whose others may be numbers."""
    first, *others = instruction.operands

    def compute(held: list[Held]) -> Held:
        a = held[first]
        a = a if isinstance(a, Tensor) else torch.tensor(a, dtype=dtype, device=device)
        return function(a, *(held[other] for other in others))

    return compute


def _arithmetic(instruction: Instruction, dtype: torch.dtype, device: torch.device) -> Compute:
    function = _ARITHMETIC[instruction.operation, instruction.form]
    first, second = instruction.operands

    def compute(held: list[Held]) -> Held:
        a, b = held[first], held[second]
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = torch.tensor(a, dtype=dtype, device=device)
        return function(a, b)

    return compute


def _select(instruction: Instruction, dtype: torch.dtype, device: torch.device) -> Compute:
    condition, first, second = instruction.operands

    def compute(held: list[Held]) -> Held:
        chosen, a, b = held[condition], held[first], held[second]
        chosen = chosen.bool() if isinstance(chosen, Tensor) else torch.tensor(bool(chosen), device=device)
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = torch.tensor(a, dtype=dtype, device=device)
        return torch.where(chosen, a, b)

    return compute


def _compared(function: Any, a: Tensor, b: Held) -> Tensor:
    """1 or 0, without a truth value between."""
    dtype = torch.promote_types(a.dtype, b.dtype) if isinstance(b, Tensor) else a.dtype
    # An empty tensor takes the shape of what is written to it.
    found: Tensor = function(a, b, out=torch.empty(0, dtype=dtype, device=a.device))
    return found


def _like(a: Tensor, b: Held) -> Tensor:
    return b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype, device=a.device)


_ARITHMETIC: Mapping[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("add", ""): lambda a, b: a + b,
    ("subtract", ""): lambda a, b: a - b,
    ("multiply", ""): lambda a, b: a * b,
    ("multiply", "divide"): lambda a, b: a / b,
}
_EXTREMES: Mapping[tuple[str, str], Callable[[Tensor, Held], Tensor]] = {
    ("minimum", ""): lambda a, b: torch.minimum(a, _like(a, b)),
    ("maximum", ""): lambda a, b: torch.maximum(a, _like(a, b)),
    ("minimum", "clamp"): lambda a, b: torch.clamp(a, max=b),
    ("maximum", "clamp"): lambda a, b: torch.clamp(a, min=b),
    ("minimum", "first"): lambda a, b: torch.fmin(a, _like(a, b)),
    ("maximum", "first"): lambda a, b: torch.fmax(a, _like(a, b)),
}
_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "negative": lambda x: -x,
    "absolute": torch.abs,
    "floor": torch.floor,
    "greater": lambda a, b: _compared(torch.gt, a, b),
    "greater_equal": lambda a, b: _compared(torch.ge, a, b),
    "step": lambda x: _compared(torch.ge, x, 0),
}
_KINDS: Mapping[tuple[str, str], Callable[..., Tensor]] = {
    ("mask", "minimum"): lambda a, b: _compared(torch.le, a, b),
    ("mask", "maximum"): lambda a, b: _compared(torch.ge, a, b),
    ("share", "minimum"): lambda a, b: _compared(torch.lt, a, b) + _compared(torch.le, a, b),
    ("share", "maximum"): lambda a, b: _compared(torch.gt, a, b) + _compared(torch.ge, a, b),
    ("sign", "absolute"): torch.sign,
}
