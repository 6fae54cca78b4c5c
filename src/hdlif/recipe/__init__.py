"""Read and write recipes and, with `builders`, build objects from recipes.

Names are imported lazily, so code that reads run files does not import Pydantic.
"""

from hdlif import names_at

_AT = {
    **dict.fromkeys(
        (
            *("MOST_NAME_BYTES", "MOST_TIME_STEPS", "Component", "DataConfig", "FoundConfig", "InputConfig"),
            *("MixupConfig", "Recipe", "SoundConfig", "StartConfig", "TrainingConfig", "one_component"),
        ),
        "config",
    ),
    "ALIASES": "recipe.faults",
    **dict.fromkeys(
        (
            *("below", "changed", "data_section", "dump_recipe", "load_recipe", "recipe_text", "replace_value"),
            "shipped_recipes",
        ),
        "recipe.loading",
    ),
}
"""Module of each name; `__init__.pyi` repeats this for type checkers."""

__all__ = [*_AT]

__getattr__ = names_at(__name__, _AT)
