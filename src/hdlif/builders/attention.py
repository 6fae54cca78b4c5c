"""The section `attention`: channel attention behind the body's batch norms."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hdlif import models
from hdlif import nn as hnn
from hdlif.builders.arguments import call, choose, keys
from hdlif.config import Recipe
from hdlif.errors import RecipeError
from hdlif.models import AttentionFactory, Network


def _no_attention() -> None:
    return None


def _seca(*, time_steps: int, per_step: bool = False, kernel_size: int = 5, bias: bool = True) -> AttentionFactory:
    arguments = {"kernel_size": kernel_size, "bias": bias, "time_steps": time_steps if per_step else None}
    hnn.SECA(1, **arguments)  # type: ignore[arg-type]
    return lambda channels: hnn.SECA(channels, **arguments)  # type: ignore[arg-type]


def _eca(*, time_steps: int) -> AttentionFactory:
    return hnn.eca


ATTENTIONS: Mapping[str, Callable[..., AttentionFactory | None]] = {"none": _no_attention, "seca": _seca, "eca": _eca}
ATTENTION_FORMS = {"I": models.AttentionBlockI, "II": models.AttentionBlockII}
"""Of residual blocks; a plain network has one form."""


def attention_arguments(recipe: Recipe, model: Callable[..., Network]) -> dict[str, Any]:
    """The argument that gives a network of the recipe its attention, if any.

    Args:
        model: makes the network; it takes attention as a `block`, which has a form, or as such.
    """
    kind, of_model = recipe.attention.kind, f'model.kind = "{recipe.model.kind}"'
    make = choose(ATTENTIONS, kind, "attention.kind")
    arguments = recipe.attention.arguments
    given: dict[str, Any] = {}
    if make is not _no_attention:
        given = {"time_steps": recipe.time_steps, "beside": ("form",)}
        arguments.pop("form", None)
    attention = call(
        make, "attention", arguments, kind=kind, others=lambda: {"form", *keys(*ATTENTIONS.values())}, **given
    )
    if attention is None:
        return {}
    form = choose(ATTENTION_FORMS, recipe.attention.arguments.get("form", "I"), "attention.form")
    accepted = inspect.signature(model).parameters
    if "block" in accepted:
        return {"block": partial(form, attention=attention)}
    if "attention" not in accepted:
        raise RecipeError(f'attention.kind = "{kind}" does not go with {of_model}; choose none')
    if "form" in recipe.attention.arguments:
        raise RecipeError(f"attention.form does not go with {of_model}, where attention has one form; leave it out")
    return {"attention": attention}
