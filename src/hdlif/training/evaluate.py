"""A network on a data set, and what its task measures there."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from hdlif.nn import evaluation_mode
from hdlif.training.tasks import Each, Evaluation, Task, Total

Batches = Iterable[tuple[Tensor, Tensor]]
"""(x [T or 1, B, ...], target [B, ...])."""


def evaluate(
    model: nn.Module,
    batches: Batches,
    *,
    task: Task,
    observe: Callable[[Tensor, Tensor], None] | None = None,
    total: Total = lambda sums: sums,
    each: Each | None = None,
    device: torch.device | None = None,
) -> Evaluation:
    """Run every sample through all steps, and measure the outputs as the task says; modules keep their modes.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, Sequential
    >>> from hdlif.training.tasks import Classify
    >>> from hdlif.training import evaluate
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> batches = [(torch.rand(4, 5, 2), torch.tensor([0, 1, 2, 0, 1]))]
    >>> evaluate(model, batches, task=Classify(("a", "b", "c"), time_steps=4)).n
    5

    Args:
        model: called as `model(x, steps=range(T))`.
        batches: pairs of x [T or 1, B, ...] and target [B, ...].
        task: what is measured.
        observe: gets the outputs [T, B, n] and the target of every batch.
        total, each: the sum over ranks, and the tensors of all, where each has its own part of the samples.
        device: the model's, where batches are to be moved there.
    Raises:
        DataError: there is no sample.
        InputError: a further metric of the task fails.
    """
    tally = task.tally()
    for outputs, target in answered(model, batches, time_steps=task.time_steps, device=device):
        tally(outputs, target)
        if observe is not None:
            observe(outputs, target)
    return tally.evaluation(total, each)


def answered(
    model: nn.Module, batches: Batches, *, time_steps: int, device: torch.device | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The outputs [T, B, n] and the target of every batch, in eval mode; modules keep their modes.

    Args:
        model, batches, device: as of `evaluate`.
        time_steps: T.
    """
    for batch in batches:
        x, target = (tensor.to(device) for tensor in batch)
        # no_grad, not inference_mode: a tensor that a module keeps could never be trained through again.
        with evaluation_mode(model), torch.no_grad():
            outputs, _ = model(x, steps=range(time_steps))
        yield outputs, target
