"""Compare the compiled kernels that train neurons with the neurons' steps under autograd, on each instruction set.

A fault may crash the process, so run it separately. It prints one JSON line per measurement:

    python -m hdlif.report.chunks
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdlif._native import instruction_sets
from hdlif.graph.equations import trace_written
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, ParallelHDLIF, SteppedNeuron
from hdlif.nn.kernels.chunk import FusedStep

TOLERANCE = 1e-4
"""Tolerance relative to the largest entry of a gradient. Values must be bit-identical."""
_STEPS, _BATCH, _SHAPE = 5, 3, (4, 67)
NEURONS: Mapping[str, Callable[..., SteppedNeuron]] = {
    "hdlif": HDLIF,
    "parallel_hdlif": ParallelHDLIF,
    "lif": partial(LIF, learned=True),
    "glif": GLIF,
    "adaptive_hdlif": AdaptiveHDLIF,
}
Results = tuple[list[Tensor], list[Tensor]]
Run = Callable[[SteppedNeuron, Tensor, list[Tensor], str], Results]


def run_kernels(neuron: SteppedNeuron, current: Tensor, states: list[Tensor], instruction_set: str) -> Results:
    """Return the kernels' spikes and states of a chunk, and the gradients of the sum of their squares."""
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    rows = written.rows(neuron.rows_at(range(_STEPS), current))
    found = FusedStep(written, instruction_set)(current, states, rows, steps=_STEPS)
    assert found is not None
    return _with_gradients(neuron, current, states, found)


def run_steps(neuron: SteppedNeuron, current: Tensor, states: list[Tensor]) -> Results:
    """Return the same by the neuron's steps under autograd."""
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


def differing(name: str, instruction_set: str, *, measured: Run = run_kernels) -> float | None:
    """Return the largest difference of a value, or of a gradient relative to its largest entry; None for no error."""
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
    """Return the largest difference relative to the largest entry of its tensor; None within `TOLERANCE`."""
    shares = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, right, strict=True)]
    off = float(torch.stack(shares).max())
    return None if off < TOLERANCE else off


def measure() -> Iterator[dict[str, Any]]:
    """Measure every neuron on every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name in NEURONS:
            yield {"instructions": instructions, "neuron": name, "difference": differing(name, instructions)}


if __name__ == "__main__":
    for found in measure():
        print(json.dumps(found), flush=True)
