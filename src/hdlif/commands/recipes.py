"""`hdlif recipes ls|show|check`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hdlif.config import dump_recipe, load_recipe, recipe_text, shipped_recipes
from hdlif.errors import RecipeError


def ls() -> dict[str, Any]:
    """The names of the recipes that ship."""
    return {"recipes": shipped_recipes()}


def show(name_or_path: str | Path) -> dict[str, Any]:
    """The text of one recipe, comments included."""
    name, text = recipe_text(name_or_path)
    return {"name": name, "text": text}


def resolve(name_or_path: str | Path) -> dict[str, Any]:
    """The text of one recipe with its base filled in, as a run folder keeps it."""
    recipe = load_recipe(name_or_path)
    return {"name": recipe.name, "text": dump_recipe(recipe)}


def check_all(
    names: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """`check` each of several recipes, or all that ship; the names of those that are good.

    Raises:
        RecipeError: some are not; it has the fault of each.
    """
    good, faults = [], []
    for name in names or shipped_recipes():
        try:
            good.append(check(name, overrides)["name"])
            say(f"{name}: good")
        except RecipeError as error:
            faults.append(f"{name}: {str(error).removeprefix(f'{name}: ')}")
            say(faults[-1])
    if faults:
        raise RecipeError(f"{len(faults)} of {len(good) + len(faults)} recipes are refused: " + "; ".join(faults))
    return {"recipes": good}


def check(name_or_path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Check keys, types and ranges, then every name and argument; the recipe with every value stated.

    Raises:
        RecipeError: the first thing that would keep the recipe from training.
    """
    # Listing and showing recipes should not wait for torch, which the builders import.
    from hdlif.builders import check as check_parts

    recipe = load_recipe(name_or_path, overrides)
    check_parts(recipe)
    return {"name": recipe.name, "recipe": recipe.model_dump(mode="json")}
