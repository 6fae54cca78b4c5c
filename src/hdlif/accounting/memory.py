"""Training memory: the exact bytes that autograd saves for the backward pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Saved:
    """Bytes that autograd holds for backward passes to come: now, and at the most so far.

    A storage that several operations save counts once, as it lies in memory once; a view counts as the whole of what
    it looks at. What only a function's own context or a network's state holds is not in it.
    """

    now: int = 0
    peak: int = 0
    _holders: dict[int, int] = field(default_factory=dict)

    def take(self, address: int, size: int) -> None:
        """A saved tensor more in the storage at `address`."""
        holders = self._holders.get(address, 0)
        self._holders[address] = holders + 1
        if holders == 0:
            self.now += size
            self.peak = max(self.peak, self.now)

    def give(self, address: int, size: int) -> None:
        """One less."""
        self._holders[address] -= 1
        if self._holders[address] == 0:
            del self._holders[address]
            self.now -= size


class _Held:
    """A saved tensor; it goes with the graph, and an address is not given out twice while it is there."""

    def __init__(self, tensor: Tensor, saved: Saved) -> None:
        # With its graph, an output that its own node saves would keep that node, and nothing be freed.
        self.tensor, self._saved = tensor.detach(), saved
        storage = tensor.untyped_storage()
        self._place = storage.data_ptr(), storage.nbytes()
        saved.take(*self._place)

    def __del__(self) -> None:
        self._saved.give(*self._place)


@contextmanager
def watching_saved(apart: Iterable[Tensor]) -> Iterator[Saved]:
    """Follow the bytes saved for backward inside the context, as graphs are built and freed.

    Args:
        apart: tensors that lie there anyway, such as parameters, buffers and the batch; their storages do not count.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart}
    saved = Saved()

    def pack(tensor: Tensor) -> Tensor | _Held:
        return tensor.detach() if tensor.untyped_storage().data_ptr() in known else _Held(tensor, saved)

    def unpack(packed: Tensor | _Held) -> Tensor:
        return packed.tensor if isinstance(packed, _Held) else packed

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield saved


def saved_bytes(forward: Callable[[], object], *, model: nn.Module) -> int:
    """Bytes of the distinct tensors that `forward()` saves for its backward pass, the model's own tensors apart."""
    with watching_saved([*model.parameters(), *model.buffers()]) as saved:
        # Held until it is read, as the graph is.
        result = forward()
    peak = saved.peak
    del result
    return peak
