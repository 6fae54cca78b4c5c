"""Ranks: the processes of a training run, each of which trains on its share of every batch.

Only the first rank reads and writes the run folder, and the first rank's exit code is the run's exit code. If a rank
fails, all ranks exchange the error before they stop, so no rank waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hdlif.errors import DataError, HdlifError, RecipeError, TrainingError
from hdlif.nn import Gather
from hdlif.training.accelerator import Accelerator

_T = TypeVar("_T")


def gathered(tensor: Tensor) -> Tensor:
    """Gather the tensors of all ranks in rank order, [ranks, ...]; every rank gets the same bits."""
    tensors = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(tensors, tensor)
    return torch.stack(tensors)


def check_share(batch_size: int, ranks: int, *, paired: bool = False, name: str = "batch_size") -> None:
    """Raise `RecipeError` unless a batch can be split into equal shares for all ranks.

    Args:
        batch_size: samples per batch, over all ranks.
        ranks: number of ranks.
        paired: whether the samples of a share are mixed in pairs.
        name: name of the setting, for the error.
    """
    unit = 2 * ranks if paired and ranks > 1 else ranks
    if batch_size % unit:
        nearest = max(1, round(batch_size / unit)) * unit
        if batch_size < ranks:
            reason = "there are more ranks than samples"
        elif batch_size % ranks:
            reason = "the shares would not be equal"
        else:
            reason = "mixup pairs the samples of a share, which would be odd"
        raise RecipeError(
            f"{name} = {batch_size} is the total over {ranks} ranks, and {reason}; "
            f"set a multiple of {unit}, such as {nearest}, or choose another number of devices"
        )


class Ranks:
    """Collective operations of a training run; all ranks call the same methods in the same order.

    With one rank, every method is a no-op.

    Args:
        accelerator: accelerator of the training run.
    Attributes:
        count: number of ranks, on all nodes.
        index: index of this rank, from 0.
        first: whether this is rank 0.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.count, self.index = accelerator.world_size, accelerator.rank
        self.first = self.index == 0

    def shares(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return this rank's contiguous part of each batch; joined in rank order, the parts form the batch.

        A last batch with fewer samples than ranks is merged into the previous batch, so every rank gets a part.

        Raises:
            DataError: the only batch has fewer members than there are ranks.
        """
        whole = list(batches)
        if whole and len(whole[-1]) < self.count:
            if len(whole) == 1:
                raise DataError(
                    f"{len(whole[0])} samples cannot be shared by {self.count} ranks; use fewer devices, or more data"
                )
            whole[-2:] = [torch.cat(whole[-2:])]
        return [batch.tensor_split(self.count)[self.index] for batch in whole]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over ranks; every rank gets the same bits."""
        return values if self.count == 1 else gathered(values.to(self.accelerator.device)).sum(0).to(values.device)

    @property
    def each(self) -> Callable[[Tensor], list[Tensor]] | None:
        """Return a function that gathers a tensor of any size from each rank, or None if there is only one rank."""
        return None if self.count == 1 else self._each

    def _each(self, tensor: Tensor) -> list[Tensor]:
        from torchmetrics.utilities.distributed import gather_all_tensors

        return [of_one.to(tensor.device) for of_one in gather_all_tensors(tensor.to(self.accelerator.device))]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over ranks; with several ranks, the mean is detached from the autograd graph."""
        return values if self.count == 1 else self.sum(values.detach()) / self.count

    def mean_value(self, value: float) -> float:
        """Return the mean of a number over ranks; if the number is not finite on one rank, neither is the mean."""
        return value if self.count == 1 else float(self.mean(torch.tensor(value, dtype=torch.float64)))

    def exchange(self, sums: Sequence[float], highest: Sequence[int]) -> tuple[list[float], list[int]]:
        """Return sums and maxima over ranks, computed in one reduction; every rank gets the same bits."""
        if self.count == 1:
            return list(sums), list(highest)
        packed = torch.tensor([*sums, *highest], dtype=torch.float64, device=self.accelerator.device)
        of_all = gathered(packed)
        summed, largest = of_all[:, : len(sums)].sum(0), of_all[:, len(sums) :].amax(0)
        return summed.tolist(), [int(number) for number in largest.tolist()]

    def highest(self, value: int) -> int:
        """Return the maximum over ranks."""
        return value if self.count == 1 else int(gathered(torch.tensor(value, device=self.accelerator.device)).max())

    def together(self, action: Callable[[], _T]) -> _T:
        """Return the result of `action`. If a rank fails, the first rank raises the error; the others exit with code 0.

        Launchers kill all processes when one process fails, so only the first rank's exit code may be an error.
        """
        if self.count == 1:
            return action()
        result, error = None, None
        try:
            result = action()
        except HdlifError as raised:
            error = raised
        errors: list[HdlifError | None] = [None] * self.count
        dist.all_gather_object(errors, error)
        failed = next((error for error in errors if error is not None), None)
        if failed is not None:
            raise failed if self.first else SystemExit(0)
        return result  # type: ignore[return-value]

    def led(self, action: Callable[[], _T]) -> _T:
        """Run `action` only on the first rank, and return its result on every rank; an error ends all ranks."""
        if self.count == 1:
            return action()
        result = self.together(action if self.first else lambda: None)
        shared: list[Any] = [result]
        dist.broadcast_object_list(shared, src=0)
        chosen: _T = shared[0]
        return chosen

    def in_turn(self, action: Callable[[], _T]) -> _T:
        """Run `action` on the first rank of every node, then on the other ranks, which can reuse files on disk."""
        if self.count == 1:
            return action()
        leads = self.accelerator.local_rank == 0
        early = self.together(action if leads else lambda: None)
        late = self.together((lambda: None) if leads else action)
        return early if leads else late  # type: ignore[return-value]

    def seed_name(self, purpose: str) -> str:
        """Return the name of this rank's own random stream for `purpose`."""
        return purpose if self.first else f"{purpose} of rank {self.index}"

    @property
    def gather(self) -> Gather | None:
        """Return the function that batch norms use to gather statistics from all ranks, or None for one rank."""
        return None if self.count == 1 else gathered

    @contextmanager
    def lost_ranks_named(self) -> Iterator[None]:
        """Raise `TrainingError` if this rank loses contact with another rank."""
        try:
            yield
        except RuntimeError as error:
            # NCCL has an exception type for it; gloo's message has the source line where a connection broke.
            if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
                raise
            reason = str(error).splitlines()[0].split(". ")[0]
            raise TrainingError(
                f"rank {self.index} lost contact with another rank ({reason}); check that rank's output, and resume"
            ) from error
