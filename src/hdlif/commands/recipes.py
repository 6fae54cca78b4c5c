"""`hdlif recipes ls|show|check`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdlif.config import load_recipe, recipe_text, shipped_recipes


def ls() -> dict[str, Any]:
    """The names of the recipes that ship."""
    return {"recipes": shipped_recipes()}


def show(name_or_path: str | Path) -> dict[str, Any]:
    """The text of one recipe, comments included."""
    name, text = recipe_text(name_or_path)
    return {"name": name, "text": text}


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
