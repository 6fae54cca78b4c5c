"""What the samples of finished trainings are called."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from hdlif.errors import RecipeError
from hdlif.ops import SAMPLE, SampleName
from hdlif.recipe import Recipe, builders
from hdlif.runs.summary import TrainResult


def sample_name_in(results: Iterable[TrainResult]) -> SampleName:
    """The word for a sample in all of these results; a sample where they differ, or do not say."""
    return _shared(_of_one(result.recipe) for result in results)


def sample_name_of_all(recipes: Iterable[Recipe]) -> SampleName:
    """The word for a sample in all of these recipes; a sample where they differ."""
    return _shared(map(builders.sample_name_of, recipes))


def _shared(found: Iterable[SampleName]) -> SampleName:
    names = set(found)
    return names.pop() if len(names) == 1 else SAMPLE


def _of_one(recipe: Any) -> SampleName:
    try:
        return builders.sample_name_of(Recipe.model_validate(recipe))
    # A summary of another version may say less of its recipe.
    except (ValidationError, RecipeError):
        return SAMPLE
