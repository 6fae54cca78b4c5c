"""Compare the convolutions of training with PyTorch's, on each instruction set: of codes, and in fp32.

A fault may crash the process, so run it separately. It prints one JSON line per measurement:

    python -m hdlif.report.code_convs
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif._native import instruction_sets
from hdlif.functional import ternarize_weight
from hdlif.nn.kernels.code_conv import CodeConv, convolve
from hdlif.nn.kernels.codes import Codes, codes_of, quantise
from hdlif.nn.kernels.winograd import convolution, kernel_gradient
from hdlif.report.chunks import off_by

LAYERS: Mapping[str, tuple[int, int, int, int, int]] = {
    "3x3": (16, 40, 3, 1, 1),
    "3x3, stride 2": (6, 33, 3, 2, 1),
    "1x1": (5, 16, 1, 1, 0),
    "5x5": (8, 70, 5, 1, 2),
}
"""Channels in and out, kernel, stride and padding."""
Run = Callable[[Tensor, Tensor, Codes, CodeConv], Tensor]


def differing(name: str, instructions: str, *, measured: Run = convolve) -> float | None:
    """Return the difference of a layer's sums, or of a gradient relative to its largest entry; None if equal."""
    ins, outs, kernel, stride, padding = LAYERS[name]
    torch.manual_seed(0)
    surplus = (torch.randn(1, 3, ins, 9, 7) - 0.8).relu().requires_grad_()
    weight = ternarize_weight(torch.randn(outs, ins, kernel, kernel)).requires_grad_()
    spikes = quantise(surplus, bits=4, step=0.25, offset=0.5, is_relu=True)
    codes = codes_of(spikes)
    assert codes is not None
    x = spikes.flatten(0, 1)
    y = measured(x, weight, codes, CodeConv((stride, stride), (padding, padding), instructions))
    exact = F.conv2d(x.detach() * 4, weight.detach().sign(), stride=stride, padding=padding)
    off = float((y.detach() - exact * (weight.detach().abs().amax() * 0.25)).abs().max())
    if off != 0:
        return off
    back = torch.randn(y.shape)
    found = torch.autograd.grad(y, [surplus, weight], back)
    right = F.conv2d(x.double(), weight.double(), stride=stride, padding=padding)
    of_surplus, of_weight = torch.autograd.grad(right, [surplus, weight], back.double())
    # Without a surplus, no gradient reaches the neuron.
    return off_by(found, (of_surplus * (surplus > 0), of_weight))


def differing_in_float(instructions: str, *, measured: Callable[..., Tensor] = convolution) -> float | None:
    """Return the difference of an fp32 convolution or gradient, relative to its largest entry; None if equal."""
    torch.manual_seed(0)
    x, dy = (torch.randn(7, channels, 9, 13).contiguous(memory_format=torch.channels_last) for channels in (32, 48))
    weight = torch.randn(48, 32, 3, 3)
    found = [measured(x, weight, is_back=False, instructions=instructions)]
    found += [measured(dy, weight, is_back=True, instructions=instructions)]
    found += [kernel_gradient(x, dy, instructions=instructions)]
    exact_x, exact_weight = x.double().requires_grad_(), weight.double().requires_grad_()
    y = F.conv2d(exact_x, exact_weight, padding=1)
    right = [y.detach(), *torch.autograd.grad(y, [exact_x, exact_weight], dy.double())]
    return off_by(found, right)


def measure() -> Iterator[dict[str, Any]]:
    """Measure every layer on every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name in LAYERS:
            yield {"instructions": instructions, "layer": name, "difference": differing(name, instructions)}
        yield {"instructions": instructions, "layer": "3x3, fp32", "difference": differing_in_float(instructions)}


if __name__ == "__main__":
    for found in measure():
        print(json.dumps(found), flush=True)
