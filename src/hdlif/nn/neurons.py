"""Neurons with parameters per time step, based on the functions in `hdlif.functional`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdlif.functional import (
    Reset,
    Surrogate,
    Triangle,
    graded_lif_step,
    hd_lif_step,
    lif_step,
    parallel_hd_lif_step,
    soft_reset,
)
from hdlif.functional.surrogate import checked_surrogate
from hdlif.nn.fusion import Path
from hdlif.nn.mem_bn import MemBN
from hdlif.nn.per_step import Parametrization, StepValue, TimeConstants
from hdlif.nn.spikes import SpikeQuantizer, emitted
from hdlif.nn.state import State, check_chunk, check_stateless
from hdlif.nn.step_neuron import Step, SteppedNeuron
from hdlif.nn.steps import carried

_threshold = partial(StepValue, name="threshold", fix="threshold_form: softplus allows any above 0, learned: false any")


class _LeakyNeuron(SteppedNeuron):
    """Base class for neurons with a single membrane potential, a leak and a threshold."""

    def __init__(
        self,
        time_steps: int,
        leak: float | TimeConstants,
        threshold: float,
        *,
        learned: bool,
        channels: int | None,
        per_step: bool,
        threshold_form: Parametrization,
        threshold_low: float | None = None,
        lowest: float = 0.0,
        quantizer: SpikeQuantizer | None = None,
        path: Path | None,
    ) -> None:
        """Create the parameters, and keep a learned θ above `threshold_low` (default: `lowest`)."""
        super().__init__(quantizer=quantizer, path=path)
        if threshold_low is not None and not learned:
            raise ValueError(
                f"threshold_low = {threshold_low} has no effect on a threshold that is not learned; set learned: true"
            )
        low = lowest if threshold_low is None else threshold_low
        shared: dict[str, Any] = {"learned": learned, "channels": channels, "per_step": per_step}
        self.leak = StepValue(time_steps, value=leak, name="leak", **shared)
        self.threshold = _threshold(time_steps, value=threshold, low=low, form=threshold_form, **shared)

    def step_values(self) -> Mapping[str, StepValue]:
        return {"leak": self.leak, "threshold": self.threshold}


class LIF(_LeakyNeuron):
    """Leaky integrate-and-fire neurons with spikes θ_t·H(m_t - θ_t); see `functional.lif_step`.

    >>> import torch
    >>> from hdlif.nn import LIF
    >>> neuron = LIF(time_steps=3)
    >>> current = torch.tensor([0.75, 0.75, 0.75]).view(3, 1, 1)
    >>> spikes, state = neuron(current, None, range(3))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([0.0, 1.0, 0.0], [[0.8125]])

    Args:
        time_steps: T: leak and threshold have a value for each of T steps; later steps take the last one's.
        leak, threshold: initial λ and θ at every step; `TimeConstants` spread the leak over channels.
        learned: learn λ_t = σ(a_t) and θ_t = ½ + σ(b_t), range (½, 1½); otherwise both are fixed.
        channels: C for a leak and a threshold per channel; None for one of the layer.
        per_step: False shares leak and threshold among all steps.
        threshold_form: "softplus" learns θ_t = log(1 + exp(b_t)) instead, in (0, ∞).
        threshold_low: lower end of the range of a learned θ; by default ½, and 0 for "softplus".
        surrogate, reset: as in `functional.lif_step`.
        path: see `SteppedNeuron.choose_path`.
    State: {"potential": v [B, ...]}, float32 or wider.
    Raises:
        ValueError: a learned leak or threshold starts outside its range, or an argument would have no effect.
        ShapeError: a start is no single number; or a current has other channels than the parameters.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        leak: float | TimeConstants = 0.5,
        threshold: float = 1.0,
        learned: bool = False,
        channels: int | None = None,
        per_step: bool = True,
        threshold_form: Parametrization = "sigmoid",
        threshold_low: float | None = None,
        surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
        reset: Reset = soft_reset,
        path: Path | None = None,
    ) -> None:
        super().__init__(
            time_steps,
            leak,
            threshold,
            learned=learned,
            channels=channels,
            per_step=per_step,
            threshold_form=threshold_form,
            threshold_low=threshold_low,
            lowest=0.5 if threshold_form == "sigmoid" else 0.0,
            path=path,
        )
        self.surrogate, self.reset = checked_surrogate(surrogate), reset

    def equation(self) -> Step:
        return partial(lif_step, surrogate=self.surrogate, reset=self.reset)

    def extra_repr(self) -> str:
        return f"surrogate={self.surrogate}, reset={getattr(self.reset, '__name__', self.reset)}"


