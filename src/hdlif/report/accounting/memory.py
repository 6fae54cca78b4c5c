"""Measure training memory and steps: the bytes that autograd saves for the backward pass, and the steps that run."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.nn import Neuron


@dataclass
class Saved:
    """Bytes that autograd holds for later backward passes, now and at the peak; made by `watching_saved`.

    A storage that several operations save counts once; a view counts as its whole storage. Tensors held only by a
    function's own context or a network's state are not counted.

    An example is at `watching_saved`.

    Attributes:
        now: bytes held now.
        peak: the largest number of bytes so far.
        peaks: the largest number of bytes by the owner that saved them first, as named by `saver`.
    """

    now: int = 0
    peak: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    _of: dict[str, int] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)
    _owners: dict[int, str] = field(default_factory=dict)

    def take(self, address: int, size: int, owner: str = "") -> None:
        """Count one more saved tensor in the storage at `address`."""
        holders = self._holders.get(address, 0)
        self._holders[address] = holders + 1
        if holders == 0:
            self.now += size
            self.peak = max(self.peak, self.now)
            self._owners[address] = owner
            self._of[owner] = self._of.get(owner, 0) + size
            self.peaks[owner] = max(self.peaks.get(owner, 0), self._of[owner])

    def give(self, address: int, size: int) -> None:
        """Count one saved tensor less."""
        self._holders[address] -= 1
        if self._holders[address] == 0:
            del self._holders[address]
            self.now -= size
            self._of[self._owners.pop(address)] -= size


class _Held:
    """A saved tensor; it lives as long as the graph, so that its address is not reused meanwhile."""

    def __init__(self, tensor: Tensor, saved: Saved, owner: str) -> None:
        # Detached: an output saved by its own node would otherwise keep that node alive, and nothing would be freed.
        self.tensor, self._saved = tensor.detach(), saved
        storage = tensor.untyped_storage()
        self._place = storage.data_ptr(), storage.nbytes()
        saved.take(*self._place, owner)

    def __del__(self) -> None:
        self._saved.give(*self._place)


@contextmanager
def watching_saved(apart: Iterable[Tensor], *, saver: Callable[[], str] = lambda: "") -> Iterator[Saved]:
    """Follow the bytes saved for backward inside the context, as graphs are built and freed.

    >>> import torch
    >>> from hdlif.report.accounting import watching_saved
    >>> x = torch.rand(1000, requires_grad=True)
    >>> with watching_saved([x]) as saved:
    ...     loss = (x.exp() * 2).sum()
    >>> saved.now
    4000

    Args:
        apart: tensors that exist anyway, such as parameters, buffers and the batch; their storages do not count.
        saver: returns the name of the current owner, such as the running layer.
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
    """Bytes of the distinct tensors that `forward()` saves for its backward pass, except the model's own tensors.

    Two steps of four neurons hold more than one step of them:

    >>> import torch
    >>> from hdlif.report.accounting import saved_bytes
    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=8, path="steps")
    >>> one, two = (saved_bytes(lambda: neuron(torch.rand(k, 1, 4), None, range(k)), model=neuron) for k in (1, 2))
    >>> 0 < one < two
    True

    Args:
        forward: the function to run, such as a forward pass and a loss.
        model: the model whose parameters and buffers are not counted.
    """
    with watching_saved([*model.parameters(), *model.buffers()]) as saved:
        # Keep the graph alive until the count is read.
        result = forward()
    peak = saved.peak
    del result
    return peak


@dataclass(frozen=True)
class UpdateCost:
    """The steps and memory of one run of a learning rule.

    An example is at `update_cost`.

    Attributes:
        forward_steps: time steps that a neuron layer ran, with or without a graph; the mean over the layers.
        backward_steps: time steps that a gradient reached; the mean over the layers.
        saved_bytes: the peak of the bytes saved for backward.
    """

    forward_steps: float
    backward_steps: float
    saved_bytes: int


def update_cost(model: nn.Module, update: Callable[[], object], *, batch: Iterable[Tensor] = ()) -> UpdateCost:
    """Run `update()`, which takes `model` through its forward and backward passes, and count.

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
        batch: its tensors, which are in memory anyway and do not count as saved.
        model: a network with neuron layers.
        update: is called once, without arguments.
    Raises:
        ValueError: the model has no neuron layer to count at.
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
