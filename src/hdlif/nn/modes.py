"""Train and eval mode, borrowed and given back; and the dtype that a network runs in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode inside, in the mode it had before outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def dtype_of(model: nn.Module, x: Tensor) -> torch.dtype:
    """That of a network's first parameter of floating point; of one without any, that of x."""
    return next((one.dtype for one in model.parameters() if one.is_floating_point()), x.dtype)
