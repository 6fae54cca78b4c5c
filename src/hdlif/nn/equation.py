"""Custom neurons, defined by states, parameters and a step function on tensors."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hdlif.errors import EquationError, ShapeError, brief, cut, first_line
from hdlif.graph.equations import Program, evaluate, evaluate_registers
from hdlif.nn.fusion import Path
from hdlif.nn.per_step import StepValue, TimeConstants, one_number
from hdlif.nn.spikes import SpikeQuantizer
from hdlif.nn.step_neuron import Step, SteppedNeuron


@dataclass(frozen=True)
class Parameter:
    """A learned or fixed parameter of an `EquationNeuron`: one value, or one value per time step and channel.

    >>> from hdlif.nn import Parameter
    >>> leak = Parameter(0.5)
    >>> threshold = Parameter(0.5, high=float("inf"))
    >>> gain = Parameter(1.0, learned=False)

    Attributes:
        start: the initial value at every step and channel; one number.
        low, high: the open range of a learned parameter: a sigmoid between them, a softplus above `low` if `high` is ∞,
            and no bound if `low` is -∞ too. A fixed parameter may be any number.
        learned: None to use the layer's setting.
        per_step: None to use the layer's setting.
    """

    start: float
    low: float = 0.0
    high: float = 1.0
    learned: bool | None = None
    per_step: bool | None = None

    def __post_init__(self) -> None:
        # NumPy scalars and tensors [] count as numbers.
        object.__setattr__(self, "start", one_number("start", self.start))
        for key in ("low", "high"):
            if not isinstance(getattr(self, key), int | float) or isinstance(getattr(self, key), bool):
                raise ValueError(f"{key} = {getattr(self, key)!r}; it must be a number")
        if not self.low < self.high or (self.low == -math.inf and self.high != math.inf):
            raise ValueError(f"low = {self.low}, high = {self.high}; a range is finite, (low, inf) or (-inf, inf)")


STEPS_TO_GROW, FAR = 100, 1e9
"""Number of steps, and limit, of the divergence check. A state that grows by more than a fifth per step exceeds the
limit; a sum of currents does not."""


def _no_step(*_: Any) -> Any:
    raise EquationError("EquationNeuron has no step; derive a class that defines one")


class EquationNeuron(SteppedNeuron):
    """Base class for custom neurons, which need only a `step` function for training, energy estimates and export.

    >>> class AdaptiveHDLIF(EquationNeuron):
    ...     states = ("potential", "adaptation")
    ...     leak = Parameter(0.5)
    ...     threshold = Parameter(0.5, high=math.inf)
    ...     decay = Parameter(0.9)
    ...     rise = Parameter(0.1, learned=False)
    ...
    ...     @staticmethod
    ...     def step(current, potential, adaptation, leak, threshold, decay, rise):
    ...         membrane = leak * potential + current
    ...         raised = threshold + adaptation
    ...         spike = torch.relu(membrane - raised)
    ...         return spike, membrane - spike, decay * adaptation + rise * spike
    >>> AdaptiveHDLIF(time_steps=4, rise=0.2).program().text().splitlines()[0]
    'r7 = leak * potential'

    In `step(current, *states, *parameters)`, name the arguments after the states and parameters. The method returns the
    spike and the next states. All arguments and results have the shape of the current, or broadcast to it. States start
    at 0. A step must compute each neuron separately, without sums over neurons. Use `torch.where` for branches, not
    `if`. For spikes with a surrogate derivative, use `hdlif.functional.heaviside`.

    If the equation depends on constants, such as a number of past steps, write an `__init__`. In `__init__`, set the
    constants and, if necessary, `states`, and then call `super().__init__` with the other arguments. For an equation
    with constants, make `step` a regular method, which may take `*rest` in place of states and parameters. See
    `hdlif.nn.SlidingParallelHDLIF`.

    Args:
        time_steps: T.
        learned: the default for parameters that do not set it.
        channels: C for values per channel; None for one value per layer.
        per_step: False shares parameters among all steps, unless they set it themselves.
        quantizer: maps the step's output, 0 or more, to codes; the states use the unquantised output.
        path: see `SteppedNeuron.choose_path`.
        starts: initial values of parameters by name, in place of the class's; `TimeConstants` spread the value 1 - 1/τ
            over channels.
    State: {name: [B, ...]} for each of `states`, float32 or wider.
    Raises:
        EquationError: the equation cannot be traced; raised at the definition of the class or its instantiation.
        ShapeError: an initial value is not a single number, or the channels of a current and the parameters differ.
    """

    declared: ClassVar[dict[str, Parameter]] = {}
    """Parameters of the class in definition order, after the parameters of its bases."""

    step: ClassVar[Callable[..., Any]] = _no_step
    """The equation; a derived class defines it as a static method or as a method."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        # A class attribute would hide the instance's module of the same name.
        for name in own:
            delattr(cls, name)
        cls.declared = {**cls.declared, **own}
        if "states" in vars(cls) and "accumulates" not in vars(cls):
            cls.accumulates = bool(cls.states)
        cls.__signature__ = _signature(cls)  # type: ignore[attr-defined]
        _check_step(cls)

    def __init__(
        self,
        time_steps: int,
        *,
        learned: bool = True,
        channels: int | None = None,
        per_step: bool = True,
        quantizer: SpikeQuantizer | None = None,
        path: Path | None = None,
        **starts: float | TimeConstants,
    ) -> None:
        super().__init__(quantizer=quantizer, path=path)
        if unknown := sorted(set(starts) - set(self.declared)):
            raise ValueError(
                f"{unknown[0]} is not a parameter of {type(self).__name__}; it has {', '.join(self.declared)}"
            )
        for name, parameter in self.declared.items():
            is_learned = learned if parameter.learned is None else parameter.learned
            value = StepValue(
                time_steps,
                value=self._start(name, starts.get(name, parameter.start)),
                low=parameter.low,
                high=parameter.high,
                learned=is_learned,
                channels=channels,
                per_step=per_step if parameter.per_step is None else parameter.per_step,
                form=_form(parameter) if is_learned else "sigmoid",
                name=name,
            )
            self.add_module(name, value)
        self._check_traced()

    @classmethod
    def _start(cls, name: str, given: object) -> float | TimeConstants:
        return given if isinstance(given, TimeConstants) else one_number(f"{cls.__name__}: {name}", given)

    def equation(self) -> Step:
        return self.step

    def step_values(self) -> dict[str, StepValue]:
        values = {name: self.get_submodule(name) for name in self.declared}
        return {name: value for name, value in values.items() if isinstance(value, StepValue)}

    def rows_at(self, steps: range, x: Tensor) -> list[Tensor]:
        try:
            return super().rows_at(steps, x)
        except ShapeError as error:
            raise ShapeError(f"{type(self).__name__}: {error}") from None

    def traced(self, rows: Mapping[str, Any] | None = None) -> tuple[Program, dict[str, Any]]:
        """Return the traced program and its rows like `SteppedNeuron.traced`, but accept `rows` in any order.

        Raises:
            ShapeError: a row is missing, or its shape is not [T or 1, C or 1] for the T and C of all rows.
        """
        return super().traced(None if rows is None else self._checked_rows(rows))

    def _checked_rows(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checked rows, in the order of the step's parameters."""
        kind, parameters = type(self).__name__, self.step_values()
        names = list(parameters)
        if set(rows) != set(names):
            raise ShapeError(
                f"{kind}: got rows for {', '.join(map(str, rows)) or 'nothing'}; give one for each of "
                f"{', '.join(names) or 'nothing'}, as row_values() returns them"
            )
        own = [value.channels for value in parameters.values() if value.channels is not None]
        shapes = {name: tuple(getattr(rows[name], "shape", ())) for name in names}
        most = [max((shape[axis] for shape in shapes.values() if len(shape) == 2), default=1) for axis in (0, 1)]
        channels = own[0] if own else most[1]
        for name, shape in shapes.items():
            if len(shape) != 2 or shape[0] not in (1, most[0]) or shape[1] not in (1, channels):
                seen = f"shape {list(shape)}" if hasattr(rows[name], "shape") else f"no shape, {brief(rows[name])}"
                accepted = ", ".join(f"{size} or 1" if size != 1 else "1" for size in (most[0], channels))
                raise ShapeError(
                    f"{kind}: the rows of {name} have {seen}; they must be a tensor or array [{accepted}], a row for "
                    "each time step and a column for each channel, or one for all"
                )
        return {name: rows[name] for name in names}

    def joined(self, spikes: Tensor) -> Tensor:
        reached: Tensor = _Reached.apply(super().joined(spikes), *self.parameters())  # type: ignore[no-untyped-call]
        return reached

    def extra_repr(self) -> str:
        return f"states={self.states}"

    def _check_traced(self) -> None:
        """Run the step and its traced program once, and check that the results agree and that no input is overwritten.

        Raises:
            EquationError: a check fails, or a function of the parameters is not a finite number.
        """
        name = type(self).__name__
        program, rows = self.traced()
        if any(row.is_meta for row in rows.values()):
            return
        if infinite := [row for row, value in rows.items() if not bool(value.isfinite().all())]:
            raise EquationError(f"{name}: {infinite[0]} is not a finite number at the initial parameters")
        # Use a separate generator: a network's initial weights must not depend on its neurons.
        drawn = np.random.default_rng(0).normal(size=(1 + len(self.states), 64, 1))
        signals = [torch.from_numpy(one.copy()) for one in drawn]
        with torch.no_grad():
            values = [value.values().double().reshape(-1)[:1] for value in self.step_values().values()]
            given = [*signals, *(value.clone() for value in values)]
            before = [value.clone() for value in given]
            try:
                found = self.stepped(0, range(1), *given)
            except EquationError:
                raise
            except Exception as error:
                raise EquationError(f"{name}.step: {type(error).__name__}: {cut(first_line(error), 200)}") from error
        if not all(torch.equal(a, b) for a, b in zip(before, given, strict=True)):
            raise EquationError(f"{name}.step changes its arguments in place; write x = x + y instead of x += y")
        of_step = [row[:1, :1].double().numpy() for row in rows.values()]
        spike, after = evaluate(program, drawn[0], list(drawn[1:]), of_step)
        for key, seen, expected in zip(("spike", *self.states), found, (spike, *after), strict=True):
            # Constants are float32, as parameters are.
            if not np.allclose(seen.numpy(), expected, rtol=1e-5, atol=1e-5):
                raise EquationError(
                    f"{name}.step returns another {key} on tensors than when it was traced; it may depend on truth "
                    "values as numbers, on types, or on stored values"
                )
        self._check_bounded(program, of_step)

    def _check_bounded(self, program: Program, rows: list[Any]) -> None:
        """Raise `EquationError` if a state diverges with the initial parameters and random currents of mean 0."""
        draws = np.random.default_rng(1).normal(size=(STEPS_TO_GROW, 8, 1))
        states = [np.zeros((8, 1)) for _ in self.states]
        with np.errstate(all="ignore"):
            for step, current in enumerate(draws, 1):
                registers = evaluate_registers(program, current, states, rows)
                states = [np.broadcast_to(registers[after], (8, 1)) for after in program.after]
                if not all(np.abs(state).max() < FAR for state in states):
                    large = [not np.abs(value).max() < FAR for value in registers]
                    first = next(r for r in range(program.first, program.registers) if large[r])
                    state = next(s for s, after in zip(self.states, program.after, strict=True) if large[after])
                    raise EquationError(
                        f"{type(self).__name__}: {state} grows without bound at the initial parameters: it exceeds "
                        f"{FAR:.0e} within {step} steps for currents around 0, first in {program.line(first)}"
                    )

    def stepped(self, t: int, steps: range, *given: Tensor) -> list[Tensor]:
        """Return the spike and the next states, expanded to the shape of the current."""
        current, *_ = given
        results = super().stepped(t, steps, *given)
        results = tuple(results) if isinstance(results, tuple | list) else (results,)
        found = []
        for name, value in zip(("spike", *self.states), results, strict=True):
            if not isinstance(value, Tensor):
                value = torch.as_tensor(value, dtype=current.dtype, device=current.device)
            if value.shape != current.shape:
                try:
                    value = value.expand_as(current)
                except RuntimeError:
                    raise ShapeError(
                        f"{type(self).__name__}: {name} has shape {list(value.shape)}, but the current "
                        f"{list(current.shape)}; a step must compute each neuron separately"
                    ) from None
            found.append(value.to(current.dtype))
        return found


class _Reached(torch.autograd.Function):
    """The identity on spikes, with a gradient of 0 instead of None for parameters that do not affect the spikes.

    A rule that cuts the temporal gradient computes no gradient for parameters that affect only later steps, such as the
    rise of an adaptive threshold. Data-parallel training, however, waits for the gradient of every parameter.
    """

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return spikes.view_as(spikes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, *(torch.zeros_like(parameter) for parameter in ctx.parameters)


def _form(parameter: Parameter) -> Any:
    if parameter.low == -math.inf:
        return "free"
    return "softplus" if parameter.high == math.inf else "sigmoid"


def _signature(cls: type[EquationNeuron]) -> inspect.Signature:
    """Return the constructor's signature with a keyword for each parameter, for callers such as the recipe check."""
    taken: dict[str, inspect.Parameter] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, EquationNeuron) and "__init__" in vars(base):
            taken |= inspect.signature(base.__init__).parameters
    given = [p for name, p in taken.items() if name != "self" and p.kind is not p.VAR_KEYWORD]
    given.sort(key=lambda parameter: (parameter.kind, parameter.default is not parameter.empty))
    starts = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=parameter.start, annotation=float)
        for name, parameter in cls.declared.items()
    ]
    return inspect.Signature([*given, *starts])


