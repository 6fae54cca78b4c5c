"""Train a recipe in a run folder, for `hdlif train` and all other subcommands that train."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn

from hdlif import run_folder
from hdlif.data import DataSets, OwnData
from hdlif.errors import HdlifError, InputError, TrainingError, say_nothing
from hdlif.recipe import Recipe, builders, dump_recipe
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.folders import begun, check_free, finished, forget_begun, training_alone
from hdlif.recipe.runs.own_parts import check_parts, keep_parts
from hdlif.recipe.runs.processes import joined, processes
from hdlif.recipe.runs.recipe_data import as_begun, check_files, load_recipe_to_train, with_class_weights, write_files
from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report.allocator import keep_freed_memory
from hdlif.report.counts import initial_neurons
from hdlif.report.peak_memory import peak_memory
from hdlif.report.provenance import hardware, versions
from hdlif.report.trained_network import MeasuredNetwork, asked_for, measure
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
from hdlif.training.tasks import finite
from hdlif.training.threads import cores_to_try

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from hdlif.training import Fit, Teacher
    from hdlif.training.tasks import Task


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Settings for a training run that are not part of the recipe.

    Attributes:
        data_root, devices, nodes, workers, threads, memory_repeats: as in `hdlif train`; without `threads`, a resumed
            training uses the same number as before.
        resume: True resumes from OUT/last.safetensors, or prints a message and starts with the first epoch if there is
            no such file. None resumes if OUT contains a run of this recipe, and starts anew otherwise; for callers that
            own OUT.
        overwrite: whether to replace the run in OUT, whatever its recipe; other files there stay.
        progress: whether to show a bar, or a bar to add a task to.
        callbacks: callbacks to call after the training's own.
        label: the name of the task on the bar; the run folder's by default.
        say: called with lines about the recipe, the data and automatic choices.
    """

    data_root: Path | None = None
    resume: bool | None = False
    overwrite: bool = False
    devices: int | None = None
    nodes: int | None = None
    workers: int | None = None
    threads: int | Literal["auto"] | None = None
    progress: bool | Bar = False
    memory_repeats: int = 3
    callbacks: Sequence[Callback] = ()
    label: str | None = None
    say: Callable[[str], None] = field(default=say_nothing)

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise InputError("--resume continues a run and --overwrite replaces it; remove one of them")


def train_recipe(
    recipe: Recipe, out: Path, options: TrainingOptions, *, found: OwnData | None = None
) -> TrainResult | None:
    """Train a recipe, evaluate the network once on the test set, and write OUT/summary.json.

    During training on a CPU, the process keeps freed memory for later allocations (`allocator.keep_freed_memory`).

    Args:
        recipe, found: the results of `hdlif.recipe.runs.recipe_data`.
    Returns:
        the content of OUT/summary.json; None in processes other than the first.
    Raises:
        InUseError: another process trains in OUT.
        ExistingRunError: OUT contains a run, and neither `resume` nor `overwrite` is set.
        CheckpointError: the run in OUT cannot be resumed, or a user's module has changed since it began.
        DataError: the data cannot be used, or have changed since the training began.
    """
    ranks = _joined_ranks(recipe, options)
    say = options.say if ranks.first else say_nothing
    _print_data(recipe, found, say)
    keep = options.resume is False and not options.overwrite
    recipe = _as_it_was_begun(recipe, out, options, ranks, found, say)
    if keep:
        # Check now, and again once this process holds the lock of the folder.
        ranks.led(lambda: check_free(out))
    if options.resume is not False and (result := ranks.led(lambda: finished(out, recipe))) is not None:
        return result if ranks.first else None
    parts = _build(recipe, options, ranks, found)
    with ExitStack() as until_done:
        ranks.led(lambda: until_done.enter_context(training_alone(out)))
        resume = options.resume
        if resume is None:
            # Another process may have finished the training while this process prepared data.
            if (result := ranks.led(lambda: finished(out, recipe))) is not None:
                return result if ranks.first else None
            resume = ranks.led(lambda: begun(out, recipe))
        go_on = bool(resume)
        went_on = ranks.led(lambda: _replace_earlier(recipe, found, out, resume=go_on, keep=keep))
        if not went_on:
            if go_on:
                say(f"{out}: has no checkpoint to resume from; training starts with the first epoch")
            until_done.enter_context(_forgotten_if_refused(out, ranks))
        # It contains the pixels of all parts, which have been copied to the sets.
        found = None
        own_bar = isinstance(options.progress, bool)
        bar = progress_bar(enabled=bool(options.progress) and ranks.first) if own_bar else cast("Bar", options.progress)
        with bar if own_bar else nullcontext():
            result = _fit_and_measure(recipe, out, options, ranks, parts, bar, resume=go_on)
        if result is not None:
            write_json(out / run_folder.SUMMARY, result.as_dict())
        return result


