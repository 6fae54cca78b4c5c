"""A recipe as a whole: whether everything it names can be built, and fits together."""

import torch

from hdlif.builders.activity import build_penalty
from hdlif.builders.data import input_record
from hdlif.builders.extras import build_mix, check_accumulation
from hdlif.builders.model import build_model
from hdlif.builders.rule import build_training_rule
from hdlif.config import Recipe
from hdlif.errors import RecipeError


def check(recipe: Recipe) -> None:
    """Raise `RecipeError` on the first name or argument of the recipe that cannot be built."""
    shape = input_record(recipe).shape
    build_training_rule(recipe)
    build_penalty(recipe)
    build_mix(recipe)
    check_accumulation(recipe)
    network = build_model(recipe)
    # One image tells whether the network's maps fit the data's.
    try:
        network.eval()(torch.zeros(1, 1, *shape), steps=range(1))
    except RuntimeError as error:
        raise RecipeError(f"model.{recipe.model.kind} does not fit images of {list(shape)}: {error}") from error
