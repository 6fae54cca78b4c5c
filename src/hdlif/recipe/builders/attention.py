"""The section `attention`: channel attention after the body's norms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hdlif.errors import RecipeError
from hdlif.recipe.builders.part import At, Part
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


class NoAttention(Part):
    """No attention."""

    kind: Literal["none"] = "none"


class Attention(Part):
    """An attention, with the form of residual blocks that hold it."""

    BESIDE = frozenset({"form"})
    form: Literal["I", "II"] = Field("I", description="Place of the attention in residual blocks.")


class SECA(Attention):
    """Spiking efficient channel attention."""

    MAKES = staticmethod(_seca)
    kind: Literal["seca"] = "seca"
    per_step: bool = Field(False, description="Learn a kernel for each time step.")
    kernel_size: int = Field(5, ge=1, description="Channels that a gate reads, odd.")
    bias: bool = Field(True, description="Give the gate a bias.")


class ECA(Attention):
    """Efficient channel attention as published."""

    MAKES = staticmethod(_eca)
    kind: Literal["eca"] = "eca"


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
