"""Load recipes and inspect their data for subcommands that build a recipe's network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hdlif import run_folder
from hdlif.errors import DataError, RecipeError, cut, say_nothing
from hdlif.recipe import Component, DataConfig, Recipe, builders, changed, load_recipe, replace_value, shipped_recipes
from hdlif.recipe.builders import defaults
from hdlif.recipe.builders.own_data import STARTS, STARTS_OF_PLACES
from hdlif.recipe.runs.files import write_text
from hdlif.recipe.runs.own_parts import saying_what_is_gone

if TYPE_CHECKING:
    from torch import Tensor

    from hdlif.data import OwnData

MOST_SEED = 2**32 - 1
STREAM_STEPS = 16
"""Maximum number of steps per update of a stream, if the recipe does not set the number."""
NOTHING_TO_TRAIN = (
    "no recipe, data or trained network is given; give RECIPE (`hdlif recipes ls`), --data PATH or --from NAME"
)
SMALLER = 3
"""Divisor of a recipe's learning rate, which suits a random start, if training starts from trained weights.

In transfer from digits_hdlif to 200 images of MNIST (three seeds), 3 is 3 points better than 1 or 10 if the classes are
the same. If the last layer is new, 3 is as good as 1 and 6 points better than 10.
"""


def load_with_data(
    recipe: str | Path | Recipe | None,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    data_root: Path | None = None,
    say: Callable[[str], None] = say_nothing,
) -> tuple[Recipe, OwnData | None]:
    """Return a recipe that can be built, and the properties of the custom data, if any.

    If overrides replace the data or change generated data, `time_steps` is set to the length of the time series. An
    override of `time_steps` takes precedence.

    Args:
        recipe: a recipe, its file, or the name of a shipped recipe; None derives the recipe from the data.
        overrides: overrides "a.b=v".
        data: data that replace the recipe's own: a data set's name, the name of a folder in `data_root`, or a path.
        data_root, say: as in `with_data_found`.
    """
    data = in_root(data, data_root)
    if recipe is None:
        return _following_from_data(overrides, data=data, data_root=data_root, say=say)
    if data is not None:
        base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        overrides = [*builders.data_overrides(base, data), *overrides]
    if isinstance(recipe, Recipe):
        loaded = changed(recipe, overrides) if overrides else recipe
    else:
        loaded = load_recipe(recipe, overrides)
    builders.check_names(loaded)
    chosen, found = builders.with_data_found(loaded, data_root, say=say)
    stated = {override.partition("=")[0].strip() for override in overrides}
    if "time_steps" not in stated and _are_other_data(stated, loaded):
        chosen = builders.with_steps_of_data(chosen, say=say)
    builders.check(chosen)
    return chosen, found


def _following_from_data(
    overrides: Sequence[str], *, data: str | None, data_root: Path | None, say: Callable[[str], None]
) -> tuple[Recipe, OwnData]:
    """Inspect custom data, derive a recipe with `builders.defaults`, and print the choices."""
    if data is None:
        raise RecipeError(NOTHING_TO_TRAIN)
    if data in builders.DATA:
        raise RecipeError(f"--data {data} is a built-in data set; give a recipe for it (`hdlif recipes ls`)")

    keys = [override.partition("=")[0].strip() for override in overrides]
    kind = builders.found_kind(builders.kind_by_keys(data, [key.removeprefix("data.") for key in keys]))
    is_map = kind is not None and kind.located == "map"
    if is_map and "data.instances" not in keys:
        raise RecipeError(
            f"{data}: do the numbers in its maps identify objects or classes? --set data.instances=true, or "
            "--set data.instances=false"
        )
    known = STARTS_OF_PLACES.get((kind and kind.located) or "")
    start = known or STARTS[(kind and kind.samples) or "image"][1]
    task = ["task={kind: segment}"] if is_map and "data.instances=false" in overrides else []

    def loaded(start: str, *changes: str) -> Recipe:
        own = [*builders.data_overrides(load_recipe(start), data), f"name={json.dumps(_name_of(data))}", *task]
        return load_recipe(start, [*own, *changes])

    # Other sections may belong to a network that has not been chosen yet.
    of_data = [one for key, one in zip(keys, overrides, strict=True) if key.partition(".")[0] in ("data", "task")]
    keys_of_data = [one for one in of_data if one.lstrip().startswith("data")]
    of_target = [] if "task" in keys else builders.task_choices(loaded(start, *keys_of_data))
    task += [one.override for one in of_target]
    first = loaded(start, *(["data.size=null"] if known else []), *of_data)
    builders.check_names(first)
    found = builders.look_for(first, root=data_root, known=None, say=say)
    start = known or STARTS[found.input.kind][1]
    chosen = [*of_target, *defaults.choices(found, overrides)]
    recipe = loaded(start, *(one.override for one in chosen), *overrides)
    builders.check_names(recipe)
    same = recipe.data.arguments == first.data.arguments and recipe.data.size == first.data.size
    stated, again = builders.with_data_found(recipe, data_root, found=found if same else None, say=say)
    assert again is not None, "they are the user's own"
    say(f"a recipe from the sizes of the data, based on {start}; replace any value with --set KEY=VALUE:")
    for one in chosen:
        say(str(one))
    builders.check(stated)
    return stated, again


def _name_of(data: str) -> str:
    """Return a name for a run, derived from the data: a filename stem, a folder name, or `Name` from `module:Name`."""
    name = Path(data.rpartition(":")[2] if builders.is_items(data) else os.path.abspath(data)).stem  # noqa: PTH100
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "data"


def with_class_weights(
    recipe: Recipe,
    root: Path | None = None,
    found: OwnData | None = None,
    *,
    say: Callable[[str], None] = say_nothing,
) -> Recipe:
    """Return the recipe with "balanced" class weights computed from training samples, and report the weights."""

    def labels() -> Tensor:
        builders.check_names(recipe)
        return builders.build_data(recipe, root, found=found).train.labels

    weighed = builders.with_class_weights(recipe, labels)
    if weighed is not recipe:
        counted = cast("list[float]", weighed.task.arguments["class_weights"])
        weights = zip(builders.data_kind(weighed).labels, counted, strict=True)
        say(f"class weights: {cut(', '.join(f'{name} {weight:.3g}' for name, weight in weights), 300)}")
    return weighed


def _are_other_data(stated: Collection[str], recipe: Recipe) -> bool:
    """Return whether any of the keys replaces the recipe's data or sets an argument of generated data."""
    kind = builders.DATA.get(recipe.data.kind)
    own = () if kind is None else kind.defaults
    return not set(stated).isdisjoint(["data", "data.kind", "data.path", *(f"data.{key}" for key in own)])


