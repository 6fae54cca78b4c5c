"""The section `activity`: the penalty on spikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.places import At
from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, did_you_mean

if TYPE_CHECKING:
    from hdlif.nn import Temporal
    from hdlif.training.activity import Penalty


def _free() -> None:
    return None


PENALTIES: Mapping[str, Callable[..., Penalty | None]] = {
    "free": _free,
    "surplus": At("hdlif.training.activity:Surplus"),
    "density": At("hdlif.training.activity:Density"),
    "sops": At("hdlif.training.activity:Budget"),
}


def build_penalty(recipe: Recipe) -> Penalty | None:
    """The recipe's penalty on activity; None where spikes are free."""
    return checked_penalty(recipe)(**dict.fromkeys(_given(recipe), recipe.time_steps))


def checked_penalty(recipe: Recipe) -> Checked[Penalty | None]:
    """The section, checked."""
    kind = recipe.activity.kind
    make = chosen(PENALTIES, kind, "activity.kind")
    others = partial(keys, *PENALTIES.values())
    return checked(make, "activity", recipe.activity.arguments, kind=kind, others=others, given=_given(recipe))


def _given(recipe: Recipe) -> tuple[str, ...]:
    """What a penalty is given, all of it T."""
    kind = recipe.activity.kind
    return ("time_steps",) if kind == "sops" or kind not in PENALTIES else ()


def check_budgets(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` where activity.sops names a layer that has no operations to count."""
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
