"""A decorator for backward passes without second derivatives."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Backward = Callable[..., Any]


def once_differentiable(backward: Backward) -> Backward:
    """Return a backward pass that raises an error if it is differentiated again.

    With `torch.autograd.function.once_differentiable`, gradients computed with `create_graph` might not depend on any
    tensor, and second derivatives would then silently be 0. With this decorator, gradients computed with `create_graph`
    depend on the incoming gradients, the saved tensors and a dummy tensor.
    """

    @wraps(backward)
    def once(ctx: Any, *gradients: Tensor | None) -> Any:
        with torch.no_grad():
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled():
            return found
        given = [one for one in (*gradients, *ctx.saved_tensors) if isinstance(one, Tensor) and one.requires_grad]
        # A dummy that requires a gradient, so every second derivative reaches `_Last.backward`.
        given.append(torch.zeros(0, requires_grad=True))
        if isinstance(found, tuple):
            return tuple(_led_back(one, given) for one in found)
        return _led_back(found, given)

    return once


def _led_back(found: Tensor | None, given: list[Tensor]) -> Tensor | None:
    made: Tensor | None = None if found is None else _Last.apply(found, *given)  # type: ignore[no-untyped-call]
    return made


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: Tensor, *_: Tensor) -> Tensor:
        return found.view_as(found)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "this backward pass of hdlif has no second derivative; for neurons, compute the steps one by one "
            '(path="steps", neuron.path=steps in a recipe)'
        )
