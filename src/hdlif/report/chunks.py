"""Compare the compiled kernels that train neurons with PyTorch's operations, on each instruction set.

A fault may end the process, so run it as one of its own. It prints a line of JSON per measurement:

    python -m hdlif.report.chunks
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdlif._native import instruction_sets
from hdlif.equations import trace_written
from hdlif.kernels.chunk import FusedStep
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, ParallelHDLIF, SteppedNeuron

TOLERANCE = 1e-4
"""Of the largest entry of a gradient. Values are the same bits."""
_STEPS, _BATCH, _SHAPE = 5, 3, (4, 67)
_CPU = torch.device("cpu")
NEURONS: Mapping[str, Callable[..., SteppedNeuron]] = {
    "hdlif": HDLIF,
    "parallel_hdlif": ParallelHDLIF,
    "lif": partial(LIF, learned=True),
    "glif": GLIF,
    "adaptive_hdlif": AdaptiveHDLIF,
}
Run = Callable[[FusedStep, Tensor, list[Any], list[Any]], tuple[list[Tensor], list[Tensor]]]


def run(step: FusedStep, current: Tensor, states: list[Any], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Spikes and states of a chunk, and the gradients of the sum of their squares by all that is given."""
    spikes, after = step(current, states, rows, steps=_STEPS)
    leaves = [one for one in (current, *states, *rows) if isinstance(one, Tensor) and one.requires_grad]
    loss = spikes.square().sum() + sum(state.square().sum() for state in after)
    return [spikes.detach(), *(one.detach() for one in after)], list(torch.autograd.grad(loss, leaves))


def differing(
    name: str, instructions: str, *, measured: Run = run, device: torch.device = _CPU, batch: int = _BATCH
) -> float | None:
    """By how much a neuron's chunk differs: of values, or as a share of a gradient's largest entry; None for right.

    Args:
        instructions: whose kernels, as `FusedStep` takes them.
    """
    torch.manual_seed(0)
    neuron = NEURONS[name](time_steps=_STEPS, channels=_SHAPE[0]).to(device)
    current = torch.randn(_STEPS, batch, *_SHAPE, device=device).requires_grad_()
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    states: list[Any] = [torch.randn_like(current[0]).requires_grad_() for _ in neuron.states]
    rows = [
        row.detach().requires_grad_() if isinstance(row, Tensor) else row
        for row in written.rows(neuron.rows_at(range(_STEPS), current))
    ]
    values, gradients = measured(FusedStep(written, kernels=instructions), current, states, rows)
    right, expected = run(FusedStep(written, kernels=None), current, states, rows)
    # The largest of several that are no numbers is none either, of tensors.
    off = float(torch.stack([(a - b).abs().max() for a, b in zip(values, right, strict=True)]).max())
    if off != 0:
        return off
    return off_by(gradients, expected)


def off_by(found: Iterable[Tensor], right: Iterable[Tensor]) -> float | None:
    """Return the largest difference, as a share of the largest entry of its tensor; None within `TOLERANCE`."""
    shares = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, right, strict=True)]
    off = float(torch.stack(shares).max())
    return None if off < TOLERANCE else off


def measure() -> Iterator[dict[str, Any]]:
    """Every neuron on every instruction set."""
    yield {"instruction_sets": instruction_sets()}
    for instructions in instruction_sets():
        for name in NEURONS:
            yield {"instructions": instructions, "neuron": name, "difference": differing(name, instructions)}


if __name__ == "__main__":
    for found in measure():
        print(json.dumps(found), flush=True)
