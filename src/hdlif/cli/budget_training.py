"""Implement `hdlif train --budget`, which changes layers during training to meet a budget.

OUT/budget.json contains the budget, the recipe before any choice, and all choices made so far. After a choice, `hdlif`
first writes OUT/budget.json and then converts the checkpoint and recipe.yaml to the chosen recipe. Tensors that fit the
chosen recipe are kept. You can interrupt training at any point and resume it exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from hdlif import run_folder
from hdlif.cli.training_run import TrainingOptions, train_recipe
from hdlif.data import OwnData, batches
from hdlif.errors import CheckpointError, RecipeError
from hdlif.recipe import Recipe, builders, dump_recipe
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.recipe_data import with_class_weights
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.budget import OF_ACTIVITY, BudgetSearch, fitting, untrained
from hdlif.report.channels import narrowed
from hdlif.report.choices import Budget, Chosen, Costs
from hdlif.training import Batch, Callback, RunFiles, Training, checkpoint
from hdlif.training.checkpoints import newest_whole
from hdlif.training.state_record import Counters
from hdlif.whole_files import read_regular

BATCHES = 8
"""Number of training batches over which gradients are averaged."""
AVERAGE = "callbacks.Averaging.average."
"""Prefix of the names of averaged weights in a checkpoint."""
MOST_BYTES = 2**24
"""Maximum size of OUT/budget.json in bytes."""


def train_within_budget(
    recipe: Recipe, budget: str | None, out: Path, options: TrainingOptions, *, found: OwnData | None = None
) -> TrainResult:
    """Train a recipe and choose its layer options during training.

    Args:
        budget: the budget, such as "nops=70%,mb=2.5"; None to resume the training in `out` with its own budget.
    Raises:
        RecipeError: the budget is invalid, or no choice stays within it.
        CheckpointError: the training in `out` has no budget, another budget or another recipe.
    """
    check_alone("--budget", options.devices, options.nodes)
    if options.resume and (out / run_folder.BUDGET).exists():
        plan = _resumed(out, recipe, budget)
    elif options.resume and RunFiles(out).exist():
        raise CheckpointError(
            f"{out}: the run was started without --budget; remove it to resume, or train again with --overwrite"
        )
    else:
        recipe = with_class_weights(recipe, options.data_root, found, say=options.say)
        plan = {"budget": budget, "recipe": recipe.model_dump(mode="json"), "choices": []}
        _check(recipe, Budget.read(budget or ""), options, found)
    base, limits = Recipe.model_validate(plan["recipe"]), Budget.read(plan["budget"])
    while True:
        chosen = Recipe.model_validate(plan["choices"][-1]["recipe"]) if plan["choices"] else base
        if plan["choices"]:
            take_over(chosen, out)
            options = replace(options, resume=True, overwrite=False)
        stops = choosing_epochs(base)[len(plan["choices"]) :]
        if not stops:
            break
        pausing = Pausing(stops[0], plan, out / run_folder.BUDGET)
        with suppress(Pause):
            train_recipe(chosen, out, replace(options, callbacks=[*options.callbacks, pausing]), found=found)
        original = plan["choices"][0]["before"] if plan["choices"] else None
        choice = _choose(_with_channels_of(chosen, base), chosen, limits, out, options, found, original)
        options.say(f"after epoch {stops[0]}, {len(choice.choice)} layers change to keep within {plan['budget']}:")
        for line in (*(f"{name}: {option}" for name, option in choice.choice.items()), *choice.totals()):
            options.say(f"  {line}")
        plan["choices"].append({"epoch": stops[0], **choice.as_dict()})
        write_json(out / run_folder.BUDGET, plan)
    result = train_recipe(chosen, out, options, found=found)
    assert result is not None, "there is one process"
    return result


def choose_untrained(recipe: Recipe, budget: str, options: TrainingOptions, *, found: OwnData | None = None) -> Chosen:
    """Choose layer options based on the untrained network."""
    search = _search(recipe, Budget.read(budget), {}, options, found, BATCHES)
    return search.choose(search.build(recipe))


def choosing_epochs(recipe: Recipe) -> list[int]:
    """Return the epochs after which layer options are chosen: a quarter and half of the total number of epochs."""
    epochs = recipe.training.epochs
    return sorted({max(1, epochs // 4), max(1, epochs // 2)})


def take_over(recipe: Recipe, out: Path) -> None:
    """Convert a checkpoint to another recipe if necessary, keeping the tensors that fit the new network.

    The previous network's best epoch is discarded.
    """
    files, stated = RunFiles(out), recipe.model_dump(mode="json")
    saved = newest_whole(files.last, files.previous)
    if saved.record["recipe"] != stated:
        start = Counters(score_epoch=saved.record["counters"]["epoch"])
        of_best = {name: one for name, one in asdict(start).items() if name.startswith(("best", "score"))}
        counters = {**saved.record["counters"], **of_best}
        record = {**saved.record, "recipe": stated, "counters": counters}
        checkpoint.save(files.last, tensors=_taken_over(saved.tensors, recipe), record=record)
        for path in (files.previous, files.best, files.final):
            path.unlink(missing_ok=True)
    write_text(out / run_folder.RECIPE, dump_recipe(recipe))


def _taken_over(tensors: Mapping[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """Return the tensors in a training state that fit the network of another recipe."""
    network = untrained(recipe)
    own = network.state_dict()
    parameters = dict(network.named_parameters())
    tensors = narrowed(tensors, network, _of_network, "model.")
    of_model = {name.removeprefix("model."): one for name, one in tensors.items() if name.startswith("model.")}
    kept = {f"model.{name}": one for name, one in {**own, **fitting(of_model, network)}.items()}
    for name, one in tensors.items():
        place, _, of = name.partition(".")
        fits = of in parameters and one.shape in (torch.Size(), parameters[of].shape)
        if place != "model" and (fits or not place.startswith("optimizer")):
            kept[name] = one
    if recipe.training.ema_decay is not None:
        # The average of a new parameter starts at its value.
        for name in parameters:
            value, average = kept[f"model.{name}"], tensors.get(AVERAGE + name)
            fits = average is not None and average.shape == value.shape
            kept[AVERAGE + name] = average if fits else value.clone()
    return kept


def _of_network(name: str) -> str:
    """Return the name that a checkpoint tensor has in the network."""
    return name.removeprefix(AVERAGE) if name.startswith(AVERAGE) else name.partition(".")[2]


class Pause(BaseException):
    """Raised when training reaches an epoch after which layer options are chosen."""


class Pausing(Callback):
    """A callback that writes the plan for a budget, and raises `Pause` once `epochs` epochs have been saved."""

    def __init__(self, epochs: int, plan: Mapping[str, Any], path: Path) -> None:
        self.epochs, self.plan, self.path = epochs, plan, path

    def on_train_start(self, training: Training) -> None:
        write_json(self.path, self.plan)

    def on_batch_start(self, training: Training, batch: Batch) -> None:
        if training.counters.epoch >= self.epochs:
            raise Pause


def _check(recipe: Recipe, budget: Budget, options: TrainingOptions, found: OwnData | None) -> None:
    """Raise `RecipeError` if the recipe cannot be trained within a budget."""
    training = recipe.training
    if training.stream is not None:
        raise RecipeError("--budget and training.stream cannot be combined; remove one of them")
    if training.epochs < 2:
        raise RecipeError(
            f"--budget requires at least 2 epochs, but training.epochs = {training.epochs}; set 2 or more"
        )
    # Training changes firing rates.
    steady = {name: number for name, number in budget.numbers.items() if name not in OF_ACTIVITY}
    if steady:
        _search(recipe, Budget(steady, budget.relative & steady.keys()), {}, options, found, 1).check_feasible()


def _with_channels_of(chosen: Recipe, base: Recipe) -> Recipe:
    """Return the original recipe, but with the reduced channel counts of the chosen recipe."""
    inner = chosen.model.arguments.get("inner")
    return base if inner is None else base.model_copy(update={"model": base.model.model_copy(update={"inner": inner})})


def _choose(
    base: Recipe,
    trained: Recipe,
    budget: Budget,
    out: Path,
    options: TrainingOptions,
    found: OwnData | None,
    original: Costs | None,
) -> Chosen:
    """Choose layer options based on the newest checkpoint in `out`."""
    files = RunFiles(out)
    network = untrained(trained)
    checkpoint.load_model(newest_whole(files.last, files.previous).path, network)
    search = _search(base, budget, network.state_dict(), options, found, BATCHES, original)
    return search.choose(network.float())


def _search(
    recipe: Recipe,
    budget: Budget,
    tensors: Mapping[str, Tensor],
    options: TrainingOptions,
    found: OwnData | None,
    count: int,
    original: Costs | None = None,
) -> BudgetSearch:
    """Return a budget search that uses training batches without augmentation."""
    samples = builders.build_data(recipe, options.data_root, workers=options.workers, found=found).train.plain()
    size = min(recipe.data.batch_size, len(samples))
    order = batches(len(samples), batch_size=size, seed=recipe.seed, epoch=0, drop_last=True)
    batches_of = [samples.sequence(indices) for indices in order[:count]]
    return BudgetSearch(recipe, budget, tensors, batches_of, original=original)


def _resumed(out: Path, recipe: Recipe, budget: str | None) -> dict[str, Any]:
    """Return the plan of an interrupted training run, or raise `CheckpointError` if the recipe or budget differs."""
    path = out / run_folder.BUDGET
    try:
        plan: dict[str, Any] = json.loads(read_regular(path, most=MOST_BYTES))
        recipes = [Recipe.model_validate(one["recipe"]) for one in (plan, *plan["choices"])]
        Budget.read(plan["budget"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError, RecipeError) as error:
        raise CheckpointError(f"{path}: is damaged; train again with --overwrite") from error
    if budget is not None and budget != plan["budget"]:
        raise CheckpointError(
            f'{path}: the run was started with --budget "{plan["budget"]}"; resume with it, or train again with '
            "--overwrite"
        )
    # The task may differ: training replaces "balanced" class weights by numbers.
    if not any(one.model_copy(update={"task": recipe.task}) == recipe for one in recipes):
        raise CheckpointError(
            f"{path}: belongs to another recipe; resume with {out / 'recipe.yaml'}, or train again with --overwrite"
        )
    return plan