class Looks:
    """A function that inspects the data of several recipes but reads each custom data set only once."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._stated: dict[str, dict[str, Any]] = {}
        self._weighed: dict[str, Component] = {}

    def __call__(self, recipe: Recipe) -> Recipe:
        """Return the recipe, completed with the properties of its data and with class weights."""
        stated = self._with_data(recipe)
        key = stated.model_dump_json(include={"data", "task", "time_steps"})
        if key not in self._weighed:
            self._weighed[key] = with_class_weights(stated, self._root).task
        return stated.model_copy(update={"task": self._weighed[key]})

    def _with_data(self, recipe: Recipe) -> Recipe:
        section = recipe.data
        if builders.found_kind(section.kind) is None:
            return recipe
        key = json.dumps([section.kind, section.size, section.frames, section.arguments], sort_keys=True)
        if key not in self._stated:
            looked = builders.with_data_found(recipe, self._root)[0].data
            self._stated[key] = looked.arguments | {"found": looked.found}
        stated = DataConfig.model_validate(section.model_dump() | self._stated[key])
        return recipe.model_copy(update={"data": stated})


def data_keys(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys and values in overrides of the form "data.KEY=VALUE". Raises `RecipeError`."""
    found: dict[str, Any] = {"data": {}}
    for override in overrides:
        key, equals, _ = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if section != "data" or not (equals and dot and name):
            raise RecipeError(f"--set {cut(override)} is refused; give data.KEY=VALUE, for example data.window=64")
        if name.partition(".")[0] == "path":
            raise RecipeError(
                f"--set {cut(override)} is not supported; give the path of the data as an argument of the command"
            )
        replace_value(found, override)
    keys: dict[str, Any] = found["data"]
    return keys