@dataclass(frozen=True)
class _Parts:
    """The network, task, data and teacher of a training run."""

    model: nn.Module
    task: Task
    sets: DataSets
    teacher: Teacher | None


def _joined_ranks(recipe: Recipe, options: TrainingOptions) -> Ranks:
    devices, nodes = processes(options.devices, options.nodes)
    paired = recipe.data.mixup is not None
    check_share(recipe.data.batch_size, devices * nodes, paired=paired, name="data.batch_size")
    accelerator = joined(devices, nodes, recipe.training.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return Ranks(accelerator)


def _print_data(recipe: Recipe, found: OwnData | None, say: Callable[[str], None]) -> None:
    for line in builders.hidden_kinds(recipe):
        say(line)
    if found is not None:
        say(str(found))
        for warning in found.warnings():
            say(f"warning: {warning}")


def _as_it_was_begun(
    recipe: Recipe,
    out: Path,
    options: TrainingOptions,
    ranks: Ranks,
    found: OwnData | None,
    say: Callable[[str], None],
) -> Recipe:
    """Return the recipe with numeric class weights. If a run is resumed, also insert the run's data path."""
    # Only a checkpoint records the data from the start of the training.
    stopped = options.resume is not False and ranks.led(RunFiles(out).exist)
    if options.resume and stopped:
        ranks.led(partial(check_files, out, found, recipe))
    if stopped and found is not None:
        recipe = ranks.led(partial(as_begun, recipe, out))
    return ranks.in_turn(partial(with_class_weights, recipe, options.data_root, found, say=say))


def _build(recipe: Recipe, options: TrainingOptions, ranks: Ranks, found: OwnData | None) -> _Parts:
    teacher = ranks.together(lambda: builders.build_teacher(recipe))
    task = ranks.together(lambda: builders.build_measured_task(recipe))
    devices, _ = processes(options.devices, options.nodes)
    sets = ranks.in_turn(
        lambda: builders.build_data(recipe, options.data_root, workers=options.workers, ranks=devices, found=found)
    )
    torch.manual_seed(recipe.seed)
    return _Parts(builders.build_started(recipe, say=options.say), task, sets, teacher)


def _fit_and_measure(
    recipe: Recipe, out: Path, options: TrainingOptions, ranks: Ranks, parts: _Parts, bar: Bar, *, resume: bool
) -> TrainResult | None:
    model, sets, auto = parts.model, parts.sets, options.threads == "auto"
    optimization = builders.build_optimization(recipe.training)
    initial = initial_neurons(model, recipe, warn=partial(warn, bar)) if ranks.first else ()
    trainer = Trainer(
        model,
        rule=builders.build_training_rule(recipe),
        task=parts.task,
        config=recipe.training,
        callbacks=[
            *_of_recipe(recipe, parts.teacher),
            Checkpoints(out, recipe=recipe.model_dump(mode="json"), resume=resume),
            Log(out),
            Progress(options.label or out.name, bar),
            *options.callbacks,
        ],
        batch_size=recipe.data.batch_size,
        seed=recipe.seed,
        optimizer=optimization.optimizer,
        scheduler=optimization.schedule,
        accelerator=ranks.accelerator,
        threads=None if options.threads == "auto" else options.threads,
        cores=cores_to_try() if auto else 0,
    )
    fitted = trainer.fit(sets.train, sets.validation)
    if not ranks.first:
        return None
    with using_threads(fitted.threads.count):
        measured = _measured(model, recipe, sets, out, device=ranks.accelerator.device, bar=bar, initial=initial)
    return _result(
        recipe,
        measured,
        fitted,
        held_out=len(sets.validation) > 0,
        peak_bytes=_peak_bytes(recipe, options.memory_repeats, bar, threads=fitted.threads.count),
        ranks=ranks.count,
    )


@contextmanager
def _forgotten_if_refused(out: Path, ranks: Ranks) -> Iterator[None]:
    """Remove the files of a training run that fails before its first update."""
    try:
        yield
    except HdlifError:
        if ranks.first:
            forget_begun(out)
        raise


def train_in_one_process(recipe: Recipe, out: Path, options: TrainingOptions) -> TrainResult:
    """Train a recipe in a single process, on behalf of another subcommand."""
    loaded, found = load_recipe_to_train(
        recipe, out=out, data_root=options.data_root, resume=bool(options.resume), say=options.say
    )
    result = train_recipe(loaded, out, options, found=found)
    assert result is not None, "the first process has a result"
    return result


def _of_recipe(recipe: Recipe, teacher: Teacher | None) -> list[Callback]:
    """Return the training callbacks that a recipe requires."""
    mix, penalty = builders.build_mix(recipe), builders.build_penalty(recipe)
    mixing = [] if mix is None else [Mixing(mix)]
    teaching = [] if teacher is None else [Teaching(teacher)]
    pressing = [] if penalty is None else [ActivityPenalty(penalty)]
    return [*mixing, *teaching, *pressing]


def _result(
    recipe: Recipe,
    measured: MeasuredNetwork,
    fitted: Fit,
    *,
    held_out: bool,
    peak_bytes: int | None,
    ranks: int,
) -> TrainResult:
    """Collect the result of a training run, including validation metrics if samples were held out."""
    test, task = measured.evaluated.result, measured.task
    classifies = test.accuracy is not None
    plain = classifies and task.metric == "accuracy"
    with_metrics = not classifies or bool(test.metrics.keys() - {"accuracy"})
    return TrainResult(
        recipe=recipe.model_dump(mode="json"),
        name=recipe.name,
        seed=recipe.seed,
        accuracy=test.accuracy,
        accuracy_per_step=test.accuracy_per_step,
        test_samples=test.n,
        metrics=finite(test.metrics) if with_metrics else None,
        per_step=None if classifies else test.per_step,
        task=None if plain else recipe.task.model_dump(mode="json"),
        metric=None if plain else task.metric,
        mean_rmse=test.mean_rmse,
        **asked_for(task, test),
        evaluation=measured.evaluated.as_dict(),
        **vars(measured.counts),
        parameters=measured.parameters,
        fp32_mb=measured.fp32_mb,
        saved_bytes=measured.saved_bytes,
        versions=versions(),
        hardware=hardware(),
        best_epoch=fitted.best_epoch,
        validation_accuracy=fitted.metrics["accuracy"] if classifies and held_out else None,
        validation_metrics=finite(fitted.metrics) if with_metrics and held_out else None,
        validation_score=fitted.score if math.isfinite(fitted.score) and held_out else None,
        train_seconds=fitted.train_seconds,
        threads=fitted.threads.as_dict(),
        peak_bytes=peak_bytes,
        ranks=ranks,
    )


def _measured(
    model: nn.Module,
    recipe: Recipe,
    sets: DataSets,
    out: Path,
    *,
    device: torch.device,
    bar: Bar,
    initial: Sequence[Neuron],
) -> MeasuredNetwork:
    """Evaluate a trained network, and write its recipe and the data that reports need."""
    write_text(out / run_folder.RECIPE, dump_recipe(recipe))
    # Measure in the precision of deployment, whatever the precision of training.
    measured = measure(model.float(), recipe, sets, device, bar=bar, initial=initial)
    for name, drawn in measured.drawings.items():
        write_text(out / f"{name}.json", json.dumps(drawn) + "\n")
    return measured


def measure_peak(result: TrainResult, out: Path, repeats: int, bar: Bar) -> TrainResult:
    """Measure the peak memory of a training run and add it to the result and to summary.json."""
    recipe = Recipe.model_validate(result.recipe)
    peak = _peak_bytes(recipe, repeats, bar, threads=result.threads_used)
    measured = replace(result, peak_bytes=peak)
    write_json(out / run_folder.SUMMARY, measured.as_dict())
    return measured


def _peak_bytes(recipe: Recipe, repeats: int, bar: Bar, *, threads: int) -> int | None:
    """Return the peak memory of training, or None if `repeats` is 0 or the measurement fails."""
    if not repeats:
        return None
    try:
        return peak_memory(recipe, repeats=repeats, threads=threads)
    except TrainingError as error:
        warn(bar, f"{error}; the summary omits it")
        return None


def _replace_earlier(recipe: Recipe, found: OwnData | None, out: Path, *, resume: bool, keep: bool) -> bool:
    """Remove the files of an earlier run and return False, or return True if that run is resumed.

    Raises:
        ExistingRunError: the earlier run must be kept, or cannot be resumed.
    """
    files = RunFiles(out)
    if resume and files.exist():
        check_parts(recipe, out)
        return True
    if keep or resume:
        check_free(out, again=resume and begun(out, recipe))
    files.clear()
    for name in (*run_folder.MEASURED, run_folder.PARTS, run_folder.BUDGET):
        (out / name).unlink(missing_ok=True)
    keep_parts(recipe, out)
    if found is not None:
        write_files(out, found)
    write_text(out / run_folder.RECIPE, dump_recipe(recipe))
    return False
