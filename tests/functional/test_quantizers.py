"""Quantisers: golden vectors, the values they may take, and their straight-through gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cases import every, sampled
from hdlif.functional import (
    binarize_weight,
    integer_codes,
    quantize_spike,
    quantize_weight,
    spike_codes,
    ternarize_weight,
)
from hdlif.functional.quantizers import EXACT


def gaussian_weights(sigma: float, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * sigma


def test_quantised_spike_takes_the_golden_values() -> None:
    spikes = torch.tensor([-0.3, 0.0, 0.1, 0.124, 0.125, 0.375, 0.9, 3.74, 3.76, 9.0])
    # exact halves of a step round up
    assert quantize_spike(spikes).tolist() == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 3.75, 3.75, 3.75]


def test_spike_bits_step_and_offset_each_have_their_effect() -> None:
    spikes = torch.tensor([0.75, 1.0, 5.0])
    for offset, codes in ((0.5, [2.0, 2.0, 3.0]), (0.0, [1.0, 2.0, 3.0])):
        assert spike_codes(spikes, bits=2, step=0.5, offset=offset).tolist() == codes
        assert quantize_spike(spikes, bits=2, step=0.5, offset=offset).tolist() == [code / 2 for code in codes]


@every(bits=range(1, 9))
def test_quantised_spike_is_within_half_a_step_below_saturation(bits: int) -> None:
    spikes = torch.linspace(0, 70, 30_001, dtype=torch.float64)
    values = quantize_spike(spikes, bits=bits)
    assert torch.equal(values, (values * 4).round() / 4)
    assert ((values - spikes.clamp_max(0.25 * (2**bits - 1))).abs() <= 0.125).all()


@every("quantize", "at_one", of=[(binarize_weight, 3.0), (ternarize_weight, 0.0)])
def test_gradients_of_low_bit_weights_stop_at_one_and_are_not_scaled(
    quantize: Callable[[Tensor], Tensor], at_one: float
) -> None:
    weight = torch.tensor([[0.1, -0.5, 1.0, -3.0]], requires_grad=True)
    (quantize(weight) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 2.0, at_one, 0.0]]


def test_ternary_weight_by_hand() -> None:
    # clipped magnitudes 0.1, 0.5, 1, 0.05: mean 0.4125, Δ = 0.28875, a = (0.5 + 1) / 2
    weight = torch.tensor([[0.1, -0.5], [1.5, -0.05]])
    assert ternarize_weight(weight).tolist() == [[0.0, -0.75], [0.75, 0.0]]
    assert ternarize_weight(torch.zeros(3, 3)).tolist() == [[0.0] * 3] * 3


def squared_error(weight: Tensor, scale: Tensor, most: int) -> Tensor:
    """What each row loses at its scale, [out]."""
    codes = torch.round(weight / scale[:, None]).clamp(-most, most)
    return (weight - codes * scale[:, None]).square().sum(1)


def least_error(weight: Tensor, most: int) -> Tensor:
    """By brute force: the codes of many scales, each with the scale that fits them best."""
    magnitude = weight.abs()
    shares = torch.logspace(-2, 0.35, 1500 if weight.shape[1] < 1000 else 500, dtype=torch.float64).view(-1, 1, 1)
    codes = torch.round(most * magnitude / (shares * magnitude.amax(1, keepdim=True))).clamp_max(most)
    product, square = (magnitude * codes).sum(2), codes.square().sum(2)
    return weight.square().sum(1) - (product.square() / square.clamp_min(1)).amax(0)


def sparse(*shape: int) -> Tensor:
    weight = gaussian_weights(1.0, *shape)
    weight[torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.9] = 0
    weight[:, 0] = 1
    return weight


def with_outlier(*shape: int) -> Tensor:
    weight = gaussian_weights(0.01, *shape)
    weight[:, 0] = 1
    return weight


DISTRIBUTIONS = {
    "gaussian": lambda *shape: gaussian_weights(0.05, *shape),
    "uniform": lambda *shape: torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5,
    "sparse": sparse,
    "outlier": with_outlier,
    "cauchy": lambda *shape: (
        gaussian_weights(1.0, *shape) / gaussian_weights(1.0, *shape).roll(1).abs().clamp_min(0.01)
    ),
}


@sampled(28, draw=DISTRIBUTIONS, bits=list(range(2, 9)), inputs=[1, 2, 4, 27, 144, 1152])
def test_integer_scale_leaves_the_least_squared_error(draw: Callable[..., Tensor], bits: int, inputs: int) -> None:
    most, weight = 2 ** (bits - 1) - 1, draw(4, inputs)
    _, scale = integer_codes(weight, bits=bits)
    found, least = squared_error(weight, scale.flatten(), most), least_error(weight, most)
    if inputs * most <= EXACT:
        # No worse in any row than the best of the brute force, which may itself miss a better one.
        assert (found <= least + 1e-12 * weight.square().sum(1)).all()
        return
    counted = int((weight != 0).sum(1).min())
    if counted >= 9:
        allowed = 0.02 if counted >= 1000 else 3 / counted**0.5
        assert found.sum() <= (1 + allowed) * least.sum()


@every(bits=range(2, 9))
def test_weights_on_a_grid_are_kept_as_they_are(bits: int) -> None:
    most = 2 ** (bits - 1) - 1
    grid = torch.randint(-most, most + 1, (6, 40), generator=torch.Generator().manual_seed(0)).double()
    grid[:, 0] = most
    weight = grid * torch.tensor([1e-6, 0.01, 0.5, 1.0, 3.0, 1e6], dtype=torch.float64)[:, None]
    for rows in (weight, weight[:, :3], torch.full((3, 5), 0.3, dtype=torch.float64)):
        torch.testing.assert_close(quantize_weight(rows, bits=bits), rows, atol=0, rtol=1e-6)


@every(bits=[2, 4, 8])
def test_integer_scale_knows_its_row_alone_and_no_unit(bits: int) -> None:
    """Whatever the block that a row is worked on in, the sign of its weights, and a factor of them."""
    weight = gaussian_weights(0.05, 70, 1000).float()
    _, scale = integer_codes(weight, bits=bits)
    for row in (0, 33, 69):
        torch.testing.assert_close(integer_codes(weight[row : row + 1], bits=bits)[1], scale[row : row + 1])
    torch.testing.assert_close(integer_codes(-1024 * weight, bits=bits)[1], 1024 * scale)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(integer_codes(weight, bits=bits)[1], scale)


@every(value=[0.0, 1e-45, 1e-38, 1e38, float("inf"), float("nan")], inputs=[1, 2, 600], bits=[2, 4, 8])
def test_integer_scale_is_a_positive_number_for_any_weight(value: float, inputs: int, bits: int) -> None:
    codes, scale = integer_codes(torch.full((2, inputs), value), bits=bits)
    assert scale.shape == (2, 1)
    assert (scale > 0).all()
    assert scale.isfinite().all()
    assert torch.isfinite(codes).all() == (value == value)
    # too small a scale for float16
    codes, scale = integer_codes(torch.tensor([[6e-8, -6e-8], [1.0, 0.5]], dtype=torch.float16), bits=bits)
    assert bool((scale > 0).all() & codes.isfinite().all())


def test_integer_weight_by_hand() -> None:
    # 3 bits: codes -3..3. [0, 1, -3, 1] has <|W|, c> = 7, <c, c> = 11 and leaves 4.52 - 49/11; no other leaves less.
    weight = torch.tensor([[0.0, 0.4, -2.0, 0.6]])
    codes, scale = integer_codes(weight, bits=3)
    assert scale.item() == pytest.approx(7 / 11)
    assert codes.tolist() == [[0.0, 1.0, -3.0, 1.0]]
    torch.testing.assert_close(quantize_weight(weight, bits=3), codes * scale)


def test_integer_gradient_stops_beyond_the_range() -> None:
    # 2 bits: one weight of 9 is worth its scale, a = 9; one of 3 among a hundred of 1 is not: a = 1.02, range ±2.04.
    for weight, expected in (([0.1, -0.1, 0.1, 9.0], [1.0] * 4), ([1.0] * 100 + [3.0], [1.0] * 100 + [0.0])):
        w = torch.tensor([weight], requires_grad=True)
        quantize_weight(w, bits=2).sum().backward()
        assert w.grad is not None
        assert w.grad.tolist() == [expected]


def test_clipped_gradient_stops_above_the_largest_level() -> None:
    for step in (0.25, torch.tensor(0.25, requires_grad=True)):
        for gradient, expected in (("clip", [1.0, 1.0, 0.0, 0.0]), ("identity", [1.0] * 4)):
            spikes = torch.tensor([0.1, 0.75, 0.8, 9.0], requires_grad=True)
            quantize_spike(spikes, bits=2, step=step, gradient=gradient).sum().backward()  # type: ignore[arg-type]
            assert spikes.grad is not None
            assert spikes.grad.tolist() == expected
