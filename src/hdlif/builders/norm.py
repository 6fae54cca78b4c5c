"""The section `norm`: the batch norms behind the body's convolutions."""

from collections.abc import Callable, Mapping

from hdlif import nn as hnn
from hdlif.builders.arguments import call, choose
from hdlif.config import Recipe
from hdlif.models import NormFactory


def _batch_norm(
    *, time_steps: int, per_step: bool = False, momentum: float | None = 0.1, eps: float = 1e-5
) -> NormFactory:
    rows = time_steps if per_step else None
    # Tried out at once: what is refused is told of this section.
    hnn.BatchNorm2d(1, momentum=momentum, eps=eps)
    return lambda channels: hnn.BatchNorm2d(channels, time_steps=rows, momentum=momentum, eps=eps)


NORMS: Mapping[str, Callable[..., NormFactory]] = {"batch_norm": _batch_norm}


def build_norm(recipe: Recipe) -> NormFactory:
    """What makes the recipe's norms from their channels."""
    make = choose(NORMS, recipe.norm.kind, "norm.kind")
    return call(make, "norm", recipe.norm.arguments, time_steps=recipe.time_steps)
