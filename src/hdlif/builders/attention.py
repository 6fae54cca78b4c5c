"""The section `attention`: channel attention behind the body's batch norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.builders.arguments import Checked, checked, choose, chosen, keys
from hdlif.builders.places import At, parameters
from hdlif.config import Recipe
from hdlif.errors import RecipeError

if TYPE_CHECKING:
    from hdlif.models import AttentionFactory
    from hdlif.nn import Temporal


def _no_attention() -> None:
    return None


def _seca(*, time_steps: int, per_step: bool = False, kernel_size: int = 5, bias: bool = True) -> AttentionFactory:
    from hdlif.nn import SECA

    make = partial(SECA, kernel_size=kernel_size, bias=bias, time_steps=time_steps if per_step else None)
    make(1)
    return make


def _eca(*, time_steps: int) -> AttentionFactory:
    from hdlif.nn import eca

    return eca


ATTENTIONS: Mapping[str, Callable[..., AttentionFactory | None]] = {"none": _no_attention, "seca": _seca, "eca": _eca}
ATTENTION_FORMS = {"I": At("hdlif.models.blocks:AttentionBlockI"), "II": At("hdlif.models.blocks:AttentionBlockII")}
"""Of residual blocks; a plain network has one form."""


@dataclass(frozen=True)
class CheckedAttention:
    """The section, checked: the argument that gives a network its attention, and what makes that argument."""

    argument: str
    attention: Checked[AttentionFactory | None]
    form: At
    time_steps: int

    def __call__(self) -> dict[str, Any]:
        attention = self.attention(time_steps=self.time_steps)
        return {self.argument: partial(self.form.get(), attention=attention) if self.argument == "block" else attention}


def checked_attention(recipe: Recipe, model: Callable[..., Temporal]) -> CheckedAttention | None:
    """The section, checked beside the network that it is for; None without attention.

    Args:
        model: makes the network; it takes attention as a `block`, which has a form, or as such.
    """
    kind, of_model = recipe.attention.kind, f'model.kind = "{recipe.model.kind}"'
    make = chosen(ATTENTIONS, kind, "attention.kind")
    others = partial(keys, *ATTENTIONS.values())
    arguments = recipe.attention.arguments
    if make is _no_attention:
        checked(make, "attention", arguments, kind=kind, others=lambda: {"form", *others()})
        return None
    has_form, form = "form" in arguments, arguments.pop("form", "I")
    attention = checked(
        make,
        "attention",
        arguments,
        kind=kind,
        others=lambda: {"form", *others()},
        beside=("form",),
        given=("time_steps",),
    )
    block = choose(ATTENTION_FORMS, form, "attention.form")
    accepted = parameters(model)
    argument = "block" if "block" in accepted else "attention"
    if argument not in accepted:
        raise RecipeError(f'attention.kind = "{kind}" does not go with {of_model}; choose none')
    if argument == "attention" and has_form:
        raise RecipeError(f"attention.form does not go with {of_model}, where attention has one form; leave it out")
    return CheckedAttention(argument, attention, block, recipe.time_steps)
