"""Which samples are held out: the same for every seed, so that all runs are measured alike."""

import torch
from torch import Tensor

from hdlif.errors import DataError
from hdlif.generated import Content

SPLIT_SEED = 0


def fixed_permutation(n: int) -> Tensor:
    """The numbers 0..n-1, int64 [n], in an order that depends on n alone.

    Validation samples are its last ones, so that a larger set of them contains the smaller.
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))


def check_generated(name: str, content: Content, validation: int) -> None:
    """Raise `DataError` unless there is a validation sample of data that are generated, and they can be made."""
    if validation < 1:
        raise DataError(f"{name}: {validation} validation samples are refused; set validation to 1 or more")
    try:
        content.check_parts(validation)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def check_validation(name: str, validation: int, *, least: int, most: int) -> None:
    """Raise `DataError` unless a number of validation samples leaves something on either side."""
    if not least <= validation <= most:
        raise DataError(f"{name}: {validation} validation images are refused; set validation to {least}..{most}")
