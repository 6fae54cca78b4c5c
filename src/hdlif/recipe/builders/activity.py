"""The section `activity`: the penalty on spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from hdlif.nn import Temporal
    from hdlif.training.activity import Penalty


class Free(Part, kind="free"):
    """Spikes cost nothing."""


class Surplus(Part, kind="surplus", makes=At("hdlif.training.activity:Surplus")):
    """Reduce all spikes alike."""

    weight: float = field(..., "Weight of the penalty in the loss.", gt=0)


class Density(Part, kind="density", makes=At("hdlif.training.activity:Density")):
    """Reduce the fraction of spikes that are not zero to a target."""

    target: float = field(..., "Fraction of spikes that may be other than zero.", ge=0, lt=1)
    weight: float = field(1.0, "Weight of the penalty in the loss.", gt=0)
    per_layer: bool = field(True, "Each layer has the target; false gives it to the network as a whole.")


class Sops(Part, kind="sops", makes=At("hdlif.training.activity:Budget")):
    """Reduce synaptic operations to a budget."""

    sops: float | dict[str, float] = field(
        ..., "Budget per sample over all steps: of the network, or of layers by name."
    )
    weight: float = field(1.0, "Weight of the penalty in the loss.", gt=0)


PENALTIES = Section[Part]("activity", Free, Surplus, Density, Sops, own=Part, given=("time_steps",))


def build_penalty(recipe: Recipe) -> Penalty | None:
    """Return the recipe's penalty on activity; None if spikes are free."""
    penalty: Penalty | None = PENALTIES.read(recipe.activity).build(time_steps=recipe.time_steps)
    return penalty


def check_budgets(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` if activity.sops names a layer that has no operations to count."""
    budgets = recipe.activity.arguments.get("sops")
    if not isinstance(budgets, dict):
        return
    from hdlif.training.activity import Budget

    layers = [name for name, module in network.named_modules() if isinstance(module, Budget.watches)]
    for name in budgets:
        if name not in layers:
            raise RecipeError(
                f"activity.sops: {brief(name)} is not a layer of the body; {did_you_mean(str(name), layers)}"
            )