def names_path(data: str | None) -> bool:
    """Return whether the value of `--data` names existing custom data rather than a shipped data set."""
    return data is not None and data not in builders.DATA and builders.is_there(data)


def in_root(data: str | None, root: Path | None) -> str | None:
    """Return the path ROOT/NAME if `--data NAME` exists only in ROOT, and otherwise NAME itself."""
    if data is None or root is None or data in builders.DATA or builders.is_there(data):
        return data
    return str(root / data) if builders.is_there(str(root / data)) else data


def is_recipe(target: str) -> bool:
    """Return whether a target is a recipe, which is a YAML file or a name that does not match any file or folder."""
    if target.endswith((".yaml", ".yml")):
        return True
    return not Path(target).exists() and Path(target).name == target and not target.endswith(".safetensors")


def write_files(out: Path, found: OwnData) -> None:
    """Write the manifest of the data at the start of a training run."""
    write_text(out / run_folder.DATA_FILES, found.manifest.text())


def as_begun(recipe: Recipe, out: Path) -> Recipe:
    """Return the recipe. If its data equal those of the run in `out`, replace its data path with the run's."""
    try:
        begun = load_recipe(out / run_folder.RECIPE).data
    except RecipeError:
        return recipe
    if begun.found is None or begun.found != recipe.data.found or "path" not in begun.arguments:
        return recipe
    moved = recipe.data.model_dump() | {"path": begun.arguments["path"]}
    return recipe.model_copy(update={"data": DataConfig.model_validate(moved)})


def check_files(out: Path, found: OwnData | None, recipe: Recipe) -> None:
    """Raise `DataError` if the data files have changed since the training run in `out` began.

    The check is skipped if the run in `out` and the recipe differ in the kind of data or in settings.
    """
    from hdlif.data.manifest import changes, read_manifest

    if found is None or not os.path.lexists(out / run_folder.DATA_FILES) or _is_another(out, recipe):
        return
    if changed := changes(read_manifest(out / run_folder.DATA_FILES), found.manifest):
        seen = f"{found.path}: has changed since the training in {out} began: {changed}"
        raise DataError(f"{seen}; restore it to resume, or train again with --overwrite or another --out")


def _is_another(out: Path, recipe: Recipe) -> bool:
    """Return whether the recipe in `out` differs from `recipe` in its kind of data or outside the `data` section."""
    try:
        begun = load_recipe(out / run_folder.RECIPE)
    except RecipeError:
        return False
    own, kept = (one.model_dump(exclude={"data", "time_steps"}) for one in (recipe, begun))
    for one in (own, kept):
        # Class weights are derived from the data.
        one.get("task", {}).pop("class_weights", None)
    return begun.data.kind != recipe.data.kind or own != kept


def load_recipe_to_train(
    recipe: str | Path | Recipe | None,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    stream: bool = False,
    twin: builders.Twin | None = None,
    start: str | None = None,
    ranks: int = 1,
    say: Callable[[str], None] = say_nothing,
) -> tuple[Recipe, OwnData | None]:
    """Return a recipe whose network can be trained, and the properties of the custom data, if any.

    Args:
        recipe: as in `load_with_data`. With `resume` and without `data` and `start`, None stands for the recipe in
            `out`. That recipe also replaces a shipped recipe if no other argument changes the recipe.
        ranks: number of processes that share a batch.
        stream: train on samples as streams, with `training.stream` steps per update or, by default, the largest
            divisor of `time_steps` up to `STREAM_STEPS`.
        twin: train the ordinary network with the same layers instead, from `builders.twin_of`.
        start: trained network to start from. Its recipe is the default, and the learning rate is divided by `SMALLER`
            unless an override sets it.
    """
    # A recipe derived from data has no name yet.
    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe or "").stem
    folder = out or Path("runs") / name
    if resume and data is start is twin is None and not overrides and isinstance(recipe, str):
        recipe = _kept_recipe(recipe, folder, say)
    if recipe is None and data is start is None and resume and out is not None:
        recipe = out / run_folder.RECIPE
    if start is not None:
        recipe, overrides = _starting_from(start, recipe, overrides, in_root(data, data_root), say)
    with saying_what_is_gone(folder):
        chosen, found = load_with_data(recipe, overrides, data=data, data_root=data_root, say=say)
        if twin is not None:
            chosen = builders.twin_of(chosen, twin)
            builders.check(chosen)
        if stream:
            chosen = _as_streams(chosen, say)
        # All combinations of shipped parts can be trained, except that a rule with traces may not support a network.
        try_it = builders.try_update if builders.names_own_parts(chosen) else builders.try_traces
        try_it(chosen, ranks)
    return chosen, found


