"""The gate of Q-K attention: its values, its gradient, and what it saves for it."""

import pytest
import torch
from torch import Tensor, nn

from cases import every, naming
from hdlif.errors import ShapeError
from hdlif.functional import gate
from hdlif.report.accounting import saved_bytes

STEPS, BATCH, CHANNELS, SIDES = 2, 3, 6, (4, 5)
SHAPES = [(6, *SIDES), (3, *SIDES), (1, *SIDES), (6,), (2,), (6, 1, 1)]
"""Of the gates: per head and pixel, and per channel."""


def spikes(*shape: int, seed: int, share: float = 0.5) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    fired = torch.rand(shape, generator=g) < share
    return torch.rand(shape, generator=g, dtype=torch.float64).mul(3) * fired


def repeated(a: Tensor) -> Tensor:
    """The gate of every entry of x."""
    a = a.repeat_interleave(CHANNELS // a.shape[2], dim=2)
    return (a if a.ndim == 5 else a[..., None, None]).expand(STEPS, BATCH, CHANNELS, *SIDES)


@every(shape=SHAPES, steps=[1, STEPS])
def test_gate_and_gradient_are_those_of_the_formula(shape: tuple[int, ...], steps: int) -> None:
    """Gates that are constant in time, and not. The gradient of those up to 3/2 is the product's with 1 and 0."""
    x = spikes(STEPS, BATCH, CHANNELS, *SIDES, seed=0).requires_grad_()
    a = spikes(steps, BATCH, *shape, seed=1).requires_grad_()
    y, every_a = gate(x, a), repeated(a)
    learning = every_a.clamp(max=1.5)
    expected = x * ((every_a > 0).double() + learning - learning.detach())
    assert 0 < (a > 1.5).double().mean() < 1
    assert torch.equal(y, torch.where(every_a > 0, x, 0))
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found, by_formula = (torch.autograd.grad((one * weight).sum(), (x, a)) for one in (y, expected))
    torch.testing.assert_close(found, by_formula, atol=1e-12, rtol=0)


def test_of_binary_spikes_it_is_the_product() -> None:
    x, a = (spikes(STEPS, BATCH, *shape, seed=3).sign().requires_grad_() for shape in ((CHANNELS, *SIDES), (3, *SIDES)))
    y, product = gate(x, a), x * repeated(a)
    assert torch.equal(y, product)
    found, expected = (torch.autograd.grad(one.cumsum(-1).sum(), (x, a)) for one in (y, product))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_a_nan_closes_and_an_open_gate_passes_any_number() -> None:
    x = torch.tensor([torch.nan, torch.inf, -0.0, 2.0]).view(1, 1, 4)
    assert torch.equal(gate(x, torch.full_like(x, torch.nan)), torch.zeros_like(x))
    assert torch.equal(gate(x, torch.ones(1, 1, 2)).isnan(), x.isnan())


def test_a_spike_is_saved_for_gates_that_learn_alone() -> None:
    x, a = torch.rand(1, 1, 4, 8, 8, requires_grad=True), torch.rand(1, 1, 2, 8, 8)
    of_mask, of_x = a.numel(), 4 * x.numel()
    assert saved_bytes(lambda: gate(x, a), model=nn.Identity()) == of_mask
    assert saved_bytes(lambda: gate(x, a.requires_grad_()), model=nn.Identity()) == 2 * of_mask + of_x


def test_gates_that_do_not_fit_are_refused() -> None:
    x = torch.ones(2, 1, 4, 3, 3)
    for shape in ((2, 1, 3), (2, 1, 3, 3, 3), (2, 1, 4, 2, 3), (2, 1, 8, 3, 3), (2, 4)):
        with naming(shape), pytest.raises(ShapeError, match=r"does not fit spikes of shape \[2, 1, 4, 3, 3\]"):
            gate(x, torch.ones(shape))
