"""Gains and shifts without statistics."""

import pytest
import torch

from hdlif.errors import StateError
from hdlif.nn import Affine


def test_affine_scales_and_shifts_each_channel_alike_at_every_step() -> None:
    layer = Affine(3, scale=2.0)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
        layer.weight[2] = 0.5
    x = torch.ones(4, 2, 3, 1, 1)
    for mode in (layer.train(), layer.eval()):
        y, state = mode(x, None, range(4))
        assert state is None
        assert y.shape == x.shape
        # What all samples have in common stays.
        assert y[..., 0, 0].unique(dim=0).tolist() == [[[2.0, 3.0, -0.5]] * 2]
    with pytest.raises(StateError):
        layer(x, {"potential": torch.zeros(1)}, range(4))
