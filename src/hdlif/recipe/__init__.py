"""Recipes: what they state (`Recipe`, `load_recipe`, `dump_recipe`), and what is built from them (`builders`)."""

from hdlif.recipe.config import (
    MOST_NAME_BYTES,
    MOST_TIME_STEPS,
    Component,
    DataConfig,
    FoundConfig,
    InputConfig,
    MixupConfig,
    Recipe,
    SoundConfig,
    TrainingConfig,
    one_component,
)
from hdlif.recipe.faults import ALIASES, explained, recipe_fields, worst
from hdlif.recipe.loading import (
    below,
    data_section,
    dump_recipe,
    load_recipe,
    recipe_text,
    replace_value,
    shipped_recipes,
)

__all__ = [
    "ALIASES",
    "MOST_NAME_BYTES",
    "MOST_TIME_STEPS",
    "Component",
    "DataConfig",
    "FoundConfig",
    "InputConfig",
    "MixupConfig",
    "Recipe",
    "SoundConfig",
    "TrainingConfig",
    "below",
    "data_section",
    "dump_recipe",
    "explained",
    "load_recipe",
    "one_component",
    "recipe_fields",
    "recipe_text",
    "replace_value",
    "shipped_recipes",
    "worst",
]
