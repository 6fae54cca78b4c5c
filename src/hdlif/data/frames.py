"""Frames of events as a network is shown them."""

from collections.abc import Callable

from torch import Tensor


def stepwise(time_steps: int) -> Callable[[Tensor], Tensor]:
    """What a network is shown of frames kept as channels: [B, T·2, H, W] to [T, B, 2, H, W]."""

    def shown(x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.reshape(n, time_steps, 2, height, width).transpose(0, 1)

    return shown