class GradedLIF(_LeakyNeuron):
    """LIF neurons with graded spikes m_t - θ_t and a soft reset; see `functional.graded_lif_step`.

    λ_t = σ(a_t) and θ_t = σ(b_t) as in `HDLIF`.

    >>> import torch
    >>> from hdlif.nn import GradedLIF
    >>> neuron = GradedLIF(time_steps=2, leak=0.5, threshold=0.5)
    >>> spikes, state = neuron(torch.tensor([1.25, 0.0]).view(2, 1, 1), None, range(2))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([0.75, 0.0], [[0.375]])

    Args:
        time_steps, leak, threshold, learned, channels, per_step, threshold_form, quantizer: as in `HDLIF`.
        surrogate: replaces dH/dx in the reset.
        threshold_low: lower end of the range of a learned θ, 0 by default.
        path: see `SteppedNeuron.choose_path`.
    State: {"potential": v [B, ...]}, float32 or wider.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        leak: float | TimeConstants = 0.5,
        threshold: float = 0.5,
        learned: bool = True,
        channels: int | None = None,
        per_step: bool = True,
        threshold_form: Parametrization = "sigmoid",
        threshold_low: float | None = None,
        quantizer: SpikeQuantizer | None = None,
        surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
        path: Path | None = None,
    ) -> None:
        super().__init__(
            time_steps,
            leak,
            threshold,
            learned=learned,
            channels=channels,
            per_step=per_step,
            threshold_form=threshold_form,
            threshold_low=threshold_low,
            quantizer=quantizer,
            path=path,
        )
        self.surrogate = checked_surrogate(surrogate)

    def equation(self) -> Step:
        return partial(graded_lif_step, surrogate=self.surrogate)


class HDLIF(_LeakyNeuron):
    """HD-LIF neurons with P2-Reset; see `functional.hd_lif_step` for the equation.

    By default, λ_t = σ(a_t) and θ_t = σ(b_t) are learned, one scalar per layer and time step.

    >>> import torch
    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=3, leak=0.5, threshold=0.5)
    >>> current = torch.tensor([0.25, 1.0, 0.0]).view(3, 1, 1)
    >>> spikes, state = neuron(current, None, range(3))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([0.0, 0.625, 0.0], [[0.25]])

    State is explicit: pass the returned state to continue a sequence, or None to start a new sequence.

    >>> first, state = neuron(current[:1], None, range(1))
    >>> rest, state = neuron(current[1:], state, range(1, 3))
    >>> torch.equal(torch.cat([first, rest]), spikes)
    True

    Args:
        time_steps: T: leak and threshold have a value for each of T steps; later steps take the last one's.
        leak, threshold: initial λ and θ, in (0, 1); `TimeConstants` spread the leak over channels.
        learned: learn both; otherwise both are fixed.
        channels: C for a leak and a threshold per channel; None for one of the layer.
        per_step: False shares leak and threshold among all steps.
        threshold_form: "softplus" learns θ_t = log(1 + exp(b_t)) instead, in (0, ∞).
        quantizer: maps the surplus to the emitted spikes (a `SpikeQuantizer`); the reset uses the surplus itself.
        norm: Mem-BN on the membrane.
        path: see `SteppedNeuron.choose_path`; always "steps" with Mem-BN, whose statistics couple samples.
    State: {"potential": v [B, ...]}, float32 or wider.
    Raises:
        ValueError: a learned leak or threshold starts outside its range; or `path` is "fused" with Mem-BN.
        ShapeError: a start is no single number; or a current has other channels than the parameters.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        leak: float | TimeConstants = 0.5,
        threshold: float = 0.5,
        learned: bool = True,
        channels: int | None = None,
        per_step: bool = True,
        threshold_form: Parametrization = "sigmoid",
        quantizer: SpikeQuantizer | None = None,
        norm: MemBN | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(
            time_steps,
            leak,
            threshold,
            learned=learned,
            channels=channels,
            per_step=per_step,
            threshold_form=threshold_form,
            quantizer=quantizer,
            path=path,
        )
        if norm is not None and path == "fused":
            raise ValueError(
                f"path = {path!r} cannot be combined with Mem-BN, whose statistics couple samples; choose steps"
            )
        self.norm = norm

    def may_fuse(self, device: torch.device, steps: int, entries: int) -> bool:
        return self.norm is None and super().may_fuse(device, steps, entries)

    def stepped(self, t: int, steps: range, *given: Tensor) -> Any:
        if self.norm is None:
            return super().stepped(t, steps, *given)
        return self.equation()(*given, norm=partial(self.norm, step=t, gather=carried(steps).gather))

    def cuts(self) -> bool:
        # Mem-BN normalises each step as it runs.
        return self.norm is None and super().cuts()

    def equation(self) -> Step:
        """Return the equation of a step without Mem-BN, because deployment folds Mem-BN into the parameters."""
        return hd_lif_step


class ParallelHDLIF(SteppedNeuron):
    """Parallel HD-LIF neurons, which have λ = 0 and therefore no state; see `functional.parallel_hd_lif_step`.

    Each step has its own θ_t = σ(b_t), unless you set `per_step=False` to share one θ, as in the paper's released code.
    All steps of a chunk are computed in parallel.

    >>> import torch
    >>> from hdlif.nn import ParallelHDLIF
    >>> neuron = ParallelHDLIF(time_steps=2, threshold=0.5)
    >>> spikes, state = neuron(torch.tensor([0.25, 1.0]).view(2, 1, 1), None, range(2))
    >>> spikes.flatten().tolist(), state
    ([0.0, 0.5], None)

    Args:
        time_steps, threshold, learned, channels, per_step, threshold_form, quantizer: as in `HDLIF`.
        path: see `SteppedNeuron.choose_path`.
    """

    accumulates = False
    states = ()

    def __init__(
        self,
        time_steps: int,
        *,
        threshold: float = 0.5,
        learned: bool = True,
        channels: int | None = None,
        per_step: bool = True,
        threshold_form: Parametrization = "sigmoid",
        quantizer: SpikeQuantizer | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(quantizer=quantizer, path=path)
        self.threshold = _threshold(
            time_steps,
            value=threshold,
            learned=learned,
            channels=channels,
            per_step=per_step,
            form=threshold_form,
        )

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_stateless(self, state)
        check_chunk(x, steps)
        current, rows = x.to(torch.promote_types(x.dtype, torch.float32)), self.rows_at(steps, x)
        found = self.run_fused(current, [], rows, steps)
        spike = self.equation()(current, *rows) if found is None else found[0]
        spikes = emitted(spike, self.quantizer, is_relu=self.emits_relu()).to(x.dtype)
        return self.observed(spikes, x, [], steps, rows), None

    def equation(self) -> Step:
        return parallel_hd_lif_step

    def step_values(self) -> Mapping[str, StepValue]:
        return {"threshold": self.threshold}
