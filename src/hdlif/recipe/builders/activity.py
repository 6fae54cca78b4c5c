"""The section `activity`: the penalty on spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.recipe.builders.part import At, Part
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from hdlif.nn import Temporal
    from hdlif.training.activity import Penalty


class Free(Part):
    """Spikes cost nothing."""

    kind: Literal["free"] = "free"


class Surplus(Part):
    """Reduce all spikes alike."""

    MAKES = At("hdlif.training.activity:Surplus")
    kind: Literal["surplus"] = "surplus"
    weight: float = Field(gt=0, description="Weight of the penalty in the loss.")


class Density(Part):
    """Reduce the fraction of spikes that are not zero to a target."""

    MAKES = At("hdlif.training.activity:Density")
    kind: Literal["density"] = "density"
    target: float = Field(ge=0, lt=1, description="Fraction of spikes that may be other than zero.")
    weight: float = Field(1.0, gt=0, description="Weight of the penalty in the loss.")
    per_layer: bool = Field(True, description="Each layer has the target; false gives it to the network as a whole.")


class Sops(Part):
    """Reduce synaptic operations to a budget."""

    MAKES = At("hdlif.training.activity:Budget")
    kind: Literal["sops"] = "sops"
    sops: float | dict[str, float] = Field(
        description="Budget per sample over all steps: of the network, or of layers by name."
    )
    weight: float = Field(1.0, gt=0, description="Weight of the penalty in the loss.")


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
