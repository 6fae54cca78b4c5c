"""Modules for spikes: a quantiser with a fixed or learned step size, and a surrogate derivative with a temperature."""

import math

import torch
from torch import Tensor, nn

from hdlif.functional import StraightThrough, dspike, quantize_spike
from hdlif.graph.equations.chunk_program import Levels
from hdlif.nn.kernels.codes import CodedSpikes, can_be_quantised, quantise, quantise_to_codes


class SpikeQuantizer(nn.Module):
    """A module that quantises graded spikes to 2^bits levels; see `functional.quantize_spike`.

    >>> import torch
    >>> from hdlif.nn import HDLIF, SpikeQuantizer
    >>> SpikeQuantizer(bits=4, step=0.25)(torch.tensor([0.0, 0.3, 9.0])).tolist()
    [0.0, 0.25, 3.75]
    >>> neuron = HDLIF(time_steps=4, quantizer=SpikeQuantizer(bits=2, learned=True))

    Args:
        bits: 1 to 8.
        step: distance between two levels, above 0; the initial distance if it is learned.
        offset: rounding offset, 0 to 1; ½ rounds to nearest.
        learned: learn the step, one scalar per layer, with its gradient divided by √(neurons · largest code) (LSQ,
            Esser et al., ICLR 2020).
        gradient: "identity" passes the gradient everywhere, "clip" stops it above the range.
    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(
        self,
        *,
        bits: int = 4,
        step: float = 0.25,
        offset: float = 0.5,
        learned: bool = False,
        gradient: StraightThrough = "identity",
    ) -> None:
        super().__init__()
        if not 1 <= bits <= 8 or not 0 < step < math.inf or not 0 <= offset <= 1:
            raise ValueError(f"bits = {bits}, step = {step}, offset = {offset}; accepted: 1..8, > 0, 0..1")
        if gradient not in ("identity", "clip"):
            raise ValueError(f"gradient = {gradient!r}; choose one of clip, identity")
        self.bits, self.offset, self.learned, self.gradient = bits, offset, learned, gradient
        self.step: Tensor | float = nn.Parameter(torch.tensor(float(step))) if learned else step

    def forward(self, spike: Tensor, *, is_relu: bool = False) -> Tensor:
        """Return Q(spike).

        Args:
            is_relu: whether zeros pass no gradient on, so that the quantiser may return none for them.
        """
        step = self.step
        if not isinstance(step, Tensor) and self.gradient == "identity" and can_be_quantised(spike):
            return quantise(spike, bits=self.bits, step=step, offset=self.offset, is_relu=is_relu)
        if isinstance(step, Tensor):
            scale = (spike.shape[2:].numel() * (2**self.bits - 1)) ** -0.5
            # The value of `step`, with its gradient multiplied by `scale`.
            step = (step - step * scale).detach() + step * scale
        return quantize_spike(spike, bits=self.bits, step=step, offset=self.offset, gradient=self.gradient)

    def coded(self, spike: Tensor, *, is_relu: bool) -> CodedSpikes | Tensor:
        """Return the quantised spikes, as `CodedSpikes` if the kernels support the quantiser."""
        is_fixed = self.levels() is not None and self.gradient == "identity"
        if not is_fixed or not can_be_quantised(spike):
            return emitted(spike, self, is_relu=is_relu)
        return quantise_to_codes(spike, bits=self.bits, step=float(self.step), offset=self.offset, is_relu=is_relu)

    def levels(self) -> Levels | None:
        """Return the levels for the code kernels, or None if the step is learned or `forward` is overridden."""
        if isinstance(self.step, Tensor) or type(self).forward is not SpikeQuantizer.forward:
            return None
        return Levels(1 / self.step, self.offset, float(2**self.bits - 1))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, step={float(self.step)}, offset={self.offset}, gradient={self.gradient}"


def emitted(surplus: Tensor, quantizer: SpikeQuantizer | None, *, is_relu: bool = False) -> Tensor:
    """Return the output of graded neurons, which is the surplus or, if a quantiser is given, the quantised surplus."""
    if quantizer is None:
        return surplus
    if is_relu and type(quantizer).forward is SpikeQuantizer.forward:
        quantised: Tensor = quantizer(surplus, is_relu=True)
    else:
        quantised = quantizer(surplus)
    return quantised


class Dspike(nn.Module):
    """The surrogate `functional.dspike`, whose temperature b is a buffer, so checkpoints contain b.

    Training can adapt `b` in neurons that use `Dspike` as their surrogate (see `training.temperature`).

    >>> from hdlif.nn import LIF, Dspike
    >>> neuron = LIF(time_steps=4, surrogate=Dspike(temperature=2.0))
    >>> neuron.surrogate.temperature.item()
    2.0

    Args:
        temperature: initial b, above 0.
    """

    temperature: Tensor

    def __init__(self, temperature: float = 3.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature = {temperature}; it must be above 0")
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the surrogate derivative f(x) for x = m - θ."""
        return dspike(x, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={float(self.temperature)}"
