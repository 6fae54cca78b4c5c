"""Context managers for eval mode and for passes without side effects, and a function that returns a network's dtype."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set every module to eval mode within a context.

    >>> from torch import nn
    >>> from hdlif.nn import evaluation_mode
    >>> model = nn.Dropout()
    >>> with evaluation_mode(model):
    ...     model.training
    False
    >>> model.training
    True

    Args:
        model: any module.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def left_as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore the random number generators and a model's buffers, such as norm statistics, when a context ends.

    The CPU's generator is always restored, and the generator of `device` is restored if `device` is a CUDA GPU.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def dtype_of(model: nn.Module, x: Tensor) -> torch.dtype:
    """Return the dtype of a network's first floating-point parameter, or the dtype of x if there is none."""
    return next((one.dtype for one in model.parameters() if one.is_floating_point()), x.dtype)
