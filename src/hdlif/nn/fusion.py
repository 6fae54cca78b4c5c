"""Fuse a neuron's equation into one function per chunk, with a custom backward pass (`kernels.chunk`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import partial
from types import FunctionType
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from hdlif.errors import EquationError
from hdlif.graph.equations import WrittenStep, trace_written
from hdlif.nn.kernels.chunk import FusedStep
from hdlif.nn.kernels.tensors import is_transformed
from hdlif.nn.per_step import StepValue
from hdlif.nn.spikes import SpikeQuantizer

Path = Literal["steps", "fused"]
"""Implementation of a chunk of steps; see `SteppedNeuron.choose_path`."""


class Stepped(Protocol):
    """The protocol of neuron layers that can be fused, such as `hdlif.nn.SteppedNeuron`."""

    @property
    def states(self) -> Sequence[str]: ...

    def equation(self) -> Callable[..., Any]: ...

    def row_values(self) -> dict[str, Any]: ...


class Fusing:
    """The fused step of one neuron, traced at first use and after each change to the equation.

    A copy of a neuron starts without a fused step.
    """

    def __init__(self) -> None:
        self._made: tuple[object, FusedStep | EquationError] | None = None
        self._others: dict[tuple[bool, bool], FusedStep] = {}

    def __reduce__(self) -> tuple[type[Fusing], tuple[()]]:
        return Fusing, ()

    def step_of(self, neuron: Stepped, *, cut: bool = False, normed: bool = False) -> FusedStep:
        """Return the fused step.

        Args:
            cut: pass no gradient back through the states.
            normed: use the current scale·(x - mean) + shift; the rows mean, scale and shift precede the neuron's rows.
        Raises:
            EquationError: the equation uses an operation that programs do not support.
        """
        equation = neuron.equation()
        identity = _identity(equation)
        if self._made is None or self._made[0] != identity:
            made: FusedStep | EquationError
            try:
                made = FusedStep(written_step(equation, neuron.states, neuron.row_values()))
            except EquationError as error:
                made = error.with_traceback(None)
            self._made, self._others = (identity, made), {}
        step = self._made[1]
        if isinstance(step, EquationError):
            raise EquationError(*step.args)
        if not cut and not normed:
            return step
        if (cut, normed) not in self._others:
            written = _written_after_norm(neuron) if normed else step.step
            self._others[cut, normed] = FusedStep(_stopped_states(written) if cut else written)
        return self._others[cut, normed]

    def emits_relu(self, neuron: Stepped) -> bool:
        """Return whether a step computes its spikes with a ReLU, or False if the equation cannot be traced."""
        try:
            program = self.step_of(neuron).step.program
        except EquationError:
            return False
        made = program.spike - program.first
        return made >= 0 and program.instructions[made].form == "relu"


def written_step(step: Callable[..., Any], states: Sequence[str], rows: Mapping[str, Any]) -> WrittenStep:
    """Trace a step in which operations under `torch.no_grad()` pass no gradient.

    Raises:
        EquationError: the step uses an operation that programs do not support.
    """
    with torch.enable_grad():
        return trace_written(step, states=states, rows=rows, stops=lambda: not torch.is_grad_enabled())


def _written_after_norm(neuron: Stepped) -> WrittenStep:
    equation, states = neuron.equation(), len(neuron.states)

    def step(x: Any, *given: Any) -> Any:
        mean, scale, shift, *rows = given[states:]
        return equation(scale * (x - mean) + shift, *given[:states], *rows)

    ones = torch.ones(1, 1, dtype=torch.float64)
    rows = {f"{name} of the norm": ones for name in ("mean", "scale", "shift")} | neuron.row_values()
    # The norm also saves its input.
    return replace(written_step(step, neuron.states, rows), current_is_kept=True)


def can_be_fused(states: Sequence[Tensor], rows: Sequence[Tensor], dtype: torch.dtype) -> bool:
    """Return whether a chunk has a single dtype and runs outside compilers and transforms.

    Compilers and function transforms process each step themselves.
    """
    if torch.compiler.is_compiling() or is_transformed() or any(state.dtype != dtype for state in states):
        return False
    return all(torch.promote_types(row.dtype, dtype) == dtype for row in rows)


def shared_rows(rows: Sequence[Tensor]) -> list[Tensor]:
    """Return the rows [K, ...] of a chunk, reduced to one row if all steps share it."""
    return [row[:1] if row.stride(0) == 0 else row for row in rows]


def _stopped_states(step: WrittenStep) -> WrittenStep:
    return replace(step, stopped=step.stopped.union(range(1, 1 + len(step.program.states))))


def _identity(step: Callable[..., Any]) -> object:
    """Return a key that is equal for equal equations, based on the function, bound arguments and module attributes."""
    if isinstance(step, partial):
        return _identity(step.func), step.args, step.keywords
    owner = getattr(step, "__self__", None)
    if not isinstance(owner, nn.Module):
        return step
    attributes = _attributes(owner)
    # The fused step holds the tensors, and reads their current values.
    known = {name: value if _is_fixed(value) else _Same(value) for name, value in attributes.items()}
    return getattr(step, "__func__", step), known


def is_followed(step: Callable[..., Any]) -> bool:
    """Return whether `_identity` detects every change to the module that affects the step."""
    if isinstance(step, partial):
        return is_followed(step.func)
    owner = getattr(step, "__self__", None)
    if not isinstance(owner, nn.Module):
        return True
    parts = (part for part in owner._modules.values() if part is not None)
    return all(_is_fixed(value) or isinstance(value, Tensor) for value in _attributes(owner).values()) and all(
        isinstance(part, StepValue | SpikeQuantizer) for part in parts
    )


class _Same:
    """A wrapper that compares values by identity."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    __hash__ = None  # type: ignore[assignment]


def _attributes(owner: nn.Module) -> dict[str, Any]:
    """Return a module's parameters, buffers and other attributes, except attributes that all modules have."""
    own = {name: value for name, value in vars(owner).items() if name not in _OF_MODULES or name == "training"}
    return {**own, **owner._buffers, **owner._parameters}


def _is_fixed(value: object) -> bool:
    """Return whether a value is immutable and compared by value."""
    if isinstance(value, tuple):
        return all(_is_fixed(one) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return bool(value.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    fixed = bool | int | float | str | range | type | FunctionType | torch.dtype | torch.device
    return value is None or isinstance(value, fixed)


_OF_MODULES = {*vars(nn.Module()), "_fusing"}
