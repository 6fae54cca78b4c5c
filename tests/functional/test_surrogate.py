"""Surrogate derivatives: values by hand, unit area, and the step that uses them."""

import math

import pytest
import torch

from cases import every
from hdlif.functional import ATan, Rectangle, Sigmoid, Surrogate, Triangle, dspike, heaviside


@every(
    "surrogate",
    "x",
    "value",
    of=[
        (Triangle(), 0.0, 1.0),
        (Triangle(), -0.25, 0.75),
        (Triangle(), 1.5, 0.0),
        (Triangle(2.0), 1.0, 0.25),
        (Rectangle(), 0.25, 1.0),
        (Rectangle(), 0.5, 0.0),
        (Rectangle(2.0), -0.75, 0.5),
        (Sigmoid(), 0.0, 1.0),
        # σ(ln 3) = 3/4
        (Sigmoid(), math.log(3) / 4, 0.75),
        (Sigmoid(2.0), -math.log(3) / 2, 0.375),
        (ATan(), 0.0, 1.0),
        (ATan(), 1 / math.pi, 0.5),
        (ATan(4.0), -1 / math.pi, 0.4),
    ],
)
def test_surrogate_has_the_value_by_hand(surrogate: Surrogate, x: float, value: float) -> None:
    assert surrogate(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(value, abs=1e-12)


@every(surrogate=[Triangle(), Triangle(0.5), Rectangle(), Rectangle(3.0), Sigmoid(), Sigmoid(1.0), ATan(), ATan(5.0)])
def test_surrogate_has_unit_area(surrogate: Surrogate) -> None:
    # x = tan(u) brings the whole line into (-π/2, π/2); midpoints, 1e-4 for the jumps of the rectangle
    n = 100_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n * math.pi - math.pi / 2
    area = (surrogate(torch.tan(u)) / torch.cos(u) ** 2).sum() * math.pi / n
    assert area.item() == pytest.approx(1.0, abs=1e-4)


def test_step_is_one_at_zero_and_passes_the_surrogate_back() -> None:
    x = torch.tensor([-0.5, 0.0, 0.25], requires_grad=True)
    y = heaviside(x, Triangle())
    (y * torch.tensor([2.0, 1.0, 1.0])).sum().backward()
    assert y.tolist() == [0.0, 1.0, 1.0]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 0.75]


def test_dspike_is_the_derivative_of_the_smooth_step() -> None:
    b = torch.tensor(3.0, dtype=torch.float64)
    y = torch.linspace(0.001, 0.999, 50, dtype=torch.float64, requires_grad=True)
    smooth = (torch.tanh(b * (y - 0.5)) + torch.tanh(b / 2)) / (2 * torch.tanh(b / 2))
    (slope,) = torch.autograd.grad(smooth.sum(), y)
    torch.testing.assert_close(dspike(y.detach() - 0.5, b), slope, atol=1e-12, rtol=0)


@every(temperature=[0.01, 3.0, 20.0])
def test_dspike_has_unit_area_and_peaks_at_the_threshold(temperature: float) -> None:
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1
    f = dspike(x, torch.tensor(temperature, dtype=torch.float64))
    assert (f.sum() / 100_000).item() == pytest.approx(1.0, abs=1e-4)
    assert f.max() == pytest.approx(dspike(torch.zeros(1), torch.tensor(temperature)).item(), rel=1e-4)
    assert f[x.abs() > 0.5].eq(0).all()
