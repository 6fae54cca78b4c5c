"""The device, the precision and the distributed setup of a training run."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIXED = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_NO_COPIES: dict[str, Any] = {
    # The buffers belong to batch norm and are equal on all ranks. The option has this name since torch 2.13.
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


class Accelerator:
    """The device and precision in which networks run, and the distributed setup of their processes.

    >>> from hdlif.training import Accelerator
    >>> Accelerator("cpu", "bf16-mixed").world_size
    1

    Args:
        device: by default the first GPU, or the CPU if there is none.
        precision: "32-true", "16-mixed", "bf16-mixed" or "64-true". On a CPU "16-mixed" computes in bfloat16, unless
            there is a `scaler`.
        rank, world_size: index of this process and number of processes.
        local_rank: index of this process on its node.
        scaler: scales the losses in float16.
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        precision: str = "32-true",
        *,
        rank: int = 0,
        world_size: int = 1,
        local_rank: int = 0,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.device = torch.device(_best_device() if device is None else device)
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        on_cpu = self.device.type == "cpu"
        if precision == "16-mixed" and scaler is None:
            precision, scaler = ("bf16-mixed", None) if on_cpu else (precision, torch.amp.GradScaler(self.device.type))
        self.precision, self.scaler = precision, scaler

    def setup(self, model: nn.Module) -> nn.Module:
        """Move a model to the device and return it, wrapped in DDP if there are several ranks."""
        model.to(self.device, torch.float64 if self.precision == "64-true" else None)
        if self.world_size == 1:
            return model
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(model, device_ids=devices, **_NO_COPIES)

    def to_device(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Move tensors to the device."""
        return tuple(one.to(self.device, non_blocking=self.device.type == "cuda") for one in tensors)

    def convert(self, x: Tensor) -> Tensor:
        """Return an input in the network's dtype."""
        dtype = torch.float64 if self.precision == "64-true" else _MIXED.get(self.precision)
        return x.to(dtype) if dtype is not None and x.is_floating_point() else x

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which torch computes in the accelerator's precision."""
        if self.precision == "64-true":
            return _double_by_default()
        dtype = _MIXED.get(self.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def backward(self, loss: Tensor) -> None:
        """Back-propagate a loss, which is scaled first if there is a scaler, and accumulate the gradients."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def without_averaging(self, wrapped: nn.Module, *, enabled: bool) -> AbstractContextManager[Any]:
        """Return a context in which backward passes do not average their gradients over ranks."""
        return wrapped.no_sync() if enabled and isinstance(wrapped, DistributedDataParallel) else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state, or {} if there is no scaler."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        if self.scaler is not None:
            self.scaler.load_state_dict(state)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def _double_by_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
