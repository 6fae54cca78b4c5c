"""Measure the bytes that autograd saves for the backward pass, or derive them from a neuron's equation.

This module also counts the time steps of an update and the operations of a neuron.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.graph.equations import Counts, Needs, Saving, counts
from hdlif.nn import Neuron, SteppedNeuron
from hdlif.nn.fusion import written_step


@dataclass
class Saved:
    """The current and the peak number of bytes that autograd saves for backward passes.

    Each tensor storage is counted once, even if several operations save it. For a view, the entire storage is counted.
    Tensors that are held only by a function's context or a network's state are not counted.

    See `watching_saved` for an example.

    Attributes:
        now: number of bytes now.
        peak: largest number of bytes so far.
        peaks: largest number of bytes for each owner that saved them first, as named by `saver`.
    """

    now: int = 0
    peak: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    _of: dict[str, int] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)
    _owners: dict[int, str] = field(default_factory=dict)

    def take(self, address: int, size: int, owner: str = "") -> None:
        """Count one more saved tensor for the storage at `address`."""
        holders = self._holders.get(address, 0)
        self._holders[address] = holders + 1
        if holders == 0:
            self.now += size
            self.peak = max(self.peak, self.now)
            self._owners[address] = owner
            self._of[owner] = self._of.get(owner, 0) + size
            self.peaks[owner] = max(self.peaks.get(owner, 0), self._of[owner])

    def give(self, address: int, size: int) -> None:
        """Remove one saved tensor from the count for the storage at `address`."""
        self._holders[address] -= 1
        if self._holders[address] == 0:
            del self._holders[address]
            self.now -= size
            self._of[self._owners.pop(address)] -= size


class _Held:
    """A saved tensor that keeps its storage until the autograd graph is freed."""

    def __init__(self, tensor: Tensor, saved: Saved, owner: str) -> None:
        # Detach, because an output saved by its own node would otherwise keep the node alive and never be freed.
        self.tensor, self._saved = tensor.detach(), saved
        storage = tensor.untyped_storage()
        self._place = storage.data_ptr(), storage.nbytes()
        saved.take(*self._place, owner)

    def __del__(self) -> None:
        self._saved.give(*self._place)


@contextmanager
def watching_saved(apart: Iterable[Tensor], *, saver: Callable[[], str] = lambda: "") -> Iterator[Saved]:
    """Track the bytes that autograd saves for backward passes inside a `with` block.

    >>> import torch
    >>> from hdlif.report.accounting import watching_saved
    >>> x = torch.rand(1000, requires_grad=True)
    >>> with watching_saved([x]) as saved:
    ...     loss = (x.exp() * 2).sum()
    >>> saved.now
    4000

    Args:
        apart: tensors that exist anyway, such as parameters, buffers and the batch; their storages do not count.
        saver: function that returns the name of the current owner, such as the running layer.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart}
    saved = Saved()

    def pack(tensor: Tensor) -> Tensor | _Held:
        return tensor.detach() if tensor.untyped_storage().data_ptr() in known else _Held(tensor, saved, saver())

    def unpack(packed: Tensor | _Held) -> Tensor:
        return packed.tensor if isinstance(packed, _Held) else packed

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield saved


def saved_bytes(forward: Callable[[], object], *, model: nn.Module) -> int:
    """Return the number of bytes in distinct tensors that `forward()` saves for the backward pass.

    The tensors of `model` are not counted. Two time steps of four neurons save more bytes than one step:

    >>> import torch
    >>> from hdlif.report.accounting import saved_bytes
    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=8, path="steps")
    >>> one, two = (saved_bytes(lambda: neuron(torch.rand(k, 1, 4), None, range(k)), model=neuron) for k in (1, 2))
    >>> 0 < one < two
    True

    Args:
        forward: function to run, such as a forward pass and a loss.
        model: model whose parameters and buffers are not counted.
    """
    with watching_saved([*model.parameters(), *model.buffers()]) as saved:
        # Keep the graph alive until the count is read.
        result = forward()
    peak = saved.peak
    del result
    return peak


@dataclass(frozen=True)
class UpdateCost:
    """The time steps and memory of one update with a learning rule.

    See `update_cost` for an example.

    Attributes:
        forward_steps: time steps that a neuron layer ran, with or without a graph, as the mean over layers.
        backward_steps: time steps that a gradient reached, as the mean over layers.
        saved_bytes: peak number of bytes saved for backward passes.
    """

    forward_steps: float
    backward_steps: float
    saved_bytes: int


