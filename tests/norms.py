"""Batch norm as rows, by kernels and by PyTorch: what tests of several kernels share."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.kernels.batch_norm import Norm, moments_of

Results = tuple[list[Tensor], list[Tensor]]
LAYOUTS = ("contiguous", "channels last")
SHAPES = [(1, 2, 1, 3, 3), (3, 4, 5, 3, 7), (2, 1, 9, 1, 33), (4, 3, 2, 2, 2)]


def drawn_maps(shape: tuple[int, ...], layout: str) -> Tensor:
    """[K, B, C, H, W]."""
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 1.5 + 0.5
    if layout == "contiguous":
        return maps
    return maps.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)


def drawn_norm(shape: tuple[int, ...], *, per_step: bool = False, of_batch: bool = True, device: str = "cpu") -> Norm:
    """Of such maps."""
    steps, channels = shape[0], shape[2]
    generator = torch.Generator().manual_seed(2)
    rows = (steps, channels) if per_step else (channels,)
    sizes = ((channels,), (channels,), rows)
    weight, bias, mean = (torch.randn(size, generator=generator).to(device) for size in sizes)
    var = (torch.rand(rows, generator=generator) + 0.5).to(device)
    return Norm(
        weight.requires_grad_(),
        bias.requires_grad_(),
        1e-5,
        mean,
        var,
        list(range(steps)) if per_step else [0] * steps,
        [1 / (2 + k) for k in range(steps)],
        of_batch,
    )


def by_rows(maps: Tensor, norm: Norm) -> Results:
    """Normalised maps and running statistics, and the gradients of maps, weight and bias."""
    maps = maps.detach().requires_grad_()
    seen, rows = norm.rows_with_graph(maps, moments_of(maps.detach()))
    # A gradient that nobody else reads.
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


def assert_as_pytorch(maps: Tensor, make: Callable[[], Norm], *, off: float = 2e-5) -> None:
    """Up to roundings, `off` of values of about 1."""
    found, expected = by_rows(maps, make()), by_pytorch(maps, make())
    for its, right in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(its, right, rtol=off, atol=off)
    for its, right in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(its, right, rtol=5 * off, atol=5 * off * float(right.abs().max()))


def _with_gradients(maps: Tensor, norm: Norm, y: Tensor) -> Results:
    back = torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(y.device)
    gradients = torch.autograd.grad(y, [maps, norm.weight, norm.bias], back, allow_unused=True)
    found = [y.detach(), norm.running_mean, norm.running_var]
    return found, [one for one in gradients if one is not None]
