"""The outputs so far, by which a class is chosen after each step."""

import torch
from torch import Tensor


def so_far(outputs: Tensor, first: int) -> Tensor:
    """The sum of the outputs so far, [T, B, n], by which the answer after each step is chosen; from `first` on.

    Before it, an answer is of the step's own outputs.
    """
    return torch.cat([outputs[:first], outputs[first:].cumsum(0)])
