"""Recipes: what they state (`Recipe`, `load_recipe`, `dump_recipe`), and what is built from them (`builders`).

Names are looked up when they are asked for: what needs the files of a run alone imports no pydantic.
"""

from importlib import import_module
from typing import Any

_AT = {
    **dict.fromkeys(
        (
            *("MOST_NAME_BYTES", "MOST_TIME_STEPS", "Component", "DataConfig", "FoundConfig", "InputConfig"),
            *("MixupConfig", "Recipe", "SoundConfig", "TrainingConfig", "one_component"),
        ),
        "hdlif.config",
    ),
    "ALIASES": "hdlif.recipe.faults",
    **dict.fromkeys(
        (
            *("below", "data_section", "dump_recipe", "load_recipe", "recipe_text", "replace_value"),
            "shipped_recipes",
        ),
        "hdlif.recipe.loading",
    ),
}
"""The module of each name; `__init__.pyi` says the same to type checkers."""

__all__ = [*_AT]


def __getattr__(name: str) -> Any:
    if name not in _AT:
        raise AttributeError(f"module 'hdlif.recipe' has no attribute {name!r}")
    return getattr(import_module(_AT[name]), name)
