"""Neuron modules: parameters per time step, and the scan of the functional step over a chunk."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from hdlif.functional import (
    Reset,
    Surrogate,
    Triangle,
    hd_lif_step,
    lif_step,
    parallel_hd_lif_step,
    quantize_spike,
    soft_reset,
)
from hdlif.nn.state import State, Temporal, check_chunk, potential_of, stack_steps


class StepSigmoid(nn.Module):
    """A scalar per time step, y_t = low + σ(logit_t), so that y_t lies in (low, low + 1); [T].

    Learned through its logit (which starts at `value`), or fixed at `value` as a buffer. Steps beyond T take
    the last step's value.
    """

    def __init__(self, time_steps: int, *, value: float, low: float = 0.0, learned: bool) -> None:
        super().__init__()
        if time_steps < 1:
            raise ValueError(f"time_steps = {time_steps}; it must be at least 1")
        if learned and not low < value < low + 1:
            raise ValueError(f"a learned value must lie in ({low}, {low + 1}); got {value}")
        self.time_steps, self.low, self.learned = time_steps, low, learned
        if learned:
            self.logit = nn.Parameter(torch.full((time_steps,), math.log((value - low) / (low + 1 - value))))
        else:
            self.register_buffer("value", torch.full((time_steps,), float(value)))

    def values(self) -> Tensor:
        """y of every trained step, [T]."""
        return self.low + torch.sigmoid(self.logit) if self.learned else cast(Tensor, self.value)

    def forward(self, steps: range) -> Tensor:
        """y of the steps of a chunk, [K]."""
        values = self.values()
        if steps.stop <= self.time_steps:
            return values[steps.start : steps.stop]
        return values[[min(t, self.time_steps - 1) for t in steps]]

    def extra_repr(self) -> str:
        return f"time_steps={self.time_steps}, low={self.low}, learned={self.learned}"


class SpikeQuantizer(nn.Module):
    """Graded spikes on 2^bits levels; see `functional.quantize_spike`."""

    def __init__(self, *, bits: int = 4, step: float = 0.25, offset: float = 0.5) -> None:
        super().__init__()
        if not 1 <= bits <= 8 or step <= 0 or not 0 <= offset <= 1:
            raise ValueError(f"bits = {bits}, step = {step}, offset = {offset}; accepted: 1..8, > 0, 0..1")
        self.bits, self.step, self.offset = bits, step, offset

    def forward(self, spike: Tensor) -> Tensor:
        return quantize_spike(spike, bits=self.bits, step=self.step, offset=self.offset)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, step={self.step}, offset={self.offset}"


class LIF(Temporal):
    """Leaky integrate-and-fire neurons that emit θ_t·H(m_t - θ_t); equation at `functional.lif_step`.

    Args:
        time_steps: T, the number of steps leak and threshold are held for.
        leak, threshold: λ and θ at the start, at every step.
        learned: learn λ_t = σ(a_t) and θ_t = ½ + σ(b_t), range (½, 1½); otherwise both are fixed.
        surrogate, reset: as in `functional.lif_step`.
    State: {"potential": v [B, ...]}, float32 or wider.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        leak: float = 0.5,
        threshold: float = 1.0,
        learned: bool = False,
        surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
        reset: Reset = soft_reset,
    ) -> None:
        super().__init__()
        self.leak = StepSigmoid(time_steps, value=leak, learned=learned)
        self.threshold = StepSigmoid(time_steps, value=threshold, low=0.5, learned=learned)
        self.surrogate, self.reset = surrogate, reset

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State]:
        check_chunk(x, steps)
        potential = potential_of(state, x)
        current = x.to(potential.dtype).expand(len(steps), *x.shape[1:])
        leak, threshold = self.leak(steps), self.threshold(steps)
        spikes = []
        for k in range(len(steps)):
            spike, potential = lif_step(
                current[k], potential, leak[k], threshold[k], surrogate=self.surrogate, reset=self.reset
            )
            spikes.append(spike)
        return stack_steps(spikes).to(x.dtype), {"potential": potential}

    def extra_repr(self) -> str:
        return f"surrogate={self.surrogate}, reset={getattr(self.reset, '__name__', self.reset)}"


class HDLIF(Temporal):
    """HD-LIF neurons with P2-Reset; equation at `functional.hd_lif_step`.

    λ_t = σ(a_t) and θ_t = σ(b_t) are one scalar per layer and time step, learned by default.

    Args:
        time_steps: T.
        leak, threshold: λ and θ at the start, in (0, 1).
        learned: learn both; otherwise both are fixed.
        quantizer: maps the surplus to what is emitted (a `SpikeQuantizer`); the reset uses the surplus itself.
    State: {"potential": v [B, ...]}, float32 or wider.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        leak: float = 0.5,
        threshold: float = 0.5,
        learned: bool = True,
        quantizer: SpikeQuantizer | None = None,
    ) -> None:
        super().__init__()
        self.leak = StepSigmoid(time_steps, value=leak, learned=learned)
        self.threshold = StepSigmoid(time_steps, value=threshold, learned=learned)
        self.quantizer = quantizer

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State]:
        check_chunk(x, steps)
        potential = potential_of(state, x)
        current = x.to(potential.dtype).expand(len(steps), *x.shape[1:])
        leak, threshold = self.leak(steps), self.threshold(steps)
        spikes = []
        for k in range(len(steps)):
            spike, potential = hd_lif_step(current[k], potential, leak[k], threshold[k])
            spikes.append(spike)
        surplus = stack_steps(spikes)
        emitted = surplus if self.quantizer is None else self.quantizer(surplus)
        return emitted.to(x.dtype), {"potential": potential}


class ParallelHDLIF(Temporal):
    """HD-LIF neurons with λ = 0: no accumulation, no state; equation at `functional.parallel_hd_lif_step`.

    Each step has its own θ_t = σ(b_t). (The paper's release uses θ_1 at every step.) All steps of a chunk are
    computed at once.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        threshold: float = 0.5,
        learned: bool = True,
        quantizer: SpikeQuantizer | None = None,
    ) -> None:
        super().__init__()
        self.threshold = StepSigmoid(time_steps, value=threshold, learned=learned)
        self.quantizer = quantizer

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_chunk(x, steps)
        current = x.to(torch.promote_types(x.dtype, torch.float32))
        threshold = self.threshold(steps).view(-1, *[1] * (x.ndim - 1))
        spike = parallel_hd_lif_step(current, threshold)
        emitted = spike if self.quantizer is None else self.quantizer(spike)
        return emitted.to(x.dtype), None
