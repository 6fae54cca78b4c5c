"""`hdlif train`: from a recipe to a run folder with a trained network and its figures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif import builders
from hdlif.accounting import saved_bytes
from hdlif.config import Recipe, dump_recipe, load_recipe, shipped_recipes
from hdlif.data import Found, ImageSets, Samples
from hdlif.errors import InputError, RecipeError, TrainingError
from hdlif.learning import Plan
from hdlif.measure.allocator import keep_freed_memory
from hdlif.measure.counts import counts, deployed_or_none
from hdlif.measure.evaluation import evaluate_network
from hdlif.measure.peak_memory import peak_memory
from hdlif.nn import evaluation_mode, step_parameters
from hdlif.runs.files import write_json, write_text
from hdlif.runs.folders import MEASURED, begun, check_free, finished
from hdlif.runs.locks import training_alone
from hdlif.runs.own_parts import PARTS, check_parts, keep_parts, saying_what_is_gone
from hdlif.runs.processes import joined, processes
from hdlif.runs.provenance import hardware, versions
from hdlif.runs.recipe_data import as_begun, check_files, load_with_data, write_files
from hdlif.runtime.session import available_cores
from hdlif.training import (
    ActivityPenalty,
    Callback,
    Checkpoints,
    Log,
    Mixing,
    Progress,
    Ranks,
    RunFiles,
    Teaching,
    Trainer,
    check_share,
    progress_bar,
    using_threads,
    warn,
)

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from hdlif.training import Fit, Teacher

PROFILED_IMAGES = 256
"""Test images over which operations are averaged."""


def train(
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    data_root: Path | None = None,
    out: Path | None = None,
    resume: bool | None = False,
    overwrite: bool = False,
    devices: int | None = None,
    nodes: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: bool | Bar = False,
    memory_repeats: int = 3,
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a recipe, measure the result on the test set (read once), and write OUT/summary.json.

    On a CPU the process keeps the memory that it frees from here on (`allocator.keep_freed_memory`).

    Args:
        recipe: a recipe, its file, or the name of one that ships.
        overrides: "a.b=v" each.
        data: the name of a data set, or the path of data of one's own, in place of the recipe's.
        data_root: the folder of the data set, where it is not bundled.
        out: the run folder; runs/NAME by default.
        resume: go on from OUT/last.safetensors; a finished training stays as it is. A recipe that ships, named without
            `data` and `overrides`, is then as OUT was begun with it. None goes on where OUT holds a training of this
            recipe, and starts from the first epoch where not: for a caller that has OUT to itself.
        overwrite: replace the run that OUT holds, of whatever recipe; other files there stay.
        devices: processes on each node, with a GPU each where there are GPUs; by default what torchrun has started,
            or 1. They share every batch. Where torchrun has not, this program is started again for each of the others.
        nodes: machines, likewise.
        workers: processes that make batches, for each device; by default as many as the data set needs.
        threads: PyTorch's and the runtime's. By default those of the training that is resumed, or as many as
            OMP_NUM_THREADS says, or those that are measured to be best (`training.threads`).
        progress: show a bar of one's own, or a task on the bar given.
        memory_repeats: fresh processes that measure peak memory; 0 leaves it out.
        callbacks: of the training, after its own.
        say: gets a line on data of the user's own.
    Returns:
        the content of OUT/summary.json; nothing in other processes than the first.
    Raises:
        InUseError: another process trains in OUT.
        ExistingRunError: OUT holds a run, and neither `resume` nor `overwrite` says what is to become of it.
        InputError: both do.
        CheckpointError: OUT cannot be resumed, or a module of the user's is another than when its training began.
        DataError: the data cannot be used, or are not those that the training was begun with.
    """
    if resume and overwrite:
        raise InputError("--resume goes on with a run and --overwrite replaces it; leave one of them out")
    if resume and data is None and not overrides and isinstance(recipe, str) and processes(devices, nodes)[1] == 1:
        recipe = _kept_recipe(recipe, out or Path("runs") / recipe, say)
    with saying_what_is_gone(out or Path("runs") / (recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem)):
        recipe, found = load_with_data(recipe, overrides, data=data, data_root=data_root, say=say)
    out = out or Path("runs") / recipe.name
    devices, nodes = processes(devices, nodes)
    check_share(recipe.data.batch_size, devices * nodes, paired=recipe.data.mixup is not None)
    fabric = joined(devices, nodes, recipe.training.precision)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    ranks = Ranks(fabric)
    for line in builders.hidden_kinds(recipe) if ranks.first else ():
        say(line)
    if found is not None and ranks.first:
        say(str(found))
    keep = resume is False and not overwrite
    if resume:
        ranks.led(lambda: check_files(out, found))
    if resume is not False and found is not None:
        recipe = ranks.led(partial(as_begun, recipe, out))
    if keep:
        # Said now, and looked at again when the folder is this process's.
        ranks.led(lambda: check_free(out))
    if resume is not False and (summary := ranks.led(lambda: finished(out, recipe))) is not None:
        return summary if ranks.first else {}
    teacher = ranks.together(lambda: builders.build_teacher(recipe))
    sets = ranks.in_turn(lambda: builders.build_data(recipe, data_root, workers=workers, ranks=devices, found=found))
    torch.manual_seed(recipe.seed)
    model = builders.build_model(recipe, pretrained=True)
    with ExitStack() as until_done:
        ranks.led(lambda: until_done.enter_context(training_alone(out)))
        if resume is None:
            # Another process may have finished it while data were made here.
            if (summary := ranks.led(lambda: finished(out, recipe))) is not None:
                return summary if ranks.first else {}
            resume = ranks.led(lambda: begun(out, recipe))
        go_on = bool(resume)
        ranks.led(lambda: _replace_earlier(recipe, found, out, resume=go_on, keep=keep))
        # It holds the pixels of all parts, which the sets have by now.
        found = None
        bar = progress_bar(enabled=progress and ranks.first) if isinstance(progress, bool) else progress
        with nullcontext() if bar is progress else bar:
            trainer = Trainer(
                model,
                rule=builders.build_training_rule(recipe),
                task=builders.build_task(recipe),
                config=recipe.training,
                callbacks=[
                    *_of_recipe(recipe, teacher),
                    Checkpoints(out, recipe=recipe.model_dump(mode="json"), resume=go_on),
                    Log(out),
                    Progress(out.name, bar),
                    *callbacks,
                ],
                batch_size=recipe.data.batch_size,
                seed=recipe.seed,
                optimization=builders.build_optimization(recipe.training),
                fabric=fabric,
                threads=threads,
                cores=None if "OMP_NUM_THREADS" in os.environ else available_cores(),
            )
            fitted = trainer.fit(sets.train, sets.validation)
            if not ranks.first:
                return {}
            with using_threads(fitted.threads.count):
                measured = _measured(model, recipe, sets, out, device=fabric.device, bar=bar)
            summary = {
                **measured,
                "best_epoch": fitted.best_epoch,
                **_validated(measured, fitted),
                "train_seconds": fitted.train_seconds,
                "threads": fitted.threads.as_dict(),
                "peak_bytes": _peak_bytes(recipe, memory_repeats, bar, threads=fitted.threads.count),
                "ranks": ranks.count,
            }
        write_json(out / "summary.json", summary)
        return summary


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


