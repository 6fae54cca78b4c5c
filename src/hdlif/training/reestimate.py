"""Batch-norm statistics measured over all time steps.

A rule that stops at a random step shows late steps less often to batch norm, so its running statistics lean
to the early ones. Here every step counts alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hdlif.errors import DataError
from hdlif.nn import BatchNorm2d, MemBN, evaluation_mode
from hdlif.training.evaluate import Batches


def reestimate(model: nn.Module, batches: Batches, *, time_steps: int) -> None:
    """Replace the statistics of every `BatchNorm2d` and `MemBN` by their mean over batches and T steps, in place.

    Meanwhile a batch norm normalises by the batch, as in training; all other modules are in eval mode.
    Batches of equal size give each image the same weight.

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
        model, batches: as of `evaluate`.
        time_steps: T.
    Raises:
        DataError: there is no batch.
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
    """`reestimate` for the time of the context; afterwards the training statistics are back.

    Args:
        model, batches, time_steps: as of `reestimate`.
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
