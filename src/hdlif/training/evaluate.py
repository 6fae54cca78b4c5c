"""Evaluate a network on a data set, and re-estimate batch-norm statistics over all time steps.

If a rule stops at a random step, batch norm processes fewer late steps than early steps. The running statistics are
then biased towards early steps. Re-estimated statistics weight all time steps equally.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hdlif.errors import DataError
from hdlif.nn import BatchNorm2d, MemBN, evaluation_mode
from hdlif.training.tasks import Each, Evaluation, Task, Total

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches (x [T or 1, B, ...], target [B, ...])."""


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
    """Evaluate every sample over all steps, and compute the task's metrics; afterwards, restore each module's mode.

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
        model: network that is called as `model(x, steps=range(T))`.
        batches: pairs of x [T or 1, B, ...] and target [B, ...].
        task: defines the metrics.
        observe: called with the outputs [T, B, n] and the target of every batch.
        total, each: sum over ranks and gather from ranks, if each rank has its own part of the samples.
        device: device to which batches are moved, if given.
    Raises:
        DataError: there are no samples.
        InputError: an additional metric of the task fails.
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
    """Yield the outputs [T, B, n], computed in eval mode, and the target of each batch.

    Args:
        model, batches, device: as in `evaluate`.
        time_steps: T.
    """
    for batch in batches:
        x, target = (tensor.to(device) for tensor in batch)
        # no_grad, not inference_mode: tensors stored by a module must stay trainable.
        with evaluation_mode(model), torch.no_grad():
            outputs, _ = model(x, steps=range(time_steps))
        yield outputs, target


def reestimate(model: nn.Module, batches: Batches, *, time_steps: int) -> None:
    """Replace the statistics of every `BatchNorm2d` and `MemBN` with means over all batches and T steps, in place.

    During re-estimation, batch norms use batch statistics, as in training, while all other modules are in eval mode.
    All images have the same weight if all batches have the same size.

    >>> import torch
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> from hdlif.training import reestimate
    >>> model = resnet(neuron=lambda place: HDLIF(2), blocks=[1], width=4, classes=3, in_channels=1)
    >>> batches = [(torch.rand(1, 4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))]
    >>> reestimate(model, batches, time_steps=2)
    >>> model.stem[1].num_batches_tracked.item()
    2

    Args:
        model, batches: as in `evaluate`.
        time_steps: T.
    Raises:
        DataError: there are no batches.
    """
    norms = _batch_norms(model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with evaluation_mode(model), torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = None
            norm.forget(time_steps)
        try:
            for x, _ in batches:
                model(x, steps=range(time_steps))
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    if not norms[0].num_batches_tracked.any():
        raise DataError("there is no batch to measure batch norm's statistics on; give at least one")


@contextmanager
def reestimated(model: nn.Module, batches: Batches, *, time_steps: int) -> Iterator[None]:
    """Apply `reestimate` inside the context; the training statistics are restored afterwards.

    Args:
        model, batches, time_steps: as in `reestimate`.
    """
    kept = [(buffer, buffer.clone()) for norm in _batch_norms(model) for buffer in norm.buffers(recurse=False)]
    try:
        reestimate(model, batches, time_steps=time_steps)
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def _batch_norms(model: nn.Module) -> list[BatchNorm2d | MemBN]:
    return [module for module in model.modules() if isinstance(module, BatchNorm2d | MemBN)]