def _of_recipe(recipe: Recipe, teacher: Teacher | None) -> list[Callback]:
    """What a recipe adds to the learning itself."""
    mix, penalty = builders.build_mix(recipe), builders.build_penalty(recipe)
    mixing = [] if mix is None else [Mixing(mix)]
    teaching = [] if teacher is None else [Teaching(teacher)]
    pressing = [] if penalty is None else [ActivityPenalty(penalty)]
    return [*mixing, *teaching, *pressing]


def _validated(measured: Mapping[str, Any], fitted: Fit) -> dict[str, Any]:
    """What the best epoch was on the validation set, beside what is measured on the test set."""
    if measured["accuracy"] is not None:
        return {"validation_accuracy": fitted.metrics["accuracy"], "validation_score": fitted.score}
    metrics = dict(fitted.metrics)
    return {"validation_accuracy": None, "validation_metrics": metrics, "validation_score": fitted.score}


def _measured(
    model: nn.Module, recipe: Recipe, sets: ImageSets, out: Path, *, device: torch.device, bar: Bar
) -> dict[str, Any]:
    """What a finished network is measured to be; writes its recipe, and what a report draws."""
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    # In the precision that it is deployed in, whatever it was trained in.
    measured = measure(model.float(), recipe, sets, device, bar=bar)
    for name, drawn in measured.pop("drawings").items():
        write_text(out / f"{name}.json", json.dumps(drawn) + "\n")
    return {
        "recipe": recipe.model_dump(mode="json"),
        "name": recipe.name,
        "seed": recipe.seed,
        **measured,
        "versions": versions(),
        "hardware": hardware(),
    }


