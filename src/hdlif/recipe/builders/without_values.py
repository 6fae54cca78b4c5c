"""Building a network without values: shapes alone, on torch's "meta" device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_AS_IT_IS = (Tensor.normal_, Tensor.uniform_)
"""What most modules start from. Its form for this device imports torch._dynamo, which takes
longer than building a network."""


class _Undrawn(TorchFunctionMode):
    """Draws nothing."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if function in _AS_IT_IS else function(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, tensors are made without values, and torch's random state stays as it is."""
    with torch.device("meta"), _Undrawn():
        yield
