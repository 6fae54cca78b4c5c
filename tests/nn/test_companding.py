"""Readings on about a logarithmic scale, in the channels that are named."""

import pytest
import torch

from hdlif.nn import companded
from hdlif.nn.companding import CLIPS


def test_values_by_hand() -> None:
    """Six parts, each at its end from b = 1/256, ..., 4 on: 0.1 is beyond 1/16, and 0.4, 0.1, 0.025 of the others."""
    x = torch.tensor([0.0, 1 / 512, 0.1, 0.5, 4.0, 100.0, -0.1])
    expected = torch.tensor([0.0, 1365 / 2048, 3.525, 4.625, 6.0, 6.0, -3.525]) / 4
    seen, state = companded(1, [0])(x.reshape(7, 1, 1, 1, 1), None, range(7))
    torch.testing.assert_close(seen.flatten(), expected)
    assert state is None
    assert len(CLIPS) == 6


@pytest.mark.parametrize("which", [[], [1], [0, 2]])
def test_channels_that_are_not_named_stay_as_they_are(which: list[int]) -> None:
    module, x = companded(3, which), torch.randn(4, 2, 3, 1, 1)
    seen, _ = module(x, None, range(4))
    whole, _ = companded(3, [0, 1, 2])(x, None, range(4))
    for channel in range(3):
        torch.testing.assert_close(seen[:, :, channel], (whole if channel in which else x)[:, :, channel])
    assert not list(module.parameters())


def test_four_times_a_value_is_one_more_and_less_towards_the_largest() -> None:
    """By 1 - x/4, from 1/1024 to 4."""
    module, x = companded(1, [0]), torch.logspace(-10, 2, 50, base=2.0).reshape(50, 1, 1, 1, 1)
    rise = module(4 * x, None, range(50))[0] - module(x, None, range(50))[0]
    torch.testing.assert_close(4 * rise, 1 - x / 4, rtol=1e-4, atol=1e-5)