def measure_peak(out: Path, repeats: int, bar: Bar) -> int | None:
    """Measure the peak memory of the training in a run folder, and add it to its summary.json."""
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    recipe = Recipe.model_validate(summary["recipe"])
    peak = _peak_bytes(recipe, repeats, bar, threads=summary["threads"]["count"])
    write_json(out / "summary.json", summary | {"peak_bytes": peak})
    return peak


def _peak_bytes(recipe: Recipe, repeats: int, bar: Bar, *, threads: int) -> int | None:
    """Peak memory of training, or None where none is asked for, or where a process of its own has no room for it."""
    if not repeats:
        return None
    try:
        return peak_memory(recipe, repeats=repeats, threads=threads)
    except TrainingError as error:
        warn(bar, f"{error}; the summary is without it")
        return None


def _replace_earlier(recipe: Recipe, found: Found | None, out: Path, *, resume: bool, keep: bool) -> None:
    """Clear what an earlier training left, which says nothing of this one, unless this one may go on from it.

    Raises:
        ExistingRunError: it is to be kept, or it is none that can be gone on from.
    """
    files = RunFiles(out)
    if resume and files.exist():
        check_parts(recipe, out)
        return
    if keep or (resume and not begun(out, recipe)):
        check_free(out)
    files.clear()
    for name in (*MEASURED, PARTS):
        (out / name).unlink(missing_ok=True)
    keep_parts(recipe, out)
    if found is not None:
        write_files(out, found)
    write_text(out / "recipe.yaml", dump_recipe(recipe))


def measure(
    model: nn.Module, recipe: Recipe, sets: ImageSets, device: torch.device, *, bar: Bar | None = None
) -> dict[str, Any]:
    """What a test set says, operations, sizes and learned neuron parameters of a trained network.

    Args:
        device: where the test set is classified; what is counted is counted on the CPU, where the model is left.
        bar: gets a task for the test set, and a warning where the network has no deployed form; what would be read off
            that is None.
    """
    task = builders.build_task(recipe)
    drawing = task.drawing()
    bar = bar or progress_bar(enabled=False)
    graph = deployed_or_none(model.cpu(), recipe, warn=lambda text: warn(bar, text))
    evaluated = evaluate_network(
        model.to(device),
        sets.test,
        task=task,
        batch_size=recipe.data.batch_size,
        graph=graph if device.type == "cpu" else None,
        observe=drawing,
        device=device,
        bar=bar,
        name=f"{recipe.name}, test",
    )
    test = evaluated.result
    model.cpu()
    in_neurons = set(map(id, step_parameters(model)))
    return {
        **{key: value for key, value in test.as_dict().items() if key not in ("loss", "n")},
        **({} if test.accuracy is not None else {"task": recipe.task.model_dump(mode="json"), "metric": task.metric}),
        "evaluation": evaluated.as_dict(),
        "drawings": drawing.files(),
        **counts(graph or model, recipe, first_images(sets.test, PROFILED_IMAGES)),
        "fp32_mb": 4e-6 * sum(p.numel() for p in model.parameters() if id(p) not in in_neurons),
        "saved_bytes": bytes_saved_by_an_update(model, recipe, sets),
    }


def first_images(images: Samples, count: int) -> list[Tensor]:
    """The first images as batches [T or 1, B, ...] of at most 64."""
    return [x for x, _ in images.first(count).sequences(64)]


def bytes_saved_by_an_update(model: nn.Module, recipe: Recipe, sets: ImageSets) -> int:
    """Bytes saved for backward at the most, by one loss of the recipe's rule on one batch."""
    rule = builders.build_rule(recipe)
    x, target = sets.test.sequence(torch.arange(min(recipe.data.batch_size, len(sets.test))))
    plan = rule.schedule(recipe.time_steps, torch.Generator().manual_seed(recipe.seed))
    first = Plan(plan.time_steps, plan.steps[:1], plan.updates[:1])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # The modes are given back with the state: batch norms of a user's may be frozen.
    with evaluation_mode(model):
        model.train()
        try:
            return saved_bytes(lambda: next(iter(rule(model, x, target, first))), model=model)
        finally:
            model.load_state_dict(state)
