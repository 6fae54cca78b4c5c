"""Trainings as tests begin them: `hdlif train`, with callbacks, and its result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdlif.cli.training_run import TrainingOptions, train_recipe
from hdlif.recipe import Recipe
from hdlif.recipe.runs.recipe_data import load_recipe_to_train
from hdlif.recipe.runs.summary import TrainResult


def train(
    recipe: str | Path | Recipe | None,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    out: str | Path | None = None,
    stream: bool = False,
    **options: Any,
) -> TrainResult:
    given = TrainingOptions(**options)
    folder = None if out is None else Path(out)
    loaded, found = load_recipe_to_train(
        recipe,
        overrides=overrides,
        data=data,
        out=folder,
        data_root=given.data_root,
        resume=bool(given.resume),
        stream=stream,
        say=given.say,
    )
    result = train_recipe(loaded, folder or Path("runs") / loaded.name, given, found=found)
    assert result is not None
    return result
