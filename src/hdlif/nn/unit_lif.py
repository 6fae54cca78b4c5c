"""LIF neurons as other libraries have them: spikes of 1, and the potential as an output."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from hdlif.functional import late_reset_lif_step, unit_lif_step
from hdlif.nn.equation import EquationNeuron, Parameter
from hdlif.nn.neurons import LIF
from hdlif.nn.per_step import StepValue
from hdlif.nn.stepped import Step


class UnitLIF(LIF):
    """`LIF` whose spikes are 1 whatever the threshold is; equation at `functional.unit_lif_step`.

    SpikingJelly, snnTorch, norse and NIR have LIF neurons so; arguments and state are those of `LIF`.
    """

    def equation(self) -> Step:
        return partial(unit_lif_step, surrogate=self.surrogate, reset=self.reset)


class LateResetLIF(UnitLIF):
    """`UnitLIF` whose spikes are subtracted one step later; equation at `functional.late_reset_lif_step`.

    Leak, threshold and what is subtracted are fixed. Its state is the potential before the reset.

    Args:
        size: what a spike takes away; the threshold by default.
        others: as of `LIF`.
    """

    def __init__(self, time_steps: int, *, threshold: float = 1.0, size: float | None = None, **others: Any) -> None:
        super().__init__(time_steps, threshold=threshold, **others)
        shared: dict[str, Any] = {"channels": self.threshold.channels, "per_step": len(self.threshold.values()) > 1}
        self.size = StepValue(
            time_steps, value=threshold if size is None else size, learned=False, name="size", **shared
        )

    def step_values(self) -> Mapping[str, StepValue]:
        return {**super().step_values(), "size": self.size}

    def equation(self) -> Step:
        return partial(late_reset_lif_step, surrogate=self.surrogate)


class LeakyIntegrator(EquationNeuron):
    """v_t = λ·v_{t-1} + g·I_t, which is given on as it is: a synapse that decays, or the last layer of a regression.

    It fires nothing, and counts as no layer of neurons. Its arguments beside `leak` and `gain` are those of
    `EquationNeuron`.

    Attributes:
        leak: λ, 1 of an integrator that forgets nothing.
        gain: g.
    State: {"potential": v [B, ...]}, float32 or wider.
    """

    fires: ClassVar[bool] = False
    states = ("potential",)
    leak = Parameter(0.5)
    gain = Parameter(1.0, learned=False)

    @staticmethod
    def step(current: Tensor, potential: Tensor, leak: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        potential = leak * potential + gain * current
        return potential, potential
