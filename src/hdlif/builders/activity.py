"""The section `activity`: the penalty on spikes."""

from collections.abc import Callable, Mapping
from typing import Any

from hdlif.builders.arguments import call, choose
from hdlif.config import Recipe
from hdlif.errors import RecipeError
from hdlif.training import activity
from hdlif.training.activity import Penalty

PENALTIES: Mapping[str, Callable[..., Penalty | None]] = {
    "free": lambda: None,
    "surplus": activity.Surplus,
    "density": activity.Density,
    "sops": activity.Budget,
}


def build_penalty(recipe: Recipe) -> Penalty | None:
    """The recipe's penalty on activity; None where spikes are free."""
    kind = recipe.activity.kind
    make = choose(PENALTIES, kind, "activity.kind")
    if kind == "sops" and recipe.rule.kind in ("ottt", "ndot"):
        raise RecipeError(
            f'activity.kind = "sops" does not go with rule.kind = "{recipe.rule.kind}", whose synapses run on traces; '
            "choose density"
        )
    given: dict[str, Any] = {"time_steps": recipe.time_steps} if kind == "sops" else {}
    return call(make, "activity", recipe.activity.arguments, kind=kind, **given)
