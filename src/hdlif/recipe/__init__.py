"""Recipes: what they state (`Recipe`, `load_recipe`, `dump_recipe`), and what is built from them (`builders`)."""

from hdlif.config import (
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
from hdlif.recipe.faults import ALIASES
from hdlif.recipe.loading import (
    below,
    data_section,
    dump_recipe,
    load_recipe,
    recipe_text,
    replace_value,
    shipped_recipes,
)