def update_cost(model: nn.Module, update: Callable[[], object], *, batch: Iterable[Tensor] = ()) -> UpdateCost:
    """Run one update of `model` and measure how many time steps and how much memory the update takes.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.report.accounting import update_cost
    >>> from hdlif.learning import STBP
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> rule, x, target = STBP(), torch.rand(4, 5, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> def update():
    ...     for step in rule(model, x, target, rule.schedule(4, torch.Generator())):
    ...         step.loss.backward()
    >>> cost = update_cost(model, update)
    >>> cost.forward_steps, cost.backward_steps
    (4.0, 4.0)

    Args:
        batch: tensors of the batch, which are in memory anyway and do not count as saved.
        model: network with neuron layers.
        update: function that is called once, without arguments.
    Raises:
        ValueError: the model has no neuron layers.
    """
    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    if not neurons:
        raise ValueError(f"{type(model).__name__} has no neuron layer; neurons derive from hdlif.nn.Neuron")
    forward = backward = 0

    def count(module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        nonlocal forward
        _, _, steps = args
        forward += len(steps)
        if output[0].requires_grad:
            output[0].register_hook(lambda grad: count_back(len(steps)))  # type: ignore[no-untyped-call]

    def count_back(steps: int) -> None:
        nonlocal backward
        backward += steps

    hooks = [neuron.register_forward_hook(count) for neuron in neurons]
    try:
        with watching_saved([*model.parameters(), *model.buffers(), *batch]) as saved:
            update()
    finally:
        for hook in hooks:
            hook.remove()
    return UpdateCost(forward / len(neurons), backward / len(neurons), saved.peak)


def step_counts(neuron: SteppedNeuron) -> Counts:
    """Count the operations and state bytes of one neuron per inference step.

    >>> from hdlif.nn import HDLIF
    >>> found = step_counts(HDLIF(time_steps=4))
    >>> found.multiplications, found.additions, found.comparisons, found.operations, found.state_bytes
    (1, 2, 0, 3, 4)

    The counts exclude spike quantisers and recurrent synapses, which are separate ops.

    Args:
        neuron: layer of neurons.
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
    """Return the exact number of bytes that a `path="fused"` layer saves for the backward pass over a chunk of steps.

    The count excludes the bytes of parameter rows (T or T·C values) and of a subsequent quantiser.

    See `bytes_a_step` for an example.

    Args:
        shape: shape of a step, [B, C, ...].
        steps: number of steps in the chunk.
        dtype: dtype of the states, float32 or wider.
        is_constant: whether the current is the same at all steps and is passed once.
        is_carried: whether the states before the chunk have a graph, unlike the states before the first chunk.
        neuron: layer of neurons.
    Raises:
        EquationError: the equation has no program.
    """
    saving = _saving(neuron, shape, steps=steps, is_carried=is_carried)
    size = torch.Size(shape).numel()
    return saving.bytes(steps, size, itemsize=dtype.itemsize, is_constant=is_constant)


def bytes_a_step(neuron: SteppedNeuron) -> float:
    """Return by how many bytes per neuron each additional time step increases `chunk_bytes` in float32.

    >>> from hdlif.report.accounting import bytes_a_step, chunk_bytes
    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=64, learned=False)
    >>> chunk_bytes(neuron, [1, 1000], steps=2) > 0, bytes_a_step(neuron)
    (True, 0.125)

    Args:
        neuron: layer of neurons.
    """
    channels = max(row.shape[1] for row in neuron.row_values().values()) if neuron.row_values() else 1
    saving = _saving(neuron, (1, channels), steps=2)
    # Use eight neurons, because their bits share a byte.
    return (saving.bytes(3, 8) - saving.bytes(2, 8)) / 8


def _saving(neuron: SteppedNeuron, shape: Sequence[int], *, steps: int, is_carried: bool = False) -> Saving:
    """Return a `Saving` that describes the tensors that a neuron saves over a chunk of steps."""
    written = written_step(neuron.equation(), neuron.states, neuron.row_values())
    rows = written.rows(neuron.rows_at(range(steps), torch.empty(steps, *shape, device="meta")))
    asked = tuple(isinstance(row, torch.Tensor) and row.requires_grad for row in rows)
    needs = Needs(True, (is_carried,) * len(neuron.states), asked)
    return Saving(written, needs, is_one_step=steps == 1)
