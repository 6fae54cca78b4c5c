"""A neuron of one's own, from one equation: states, parameters, and one step as a plain function on tensors."""

import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hdlif.equations import Program, trace
from hdlif.errors import EquationError, ShapeError
from hdlif.nn.per_step import StepValue
from hdlif.nn.spikes import SpikeQuantizer
from hdlif.nn.state import Neuron, State, check_chunk, check_stateless, kept_of, stack_steps


@dataclass(frozen=True)
class Parameter:
    """A parameter of an `EquationNeuron`: a number, or one for each time step and channel, learned or fixed.

    Attributes:
        start: at the start, at every step.
        low, high: the open range of a learned one: a sigmoid between them, a softplus above `low` where `high` is ∞,
            and no bound where `low` is -∞ too. A fixed one may be any number.
        learned: None for what the layer says.
        per_step: None for what the layer says.
    """

    start: float
    low: float = 0.0
    high: float = 1.0
    learned: bool | None = None
    per_step: bool | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.low == -math.inf and self.high != math.inf):
            raise ValueError(f"low = {self.low}, high = {self.high}; a range is finite, (low, inf) or (-inf, inf)")


class EquationNeuron(Neuron):
    """Neurons whose step is written once, as a static method of a class of yours; it trains, and is counted.

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

    `step(current, *states, *parameters)` names what it takes as `states` and the parameters are named, and returns the
    spike and the states after it. All are shaped like the current, or broadcast to it; states are 0 at first. It takes
    each neuron by itself (no sums over neurons), and chooses by `torch.where`, not by `if`. A step function with a
    surrogate derivative is `hdlif.functional.heaviside`.

    Args:
        time_steps: T.
        learned: of the parameters that do not say so themselves.
        channels: C for values per channel; None for one of the layer.
        per_step: False shares the parameters that do not say so themselves among all steps.
        quantizer: maps what the step emits, 0 or more, to codes; the states keep what the step makes of itself.
        starts: of parameters, by name, where they are others than the class says.
    State: {name: [B, ...]} of each of `states`, float32 or wider.
    Raises:
        EquationError: the class's equation has no program; raised where the class is defined, or made.
    """

    states: ClassVar[tuple[str, ...]] = ("potential",)
    declared: ClassVar[dict[str, Parameter]] = {}
    """The parameters of the class, in the order in which they stand there, those of its bases first."""

    @staticmethod
    def step(*_: Any) -> Any:
        """The equation, of a class derived from this one."""
        raise EquationError("an EquationNeuron has no step; derive a class that has one")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        # An instance has a module under the name, which an attribute of the class would hide.
        for name in own:
            delattr(cls, name)
        cls.declared = {**cls.declared, **own}
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
        **starts: float,
    ) -> None:
        super().__init__()
        if unknown := sorted(set(starts) - set(self.declared)):
            raise ValueError(
                f"{unknown[0]} is no parameter of {type(self).__name__}; it has {', '.join(self.declared)}"
            )
        for name, parameter in self.declared.items():
            is_learned = learned if parameter.learned is None else parameter.learned
            value = StepValue(
                time_steps,
                value=starts.get(name, parameter.start),
                low=parameter.low,
                high=parameter.high,
                learned=is_learned,
                channels=channels,
                per_step=per_step if parameter.per_step is None else parameter.per_step,
                form=_form(parameter) if is_learned else "sigmoid",
                name=name,
            )
            self.add_module(name, value)
        self.quantizer = quantizer
        self.program()

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        check_chunk(x, steps)
        if not self.states:
            check_stateless(self, state)
        dtype = torch.promote_types(x.dtype, torch.float32)
        kept = kept_of(state, x, *self.states) if self.states else []
        dtype = kept[0].dtype if kept else dtype
        current = x.to(dtype).expand(len(steps), *x.shape[1:])
        # Taken apart at once: the derivative of current[k] would be zeros for all K steps, K times.
        rows = [self._value(name).rows(steps, x).unbind() for name in self.declared]
        spikes = []
        for k, arriving in enumerate(current.unbind()):
            spike, *kept = self._stepped(arriving, *kept, *(row[k] for row in rows))
            spikes.append(spike)
        emitted = stack_steps(spikes)
        emitted = emitted if self.quantizer is None else self.quantizer(emitted)
        return emitted.to(x.dtype), dict(zip(self.states, kept, strict=True)) or None

    def program(self) -> Program:
        """The step as a program, traced over the parameters as they are."""
        return self.traced()[0]

    def traced(self) -> tuple[Program, dict[str, Tensor]]:
        """The program, and the values of its rows, [T or 1, C or 1] each."""
        with torch.no_grad():
            rows = {name: self._value(name).values() for name in self.declared}
            rows = {name: row.reshape(len(row), -1) for name, row in rows.items()}
            return trace(type(self).step, states=self.states, rows=rows)

    def extra_repr(self) -> str:
        return f"states={self.states}"

    def _value(self, name: str) -> StepValue:
        value = self.get_submodule(name)
        assert isinstance(value, StepValue)
        return value

    def _stepped(self, current: Tensor, *rest: Tensor) -> list[Tensor]:
        """One step; its results shaped like the current."""
        results = type(self).step(current, *rest)
        found = []
        for name, value in zip(
            ("spike", *self.states), results if isinstance(results, tuple) else (results,), strict=True
        ):
            if value.shape != current.shape:
                try:
                    value = value.expand_as(current)
                except RuntimeError:
                    raise ShapeError(
                        f"{type(self).__name__}: {name} has shape {list(value.shape)}, and the current "
                        f"{list(current.shape)}; a step takes each neuron by itself"
                    ) from None
            found.append(value.to(current.dtype))
        return found


def _form(parameter: Parameter) -> Any:
    if parameter.low == -math.inf:
        return "free"
    return "softplus" if parameter.high == math.inf else "sigmoid"


def _signature(cls: type[EquationNeuron]) -> inspect.Signature:
    """What a constructor takes, with the starts by name: for whoever asks, such as a recipe's check."""
    own = inspect.signature(EquationNeuron.__init__).parameters
    given = [p for name, p in own.items() if name not in ("self", "starts")]
    starts = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=parameter.start, annotation=float)
        for name, parameter in cls.declared.items()
    ]
    return inspect.Signature([*given, *starts])


def _check_step(cls: type[EquationNeuron]) -> None:
    names = ("current", *cls.states, *cls.declared)
    if reserved := [name for name in names if name in ("self", "quantizer", "channels", "learned", "time_steps")]:
        raise EquationError(f"{cls.__name__}: {reserved[0]!r} is a name of every neuron's; choose another")
    if len(set(names)) != len(names):
        raise EquationError(f"{cls.__name__}: {', '.join(names)}; each state and parameter has a name of its own")
    if cls.step is EquationNeuron.step:
        raise EquationError(f"{cls.__name__} has no step; write one: @staticmethod def step({', '.join(names)})")
    taken = tuple(inspect.signature(cls.step).parameters)
    if taken != names and taken[1:] != names[1:]:
        raise EquationError(
            f"{cls.__name__}.step takes ({', '.join(taken)}); states and parameters make it ({', '.join(names)})"
        )
