"""Fusion of a neuron's equation into one function per chunk, with its own backward pass (`kernels.chunk`)."""

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
    """What fusion needs of a neuron layer: `hdlif.nn.SteppedNeuron`."""

    @property
    def states(self) -> Sequence[str]: ...

    def equation(self) -> Callable[..., Any]: ...

    def row_values(self) -> dict[str, Any]: ...


class Fusing:
    """The fused step of one neuron: traced at first use, and again if the equation changes.

    A copy of a neuron starts without it.
    """

    def __init__(self) -> None:
        self._made: tuple[object, FusedStep | EquationError] | None = None
        self._others: dict[tuple[bool, bool], FusedStep] = {}

    def __reduce__(self) -> tuple[type[Fusing], tuple[()]]:
        return Fusing, ()

    def step_of(self, neuron: Stepped, *, cut: bool = False, normed: bool = False) -> FusedStep:
        """Return the step.

        Args:
            cut: with states that no gradient comes back from.
            normed: of a current scale·(x - mean) + shift, whose rows (mean, scale, shift) precede the neuron's.
        Raises:
            EquationError: the equation uses what a program has not.
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
        """Whether the spikes of a step are a relu's; no equation that has no program is known to."""
        try:
            program = self.step_of(neuron).step.program
        except EquationError:
            return False
        made = program.spike - program.first
        return made >= 0 and program.instructions[made].form == "relu"


def written_step(step: Callable[..., Any], states: Sequence[str], rows: Mapping[str, Any]) -> WrittenStep:
    """Literal step; operations under `torch.no_grad()` has no gradient.

    Raises:
        EquationError: the step uses what a program has not.
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
    """Return whether a chunk is in one dtype, and neither compiled nor transformed.

    These go into each step themselves.
    """
    if torch.compiler.is_compiling() or is_transformed() or any(state.dtype != dtype for state in states):
        return False
    return all(torch.promote_types(row.dtype, dtype) == dtype for row in rows)


def shared_rows(rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows [K, ...] of a chunk; one if they are the same at all steps."""
    return [row[:1] if row.stride(0) == 0 else row for row in rows]


def _stopped_states(step: WrittenStep) -> WrittenStep:
    return replace(step, stopped=step.stopped.union(range(1, 1 + len(step.program.states))))


def _identity(step: Callable[..., Any]) -> object:
    """Equal where an equation computes the same: the function and what it was given; of a method, also what it has."""
    if isinstance(step, partial):
        return _identity(step.func), step.args, step.keywords
    owner = getattr(step, "__self__", None)
    if not isinstance(owner, nn.Module):
        return step
    attributes = _attributes(owner)
    # The fused step reads tensors as they are at the time, and holds them.
    known = {name: value if _is_fixed(value) else _Same(value) for name, value in attributes.items()}
    return getattr(step, "__func__", step), known


def is_followed(step: Callable[..., Any]) -> bool:
    """Return whether all changes of the module that affect the step are detectable: none is inside an attribute."""
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
    """Equal if it is the same object."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    __hash__ = None  # type: ignore[assignment]


def _attributes(owner: nn.Module) -> dict[str, Any]:
    """A module's own, its parameters and buffers among them; what every module has is not."""
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
