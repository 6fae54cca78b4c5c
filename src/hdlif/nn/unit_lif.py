"""LIF neurons with spikes of 1, as in other libraries, and a layer that outputs its membrane potential."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from hdlif.functional import late_reset_lif_step, unit_lif_step
from hdlif.nn.equation import EquationNeuron, Parameter
from hdlif.nn.neurons import LIF
from hdlif.nn.per_step import StepValue
from hdlif.nn.step_neuron import Step


class UnitLIF(LIF):
    """LIF neurons whose spikes are 1, whatever the threshold; see `functional.unit_lif_step`.

    SpikingJelly, snnTorch, norse and NIR also define LIF neurons with spikes of 1. The arguments (time_steps, leak,
    threshold, learned, channels, per_step, threshold_form, threshold_low, surrogate, reset, path) and the state are the
    same as for `LIF`.

    >>> import torch
    >>> from hdlif.nn import UnitLIF
    >>> spikes, state = UnitLIF(time_steps=2, threshold=0.5)(torch.tensor([0.25, 0.75]).view(2, 1, 1), None, range(2))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([0.0, 1.0], [[0.375]])
    """

    def equation(self) -> Step:
        return partial(unit_lif_step, surrogate=self.surrogate, reset=self.reset)


class LateResetLIF(UnitLIF):
    """LIF neurons with spikes of 1 and a reset one step after the spike; see `functional.late_reset_lif_step`.

    The leak, the threshold and the amount that a spike subtracts are fixed. The state is the potential before the
    reset.

    >>> import torch
    >>> from hdlif.nn import LateResetLIF
    >>> spikes, state = LateResetLIF(time_steps=2)(torch.tensor([1.5, 0.5]).view(2, 1, 1), None, range(2))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([1.0, 0.0], [[0.25]])

    Args:
        time_steps, threshold: as in `LIF`.
        size: the amount that a spike subtracts; the threshold by default.
        others: `leak`, `channels`, `per_step`, `surrogate` and `path`, as in `LIF`.
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
    """A layer with output v_t = λ·v_{t-1} + g·I_t, such as a decaying synapse or the last layer of a regression.

    A `LeakyIntegrator` does not fire and does not count as a neuron layer.

    >>> import torch
    >>> from hdlif.nn import LeakyIntegrator
    >>> values, state = LeakyIntegrator(time_steps=3)(torch.ones(3, 1, 1), None, range(3))
    >>> values.flatten().tolist()
    [1.0, 1.5, 1.75]

    Args:
        leak: λ; 1 for an integrator without leak.
        gain: g.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
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