def _starting_from(
    start: str,
    recipe: str | Path | Recipe | None,
    overrides: Sequence[str],
    data: str | None,
    say: Callable[[str], None],
) -> tuple[Recipe, list[str]]:
    """Return the recipe and the overrides for fine-tuning a trained network."""
    section, base = builders.read_start(start)
    own = []
    if recipe is None and data is not None:
        own.append(f"name={json.dumps(_name_of(data))}")
        if "class_weights" in base.task.arguments:
            own.append("task.class_weights=balanced")
        kind = builders.found_kind(builders.kind_at(data)) if data not in builders.DATA else None
        channels = builders.input_record(base).shape[0]
        if kind is not None and kind.samples == "image" and channels in (1, 3):
            own.append(f"data.channels={channels}")
            say(f"data.channels = {channels}, as {start} takes them")
    chosen = recipe or base
    if not isinstance(chosen, Recipe):
        chosen = load_recipe(chosen, overrides)
    training = chosen.training
    if {"training", "training.learning_rate"}.isdisjoint(one.partition("=")[0].strip() for one in overrides):
        rate = training.learning_rate / SMALLER
        say(f"training.learning_rate = {rate:g}, the rate of {chosen.name} divided by {SMALLER}; --set replaces it")
        training = training.model_copy(update={"learning_rate": rate})
    return chosen.model_copy(update={"start": section, "training": training}), [*own, *overrides]


def _as_streams(recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """Return the recipe with `training.stream` set. Raises `RecipeError` if the recipe does not support streams."""
    if recipe.training.stream is not None:
        return recipe
    time_steps = recipe.time_steps
    steps = max(n for n in range(1, STREAM_STEPS + 1) if time_steps % n == 0)
    every = f"training.stream = {steps}: an update every {f'{steps} steps' if steps > 1 else 'step'}"
    if steps > 1 or time_steps == 1:
        most = f"the largest number up to {STREAM_STEPS} that divides time_steps = {time_steps}"
        say(f"{every}, {most}; set training.stream to change this")
    else:
        more = next(n for n in range(2, time_steps + 1) if time_steps % n == 0)
        say(
            f"{every}, because no number from 2 to {STREAM_STEPS} divides time_steps = {time_steps}; a rule "
            f"without traces, such as stbp, then has no gradient through time; set training.stream={more}"
        )
    streamed = recipe.model_copy(update={"training": recipe.training.model_copy(update={"stream": steps})})
    builders.check(streamed)
    return streamed


def _kept_recipe(name: str, out: Path, say: Callable[[str], None]) -> str | Path:
    """Return the path of a run folder's recipe if it differs from the shipped recipe of that name, otherwise `name`."""
    kept = out / run_folder.RECIPE
    if name not in shipped_recipes():
        return name
    try:
        begun, named = load_recipe(kept), load_recipe(name)
    except RecipeError:
        return name
    if begun.name != name or begun == named:
        return name
    say(f"{out}: resuming with its original recipe, {kept}")
    return kept


def seeds_from(first: int, count: int) -> range:
    """Return `count` consecutive seeds, beginning with `first`. Raises `RecipeError` if a seed exceeds the limit."""
    if (last := first + count - 1) > MOST_SEED:
        raise RecipeError(f"{count} seeds from {first} on end at {last}; a seed is at most {MOST_SEED}")
    return range(first, first + count)
