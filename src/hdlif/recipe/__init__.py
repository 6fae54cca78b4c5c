"""Recipes: what they state (`Recipe`, `load_recipe`, `dump_recipe`), and what is built from them (`builders`).

Names are looked up when they are asked for: what needs the files of a run alone imports no pydantic.
"""

from hdlif import names_at

_AT = {
    **dict.fromkeys(
        (
            *("MOST_NAME_BYTES", "MOST_TIME_STEPS", "Component", "DataConfig", "FoundConfig", "InputConfig"),
            *("MixupConfig", "Recipe", "SoundConfig", "TrainingConfig", "one_component"),
        ),
        "config",
    ),
    "ALIASES": "recipe.faults",
    **dict.fromkeys(
        (
            *("below", "data_section", "dump_recipe", "load_recipe", "recipe_text", "replace_value"),
            "shipped_recipes",
        ),
        "recipe.loading",
    ),
}
"""The module of each name; `__init__.pyi` says the same to type checkers."""

__all__ = [*_AT]

__getattr__ = names_at(__name__, _AT)
