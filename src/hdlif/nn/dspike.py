"""Dspike: a surrogate whose temperature follows the network along training."""

import torch
from torch import Tensor, nn

from hdlif.functional import dspike


class Dspike(nn.Module):
    """The surrogate `functional.dspike` with its temperature b as a buffer, which checkpoints carry.

    A neuron that has it as its `surrogate` can have b adapted, see `training.temperature`.

    >>> from hdlif.nn import LIF, Dspike
    >>> neuron = LIF(time_steps=4, surrogate=Dspike(temperature=2.0))
    >>> neuron.surrogate.temperature.item()
    2.0

    Args:
        temperature: b at the start, above 0.
    """

    temperature: Tensor

    def __init__(self, temperature: float = 3.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature = {temperature}; it must be above 0")
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, x: Tensor) -> Tensor:
        """f(x) of x = m - θ."""
        return dspike(x, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={float(self.temperature)}"
