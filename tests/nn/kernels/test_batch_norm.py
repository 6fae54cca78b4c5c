"""Batch norm as rows against PyTorch's; `tests/nn/test_chain.py` runs the rows and passes in networks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chunks import channels_last
from hdlif.nn.kernels.batch_norm import Norm, moments_of

Results = list[Tensor]
SHAPES = [(1, 2, 1, 3, 3), (3, 4, 5, 3, 7), (2, 1, 9, 1, 33), (4, 3, 2, 2, 2)]


def drawn_maps(*shape: int) -> list[Tensor]:
    """Maps [K, B, C, H, W], contiguous and with channels last."""
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 1.5 + 0.5
    return [maps, channels_last(maps)]


def drawn_norm(maps: Tensor, *, per_step: bool = False, of_batch: bool = True) -> Norm:
    steps, channels = maps.shape[0], maps.shape[2]
    generator = torch.Generator().manual_seed(2)
    rows = (steps, channels) if per_step else (channels,)
    weight, bias, mean = (torch.randn(size, generator=generator) for size in ((channels,), (channels,), rows))
    var = torch.rand(rows, generator=generator) + 0.5
    of_steps = list(range(steps)) if per_step else [0] * steps
    momenta = [1 / (2 + k) for k in range(steps)]
    return Norm(weight.requires_grad_(), bias.requires_grad_(), 1e-5, mean, var, of_steps, momenta, of_batch)


def by_rows(maps: Tensor, norm: Norm) -> Results:
    """Normalised maps and running statistics, and the gradients of maps, weight and bias."""
    maps = maps.detach().requires_grad_()
    seen, rows = norm.rows_with_graph(maps, moments_of(maps.detach()))
    return _with_gradients(maps, norm, rows.scale * (seen - rows.mean) + rows.shift)


def by_pytorch(maps: Tensor, norm: Norm) -> Results:
    """The same by its own batch norm, step by step."""
    # Of one image with channels last PyTorch 2.13 gives wrong gradients.
    maps = maps.detach().contiguous().requires_grad_()
    means, variances = (one.view(-1, maps.shape[2]) for one in (norm.running_mean, norm.running_var))
    normalised = [
        F.batch_norm(step, means[row], variances[row], norm.weight, norm.bias, norm.of_batch, momentum, norm.eps)
        for step, row, momentum in zip(maps.unbind(), norm.steps, norm.momenta, strict=True)
    ]
    return _with_gradients(maps, norm, torch.stack(normalised))


def _with_gradients(maps: Tensor, norm: Norm, y: Tensor) -> Results:
    back = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    gradients = torch.autograd.grad(y, [maps, norm.weight, norm.bias], back)
    return [y.detach(), norm.running_mean, norm.running_var, *gradients]


def assert_as_pytorch(maps: Tensor, *, per_step: bool = False, off: float = 2e-5) -> None:
    """Up to roundings, `off` of values of about 1."""
    found, expected = (one(maps, drawn_norm(maps, per_step=per_step)) for one in (by_rows, by_pytorch))
    for its, right in zip(found, expected, strict=True):
        most = 5 * off * max(1.0, float(right.abs().max()))
        torch.testing.assert_close(its, right, rtol=5 * off, atol=most, msg=lambda text: f"{maps.shape}: {text}")


def test_values_gradients_and_statistics_are_pytorch_s() -> None:
    for shape in SHAPES:
        for maps in drawn_maps(*shape):
            for per_step in (False, True):
                assert_as_pytorch(maps, per_step=per_step)


def test_a_mean_far_from_0_takes_little_from_the_variance() -> None:
    for maps in drawn_maps(2, 3, 5, 4, 3):
        # A mean in float32 is off by up to 5e-4.
        assert_as_pytorch(maps + 1e4, off=2e-3)


def test_what_is_no_number_spoils_its_channel_and_step_alone() -> None:
    for maps in drawn_maps(2, 3, 5, 4, 3):
        for bad in (float("nan"), float("inf"), -float("inf")):
            maps[1, 0, 2, 1, 1] = bad
            found, expected = (one(maps, drawn_norm(maps, per_step=True)) for one in (by_rows, by_pytorch))
            for its, right in zip(found, expected, strict=True):
                assert torch.equal(its.isfinite(), right.isfinite())
                torch.testing.assert_close(its[right.isfinite()], right[right.isfinite()], rtol=1e-4, atol=1e-4)
