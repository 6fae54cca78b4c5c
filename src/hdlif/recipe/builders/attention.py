"""The section `attention`: channel attention after the body's norms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from hdlif.errors import RecipeError
from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from hdlif.models import AttentionFactory

ATTENTION_FORMS = {"I": At("hdlif.models.blocks:AttentionBlockI"), "II": At("hdlif.models.blocks:AttentionBlockII")}
"""Of residual blocks; a plain network has one form."""


def _seca(*, time_steps: int, per_step: bool = False, kernel_size: int = 5, bias: bool = True) -> AttentionFactory:
    from hdlif.nn import SECA

    make = partial(SECA, kernel_size=kernel_size, bias=bias, time_steps=time_steps if per_step else None)
    make(1)
    return make


def _eca() -> AttentionFactory:
    from hdlif.nn import eca

    return eca


class NoAttention(Part, kind="none"):
    """No attention."""


class Attention(Part):
    """An attention, with the form of residual blocks that hold it."""

    BESIDE = frozenset({"form"})
    form: Literal["I", "II"] = field("I", "Place of the attention in residual blocks.")


class SECA(Attention, kind="seca", makes=_seca):
    """Spiking efficient channel attention."""

    per_step: bool = field(False, "Learn a kernel for each time step.")
    kernel_size: int = field(5, "Channels that a gate reads, odd.", ge=1)
    bias: bool = field(True, "Give the gate a bias.")


class ECA(Attention, kind="eca", makes=_eca):
    """Efficient channel attention as published."""


ATTENTIONS = Section[Part]("attention", NoAttention, SECA, ECA, own=Attention, given=("time_steps",))


def read_attention(recipe: Recipe, argument: Literal["block", "attention"] | None) -> Attention | None:
    """Check the section; None is no attention.

    Args:
        argument: of the network, that takes attention: a block, which has a form, or an attention.
    """
    kind = recipe.attention.kind
    part = ATTENTIONS.read(recipe.attention)
    if not isinstance(part, Attention):
        return None
    of_model = f'model.kind = "{recipe.model.kind}"'
    if argument is None:
        raise RecipeError(f'attention.kind = "{kind}" does not go with {of_model}; choose none')
    if argument == "attention" and "form" in part.model_fields_set:
        raise RecipeError(f"attention.form does not go with {of_model}, where attention has one form; leave it out")
    return part


def attention_arguments(recipe: Recipe, argument: Literal["block", "attention"] | None) -> dict[str, Any]:
    """Return the argument that gives a network its attention; none without attention."""
    part = read_attention(recipe, argument)
    if part is None or argument is None:
        return {}
    attention = part.build(time_steps=recipe.time_steps)
    return {
        argument: partial(ATTENTION_FORMS[part.form].get(), attention=attention) if argument == "block" else attention
    }
