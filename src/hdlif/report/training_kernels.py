"""Compare the compiled training kernels with PyTorch for each instruction set.

Run this module in a separate process, because a faulty kernel may crash it. The following command prints one JSON line
per measurement:

    python -m hdlif.report.training_kernels neurons|convolutions
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif._native import instruction_sets
from hdlif.functional import ternarize_weight
from hdlif.graph.equations import trace_written
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, ParallelHDLIF, SteppedNeuron
from hdlif.nn.kernels.chunk import FusedStep
from hdlif.nn.kernels.code_conv import CodeConv, convolve
from hdlif.nn.kernels.codes import Codes, codes_of, quantise
from hdlif.nn.kernels.winograd import convolution, kernel_gradient

TOLERANCE = 1e-4
"""Tolerance of gradients, relative to the largest entry. Values must be bit-identical."""
_STEPS, _BATCH, _SHAPE = 5, 3, (4, 67)
NEURONS: Mapping[str, Callable[..., SteppedNeuron]] = {
    "hdlif": HDLIF,
    "parallel_hdlif": ParallelHDLIF,
    "lif": partial(LIF, learned=True),
    "glif": GLIF,
    "adaptive_hdlif": AdaptiveHDLIF,
}
LAYERS: Mapping[str, tuple[int, int, int, int, int]] = {
    "3x3": (16, 40, 3, 1, 1),
    "3x3, stride 2": (6, 33, 3, 2, 1),
    "1x1": (5, 16, 1, 1, 0),
    "5x5": (8, 70, 5, 1, 2),
}
"""Input channels, output channels, kernel, stride and padding of each layer."""
Results = tuple[list[Tensor], list[Tensor]]
RunNeuron = Callable[[SteppedNeuron, Tensor, list[Tensor], str], Results]
RunLayer = Callable[[Tensor, Tensor, Codes, CodeConv], Tensor]


def run_kernels(neuron: SteppedNeuron, current: Tensor, states: list[Tensor], instruction_set: str) -> Results:
    """Run compiled kernels on a chunk of steps. Return spikes, states, and the gradients of their sum of squares."""
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    rows = written.rows(neuron.rows_at(range(_STEPS), current))
    found = FusedStep(written, instruction_set)(current, states, rows, steps=_STEPS)
    assert found is not None
    return _with_gradients(neuron, current, states, found)


def run_steps(neuron: SteppedNeuron, current: Tensor, states: list[Tensor]) -> Results:
    """Run a neuron step by step in PyTorch and return the same quantities as `run_kernels`."""
    neuron.choose_path("steps")
    spikes, after = neuron(current, dict(zip(neuron.states, states, strict=True)) or None, range(_STEPS))
    return _with_gradients(neuron, current, states, (spikes, list((after or {}).values())))


def _with_gradients(
    neuron: SteppedNeuron, current: Tensor, states: list[Tensor], found: tuple[Tensor, list[Tensor]]
) -> Results:
    spikes, after = found
    loss = spikes.square().sum() + sum(state.square().sum() for state in after)
    gradients = torch.autograd.grad(loss, [current, *states, *neuron.parameters()])
    return [spikes.detach(), *(one.detach() for one in after)], list(gradients)


def neuron_difference(name: str, instruction_set: str, *, measured: RunNeuron = run_kernels) -> float | None:
    """Return the error of a neuron's compiled kernel, or None if values are exact and gradients within tolerance."""
    torch.manual_seed(0)
    neuron = NEURONS[name](time_steps=_STEPS, channels=_SHAPE[0])
    current = torch.randn(_STEPS, _BATCH, *_SHAPE).requires_grad_()
    states = [torch.randn_like(current[0]).requires_grad_() for _ in neuron.states]
    values, gradients = measured(neuron, current, states, instruction_set)
    right, expected = run_steps(neuron, current, states)
    # Tensor.max propagates NaN, unlike Python's max.
    off = float(torch.stack([(a - b).abs().max() for a, b in zip(values, right, strict=True)]).max())
    if off != 0:
        return off
    return off_by(gradients, expected)


def off_by(found: Iterable[Tensor], right: Iterable[Tensor]) -> float | None:
    """Return the largest relative difference between paired tensors, or None if it is within `TOLERANCE`."""
    shares = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, right, strict=True)]
    off = float(torch.stack(shares).max())
    return None if off < TOLERANCE else off


def layer_difference(name: str, instructions: str, *, measured: RunLayer = convolve) -> float | None:
    """Return the error of a compiled convolution of codes, or None if sums are exact and gradients within tolerance."""
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


def fp32_difference(instructions: str, *, measured: Callable[..., Tensor] = convolution) -> float | None:
    """Return the relative error of an fp32 convolution and its gradients, or None if it is within tolerance."""
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


def measure_neurons() -> Iterator[dict[str, Any]]:
    """Measure the error of every neuron's compiled kernel with every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name in NEURONS:
            yield {"instructions": instructions, "neuron": name, "difference": neuron_difference(name, instructions)}


def measure_convolutions() -> Iterator[dict[str, Any]]:
    """Measure the error of every compiled convolution with every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name in LAYERS:
            yield {"instructions": instructions, "layer": name, "difference": layer_difference(name, instructions)}
        yield {"instructions": instructions, "layer": "3x3, fp32", "difference": fp32_difference(instructions)}


MEASURES = {"neurons": measure_neurons, "convolutions": measure_convolutions}

if __name__ == "__main__":
    for found in MEASURES[sys.argv[1]]():
        print(json.dumps(found), flush=True)
