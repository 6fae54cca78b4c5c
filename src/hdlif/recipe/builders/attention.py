"""The section `attention`: channel attention after the body's norms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from hdlif.errors import RecipeError
from hdlif.recipe.builders.part import At, Part, called, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from hdlif.models import AttentionFactory

ATTENTION_FORMS = {"I": At("hdlif.models.blocks:AttentionBlockI"), "II": At("hdlif.models.blocks:AttentionBlockII")}
"""Of residual blocks; a plain network has one form."""


class NoAttention(Part, kind="none"):
    """No attention."""


class Attention(Part):
    """An attention, with the form of residual blocks that hold it."""

    BESIDE = frozenset({"form"})
    form: Literal["I", "II"] = field("I", "Place of the attention in residual blocks.")


class SECA(Attention, kind="seca"):
    """Spiking efficient channel attention."""

    per_step: bool = field(False, "Learn a kernel for each time step.")
    kernel_size: int = field(5, "Channels that a gate reads, odd.", ge=1)
    bias: bool = field(True, "Give the gate a bias.")

    def build(self, **given: Any) -> AttentionFactory:
        from hdlif import nn

        time_steps = given["time_steps"] if self.per_step else None
        make = partial(nn.SECA, kernel_size=self.kernel_size, bias=self.bias, time_steps=time_steps)
        called(self._section, lambda: make(1), {})
        return make


class ECA(Attention, kind="eca", makes=At("hdlif.nn:eca").get):
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
