import pytest
import torch
from torch import nn

from hdlif.models import unet
from hdlif.nn import HDLIF


def network(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return unet(neuron=lambda place: HDLIF(time_steps=2), width=2, depth=2, classes=3, **options).eval()


def test_a_pixel_of_the_output_depends_on_far_and_near_ones() -> None:
    """What is halved twice reaches far, and what is added at full size keeps a single pixel's place."""
    made = network(norm=lambda channels: nn.Identity()).double()
    x = (100 * torch.rand(1, 1, 3, 32, 32, dtype=torch.float64)).requires_grad_()
    made(x, steps=range(1))[0][0, 0, :, 16, 16].sum().backward()
    assert x.grad is not None
    reached = (x.grad[0, 0].abs().sum(0) > 0).nonzero()
    assert (reached.max(0).values - reached.min(0).values).min() >= 20
    assert x.grad[0, 0, :, 16, 16].abs().sum() > 0


def test_sizes_below_1_are_refused() -> None:
    with pytest.raises(ValueError, match="width = 2, depth = 0; both must be at least 1"):
        unet(neuron=lambda place: HDLIF(time_steps=2), width=2, depth=0, classes=3)
