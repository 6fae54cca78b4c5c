"""Random changes of series (Um et al. 2017), [B, C, T, 1], each sample's from its own 64 bits."""

import torch
from torch import Tensor

from hdlif.data.draws import Bits, of_each
from hdlif.errors import DataError

AXES = 3


def jittered(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Of normalised ones: normal noise on each value, in units of its channel's deviation: x + σ·n."""
    return of_each(lambda one: one + deviation * torch.randn(one.shape), list(x), bits)


def scaled(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Of normalised ones: each channel of a series times a factor of its own, normal about 1: (1 + σ·n)·x."""
    return of_each(lambda one: one * (1 + deviation * torch.randn(len(one), 1, 1)), list(x), bits)


def rotated(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Of raw ones: the sensors turned, as where a phone sits otherwise in its pocket.

    Channels are in threes, x, y and z of a sensor each. All of a sample turn by one rotation, of the vector σ·n: by
    |σ·n| radians about its direction.

    Raises:
        DataError: the channels are not in threes.
    """
    if x.shape[1] % AXES:
        raise DataError(f"rotate turns channels in threes, x, y and z of a sensor each; the series has {x.shape[1]}")

    def turned(one: Tensor) -> Tensor:
        a, b, c = (deviation * torch.randn(AXES)).tolist()
        turn = torch.linalg.matrix_exp(torch.tensor([[0, -c, b], [c, 0, -a], [-b, a, 0]], dtype=one.dtype))
        result: Tensor = (turn @ one.reshape(-1, AXES, one.shape[1])).reshape(one.shape)
        return result

    return of_each(turned, list(x), bits)
