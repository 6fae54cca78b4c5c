"""Readings on about a logarithmic scale, in the channels that are named."""

import pytest
import torch

from hdlif.nn import companded
from hdlif.nn.companding import CLIPS


def test_values_by_hand() -> None:
    """Seven parts, each at its end from b = 1/16, ..., 4 on; 0.1 is beyond 1/16, and 0.8, 0.4, ... of the others."""
    x = torch.tensor([0.0, 1 / 32, 0.1, 0.5, 4.0, 100.0, -0.1])
    expected = torch.tensor([0.0, 127 / 128, 2.575, 4.875, 7.0, 7.0, -2.575])
    seen, state = companded(1, [0])(x.reshape(7, 1, 1, 1, 1), None, range(7))
    torch.testing.assert_close(seen.flatten(), expected)
    assert state is None
    assert len(CLIPS) == 7


@pytest.mark.parametrize("which", [[], [1], [0, 2]])
def test_channels_that_are_not_named_stay_as_they_are(which: list[int]) -> None:
    module, x = companded(3, which), torch.randn(4, 2, 3, 1, 1)
    seen, _ = module(x, None, range(4))
    whole, _ = companded(3, [0, 1, 2])(x, None, range(4))
    for channel in range(3):
        torch.testing.assert_close(seen[:, :, channel], (whole if channel in which else x)[:, :, channel])
    assert not list(module.parameters())


def test_a_doubled_value_rises_by_one_and_less_towards_the_largest() -> None:
    """By 1 - x/4, from 1/32 to 4."""
    module, x = companded(1, [0]), torch.logspace(-5, 2, 50, base=2.0).reshape(50, 1, 1, 1, 1)
    rise = module(2 * x, None, range(50))[0] - module(x, None, range(50))[0]
    torch.testing.assert_close(rise, 1 - x / 4)
