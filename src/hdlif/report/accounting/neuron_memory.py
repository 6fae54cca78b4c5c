"""Derive the costs of a neuron from its equation alone: operations and state per step, and bytes saved for backward."""

from collections.abc import Sequence

import torch

from hdlif.graph.equations import Counts, Needs, Saving, counts
from hdlif.nn import SteppedNeuron
from hdlif.nn.fusion import written_step


def step_counts(neuron: SteppedNeuron) -> Counts:
    """Count the operations and the state of one neuron of the layer, for one step of inference.

    >>> from hdlif.nn import HDLIF
    >>> found = step_counts(HDLIF(time_steps=4))
    >>> found.multiplications, found.additions, found.comparisons, found.operations, found.state_bytes
    (1, 2, 0, 3, 4)

    A quantiser of its spikes and a recurrent synapse are not included, because they are separate ops.

    Args:
        neuron: the layer.
    Raises:
        EquationError: the equation has no program.
    """
    return counts(neuron.program())


def chunk_bytes(
    neuron: SteppedNeuron,
    shape: Sequence[int],
    *,
    steps: int,
    dtype: torch.dtype = torch.float32,
    is_constant: bool = False,
    is_carried: bool = False,
) -> int:
    """Return the exact bytes that autograd holds for the neuron's equation over a chunk with `path="fused"`.

    The neuron decides which parameters are learned. Their rows, T numbers or T·C, exist anyway and are not counted;
    neither are the bytes that a quantiser saves after it.

    An example is at `bytes_a_step`.

    Args:
        shape: shape of a step, [B, C, ...].
        steps: K.
        dtype: of the states; float32 or wider.
        is_constant: whether the current is the same at all steps, and passed once.
        is_carried: whether the states before the chunk have a graph, unlike those of the first chunk.
        neuron: the layer.
    Raises:
        EquationError: the equation has no program.
    """
    saving = _saving(neuron, shape, steps=steps, is_carried=is_carried)
    size = torch.Size(shape).numel()
    return saving.bytes(steps, size, itemsize=dtype.itemsize, is_constant=is_constant)


def bytes_a_step(neuron: SteppedNeuron) -> float:
    """Return the growth of `chunk_bytes` per neuron and step, in float32.

    >>> from hdlif.report.accounting import bytes_a_step, chunk_bytes
    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=64, learned=False)
    >>> chunk_bytes(neuron, [1, 1000], steps=2) > 0, bytes_a_step(neuron)
    (True, 0.125)

    Args:
        neuron: the layer.
    """
    channels = max(row.shape[1] for row in neuron.row_values().values()) if neuron.row_values() else 1
    saving = _saving(neuron, (1, channels), steps=2)
    # Eight neurons, because their bits share a byte.
    return (saving.bytes(3, 8) - saving.bytes(2, 8)) / 8


def _saving(neuron: SteppedNeuron, shape: Sequence[int], *, steps: int, is_carried: bool = False) -> Saving:
    """Return what a chunk of the neuron saves if its current has a gradient."""
    written = written_step(neuron.equation(), neuron.states, neuron.row_values())
    rows = written.rows(neuron.rows_at(range(steps), torch.empty(steps, *shape, device="meta")))
    asked = tuple(isinstance(row, torch.Tensor) and row.requires_grad for row in rows)
    needs = Needs(True, (is_carried,) * len(neuron.states), asked)
    return Saving(written, needs, is_one_step=steps == 1)
