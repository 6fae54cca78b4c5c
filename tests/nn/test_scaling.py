"""Gains and shifts without statistics."""

import pytest
import torch

from hdlif.errors import HdlifError
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
        assert y[..., 0, 0].unique(dim=0).tolist() == [[[2.0, 3.0, -0.5]] * 2]


def test_what_all_samples_have_in_common_stays() -> None:
    x = torch.full((1, 5, 1, 1, 1), 3.0)
    assert torch.equal(Affine(1).train()(x, None, range(1))[0], x)


def test_affine_has_no_state() -> None:
    with pytest.raises(HdlifError):
        Affine(1)(torch.ones(1, 1, 1, 1, 1), {"potential": torch.zeros(1)}, range(1))
