"""A cell of a table, and the data that all rows of one see."""

from pathlib import Path
from typing import Any

from torch import Tensor

from hdlif.data import DataSets, Samples
from hdlif.recipe import Recipe, builders, load_recipe

Cell = dict[str, Any]
"""{"metrics": {name: of the test part}, "parameters", "cpu_seconds", "stored_kb"}; "accuracy" in the place of "metrics"
in records that were written before there was another task than to classify."""


def sets_of(name: str, root: Path) -> tuple[Recipe, DataSets]:
    """A recipe, with what was found in its data, and these."""
    recipe, found = builders.with_data_found(load_recipe(name), root)
    return recipe, builders.build_data(recipe, root, workers=0, found=found)


def steps_of(part: Samples, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Samples as steps [T, B, C], and what is learned of them."""
    x, y = part.sequence(indices)
    return x.flatten(2), y
