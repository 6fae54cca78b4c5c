"""The ordinary twin of a recipe: the conventional network that a user would otherwise deploy."""

from typing import Any, Literal

from hdlif.config import Component, Recipe, of_kind
from hdlif.errors import RecipeError
from hdlif.recipe.builders.data import CONSTANT, check_data, frames_of

Twin = Literal["ordinary", "low-bit"]

RELU = Component.model_validate({"kind": "parallel_hdlif", "threshold": 0.0, "learned": False})
"""ReLU as a neuron: parallel HD-LIF computes max(m − θ, 0), here with a fixed θ = 0."""


def twin_of(recipe: Recipe, form: Twin) -> Recipe:
    """Return a recipe with the same layers, ReLU in place of neurons, and a single time step (T = 1).

    Data, augmentation, optimiser, epochs and loss do not change. The form "ordinary" has float weights and activations.
    In the form "low-bit", weights and activations have the bit widths of the recipe's weights and spikes.

    Raises:
        RecipeError: the samples change in time, or `form` is "low-bit" and neither weights nor spikes are quantised.
    """
    seen = f"--twin {form}: {recipe.name}"
    if frames_of(recipe.data, check_data(recipe)) != CONSTANT or recipe.training.stream is not None:
        raise RecipeError(
            f"{seen} has input that changes over time, but an ordinary network has one time step; "
            "choose a recipe for still images"
        )
    changes: dict[str, Any] = {
        "name": f"{recipe.name}_{form.replace('-', '_')}",
        "time_steps": 1,
        "norm": _shared_by_steps(recipe.norm),
        "attention": _shared_by_steps(recipe.attention),
        "neuron": RELU,
        "rule": of_kind("stbp"),
        "activity": of_kind("free"),
    }
    if form == "ordinary":
        changes |= {"weights": of_kind("float"), "spikes": of_kind("exact")}
    elif recipe.weights.kind == "float" and recipe.spikes.kind == "exact":
        raise RecipeError(
            f"{seen} has float weights and exact spikes, so its twin has no low bits; give --twin ordinary"
        )
    return recipe.model_copy(update=changes)


def _shared_by_steps(part: Component) -> Component:
    """Return a section without the key `per_step`."""
    stated = {key: value for key, value in part.arguments.items() if key != "per_step"}
    return Component.model_validate({"kind": part.kind, **stated})
