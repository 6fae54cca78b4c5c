"""The section `activity`: the penalty on spikes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hdlif.builders.arguments import call, choose, keys
from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.models import Network
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
    given: dict[str, Any] = {"time_steps": recipe.time_steps} if kind == "sops" else {}
    others = partial(keys, *PENALTIES.values())
    return call(make, "activity", recipe.activity.arguments, kind=kind, others=others, **given)


def check_budgets(recipe: Recipe, network: Network) -> None:
    """Raise `RecipeError` where activity.sops names a layer that has no operations to count."""
    budgets = recipe.activity.arguments.get("sops")
    if not isinstance(budgets, dict):
        return
    layers = [name for name, module in network.named_modules() if isinstance(module, activity.Budget.watches)]
    for name in budgets:
        if name not in layers:
            raise RecipeError(
                f"activity.sops: {brief(name)} is no layer of the body; {did_you_mean(str(name), layers)}"
            )
