"""Training memory: the exact bytes that autograd saves for the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_bytes(forward: Callable[[], object], *, model: nn.Module) -> int:
    """Bytes of the distinct tensors that `forward()` saves for its backward pass, the model's own parameters apart.

    A storage that several operations save counts once, as it lies in memory once.
    """
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}
    # Saved tensors are kept alive here, so that no address is given out twice.
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(seen.values())
