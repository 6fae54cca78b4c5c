"""Compare Triton's kernels with PyTorch's operations, on the GPU of this machine if there is one.

A fault may end the process, so run it as one of its own. It prints a line of JSON per measurement:

    python -m hdlif.report.gpu_kernels
"""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.functional import binarize_weight, quantize_spike, ternarize_weight
from hdlif.kernels import devices
from hdlif.kernels.batch_norm import Norm, moments_of
from hdlif.kernels.spikes import quantised
from hdlif.kernels.weights import binarized, ternarized
from hdlif.report.chunks import NEURONS, off_by
from hdlif.report.chunks import differing as differing_chunk

_STEPS, _BATCH, _CHANNELS = 3, 4, 5


def measure() -> Iterator[dict[str, Any]]:
    """What there is, and then every kernel where it is enough."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lacks = devices.triton_lacks()
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = None
    yield {"gpus": gpus, "triton": triton, "lacks": lacks}
    if gpus and lacks is None:
        yield from measured_on(torch.device("cuda"))


def measured_on(device: torch.device) -> Iterator[dict[str, Any]]:
    """Every kernel on a device that Triton's serve."""
    for name in NEURONS:
        # So many neurons that the bits of a step fill bytes.
        yield {"kernel": name, "difference": differing_chunk(name, "triton", device=device, batch=2)}
    for name in PAIRS:
        yield {"kernel": name, "difference": differing(name, device)}


def differing(name: str, device: torch.device) -> float | None:
    """By how much a kernel differs, as a share of the largest entry of a value or gradient; None for right."""
    torch.manual_seed(0)
    x = torch.randn(_STEPS, _BATCH, _CHANNELS, 7, 9, device=device)
    back = torch.randn_like(x)
    results = []
    for function in PAIRS[name]:
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        results.append((y.detach(), *torch.autograd.grad(y, leaf, back)))
    return off_by(*results)


def _by_rows(maps: Tensor) -> Tensor:
    one = torch.ones(_CHANNELS, device=maps.device)
    running = torch.zeros_like(one), torch.ones_like(one)
    norm = Norm(one, one, 1e-5, *running, [0] * _STEPS, [0.1] * _STEPS, of_batch=True)
    seen, (mean, scale, shift) = norm.rows_with_graph(maps, moments_of(maps.detach()))
    return scale * (seen - mean) + shift


def _normed(maps: Tensor) -> Tensor:
    return torch.stack([F.batch_norm(step, None, None, training=True) + 1 for step in maps.unbind()])


PAIRS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "batch norm": (_by_rows, _normed),
    "ternary weights": (lambda x: ternarized(x[0]).expand_as(x), lambda x: ternarize_weight(x[0]).expand_as(x)),
    "binary weights": (lambda x: binarized(x[0]).expand_as(x), lambda x: binarize_weight(x[0]).expand_as(x)),
    "spikes": (
        lambda x: quantised(x, bits=4, step=0.25, offset=0.5, gradient="clip"),
        lambda x: quantize_spike(x, bits=4, step=0.25, offset=0.5, gradient="clip"),
    ),
}
"""By Triton's kernels, and by PyTorch's operations."""


if __name__ == "__main__":
    for found in measure():
        print(json.dumps(found), flush=True)
