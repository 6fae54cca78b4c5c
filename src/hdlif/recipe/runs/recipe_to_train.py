"""The recipe that a training starts with, or goes on with."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hdlif.data import Found
from hdlif.errors import RecipeError
from hdlif.recipe import Recipe, builders, load_recipe, shipped_recipes
from hdlif.recipe.runs.own_parts import saying_what_is_gone
from hdlif.recipe.runs.recipe_data import load_with_data

STREAM_STEPS = 16
"""Most steps per update of a stream, if the recipe has no number."""


def load_recipe_to_train(
    recipe: str | Path | Recipe | None,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    stream: bool = False,
    ranks: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Recipe, Found | None]:
    """Return a recipe that takes an update, and what was found if its data are the user's own.

    Args:
        recipe: a recipe, its file, or the name of one that ships; None for the one that follows from `data`, or that
            the training in `out` was begun with. With `resume` and nothing else, so is a recipe that ships.
        ranks: processes that share a batch.
        stream: train on samples as streams, with `training.stream` steps per update, or, if the recipe has none, the
            most of up to `STREAM_STEPS` that divide its time steps.
    """
    folder = out or Path("runs") / _name(recipe)
    if resume and data is None and not overrides and isinstance(recipe, str):
        recipe = _kept_recipe(recipe, folder, say)
    if recipe is None and data is None and resume and out is not None:
        recipe = out / "recipe.yaml"
    with saying_what_is_gone(folder):
        chosen, found = load_with_data(recipe, overrides, data=data, data_root=data_root, say=say)
        if stream:
            chosen = _as_streams(chosen, say)
        # Our own parts are known to take an update in any combination, but for the traces of some.
        try_it = builders.try_update if builders.names_own_parts(chosen) else builders.try_traces
        try_it(chosen, ranks)
    return chosen, found


def _name(recipe: str | Path | Recipe | None) -> str:
    """Of a recipe, before it is loaded; "" where it follows from data."""
    return recipe.name if isinstance(recipe, Recipe) else Path(recipe or "").stem


def _as_streams(recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """A recipe whose data are known, with streams where it has none. Raises `RecipeError` where it cannot have them."""
    if recipe.training.stream is not None:
        return recipe
    time_steps = recipe.time_steps
    steps = max(n for n in range(1, STREAM_STEPS + 1) if time_steps % n == 0)
    if steps > 1 or time_steps == 1:
        say(
            f"training.stream = {steps}: an update every {f'{steps} steps' if steps > 1 else 'step'}, the most up to "
            f"{STREAM_STEPS} that divide time_steps = {time_steps}; set training.stream to choose them"
        )
    else:
        more = next(n for n in range(2, time_steps + 1) if time_steps % n == 0)
        say(
            f"training.stream = 1: an update every step, for no number from 2 to {STREAM_STEPS} divides time_steps = "
            f"{time_steps}; a rule without traces, such as stbp, then sees no time at all; set training.stream={more}"
        )
    streamed = recipe.model_copy(update={"training": recipe.training.model_copy(update={"stream": steps})})
    builders.check(streamed)
    return streamed


def _kept_recipe(name: str, out: Path, say: Callable[[str], None]) -> str | Path:
    """The recipe in a run folder, where one that ships was changed by options to begin the run, and is named alone."""
    kept = out / "recipe.yaml"
    if name not in shipped_recipes():
        return name
    try:
        begun, named = load_recipe(kept), load_recipe(name)
    except RecipeError:
        return name
    if begun.name != name or begun == named:
        return name
    say(f"{out}: going on with the recipe that it was begun with, {kept}")
    return kept