RESERVED = {"kind", "granularity", "surrogate", "reset", "spikes", "current", "self"}
"""Names that are keys of a recipe's section, or names of a step's first argument."""


def _check_step(cls: type[EquationNeuron]) -> None:
    """Raise `EquationError` unless the class has valid names that match the arguments of its step."""
    states: Any = cls.states
    if not isinstance(states, tuple | list) or not all(isinstance(state, str) for state in states):
        raise EquationError(f'{cls.__name__}.states = {states!r}; it must be a tuple of names, such as ("potential",)')
    own = (*cls.states, *cls.declared)
    names = ("current", *own)
    taken_names = {*RESERVED, *inspect.signature(EquationNeuron.__init__).parameters}
    taken_names |= {*dir(EquationNeuron), *vars(nn.Module())}
    for name in own:
        if name in taken_names or name.startswith("_") or not name.isidentifier():
            raise EquationError(f"{cls.__name__}: {name!r} cannot be the name of a state or parameter; choose another")
    if len(set(names)) != len(names):
        raise EquationError(f"{cls.__name__}: {', '.join(names)}; each state and parameter must have a unique name")
    if cls.step is EquationNeuron.step:
        raise EquationError(f"{cls.__name__} has no step; write one: @staticmethod def step({', '.join(names)})")
    if not inspect.isfunction(cls.step):
        raise EquationError(f"{cls.__name__}.step is {cls.step!r}; it must be a function that is written in Python")
    is_method = not isinstance(inspect.getattr_static(cls, "step"), staticmethod)
    parameters = inspect.signature(cls.step).parameters
    taken = list(parameters)[is_method:]
    expected = list(names)
    if taken and parameters[taken[-1]].kind is inspect.Parameter.VAR_POSITIONAL:
        taken.pop()
        expected = expected[: len(taken)]
    # The current may have any name.
    if not taken or taken[1:] != expected[1:]:
        missing = "; is @staticmethod missing?" if is_method else ""
        raise EquationError(
            f"{cls.__name__}.step takes ({', '.join(parameters)}); from its states and parameters, it must take "
            f"({', '.join(names)}){missing}"
        )
