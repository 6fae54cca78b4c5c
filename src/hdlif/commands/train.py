"""`hdlif train`: from a recipe to a run folder with a trained network and its figures."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.accounting import saved_bytes
from hdlif.cli.provenance import hardware, versions
from hdlif.data import Found, ImageSets, Samples
from hdlif.errors import HdlifError, InputError, RecipeError, TrainingError
from hdlif.learning import Carry, Plan
from hdlif.learning.rule import run as run_rule
from hdlif.nn import evaluation_mode, step_parameters
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe, shipped_recipes
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.folders import MEASURED, begun, check_free, finished, forget_begun
from hdlif.recipe.runs.locks import training_alone
from hdlif.recipe.runs.own_parts import PARTS, check_parts, keep_parts, saying_what_is_gone
from hdlif.recipe.runs.processes import joined, processes
from hdlif.recipe.runs.recipe_data import as_begun, check_files, load_with_data, with_class_weights, write_files
from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report.allocator import keep_freed_memory
from hdlif.report.counts import Counts, counts, deployed_or_none, initial_neurons, without_graph
from hdlif.report.evaluation import Evaluated, evaluate_network
from hdlif.report.peak_memory import peak_memory
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
from hdlif.training.tasks import Measured, finite

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from hdlif.training import Fit, Teacher
    from hdlif.training.tasks import Evaluation, Task

STREAM_STEPS = 16
"""Most steps from one update to the next of a stream, where nothing is said."""
PROFILED_IMAGES = 256
"""Test images over which operations are averaged."""


def train(
    recipe: str | Path | Recipe | None,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool | None = False,
    overwrite: bool = False,
    stream: bool = False,
    devices: int | None = None,
    nodes: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: bool | Bar = False,
    memory_repeats: int = 3,
    callbacks: Sequence[Callback] = (),
    label: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainResult | None:
    """Train a recipe, measure the result on the test set (read once), and write OUT/summary.json.

    On a CPU the process keeps the memory that it frees from here on (`allocator.keep_freed_memory`).

    Args:
        recipe: a recipe, its file, or the name of one that ships; None for the one that follows from `data`, or that a
            training which is resumed was begun with.
        overrides: "a.b=v" each.
        data: the name of a data set, or the path of data of one's own, in place of the recipe's.
        data_root: the folder of the data set, where it is not bundled.
        out: the run folder; runs/NAME by default.
        resume: go on from OUT/last.safetensors; a finished training stays as it is, and where there is no checkpoint
            the first epoch is begun with, and that is said. A recipe that ships, named without `data` and `overrides`,
            is then as OUT was begun with it. None goes on where OUT holds a training of this recipe, and starts from
            the first epoch where not: for a caller that has OUT to itself.
        overwrite: replace the run that OUT holds, of whatever recipe; other files there stay.
        stream: learn from samples as streams, with `training.stream` steps from one update to the next, or, where the
            recipe has none, the most of up to `STREAM_STEPS` that divide its time steps.
        devices: processes on each node, with a GPU each where there are GPUs; by default what torchrun has started,
            or 1. They share every batch. Where torchrun has not, this program is started again for each of the others.
        nodes: machines, likewise.
        workers: processes that make batches, for each device; by default as many as the data set needs.
        threads: PyTorch's and the runtime's. By default those of the training that is resumed, or as many as
            OMP_NUM_THREADS says, or those that are measured to be best (`training.threads`).
        progress: show a bar of one's own, or a task on the bar given.
        memory_repeats: fresh processes that measure peak memory; 0 leaves it out.
        callbacks: of the training, after its own.
        label: what the bar says that it is of; the run folder's name by default.
        say: gets a line on data of the user's own.
    Returns:
        what has come of it, as OUT/summary.json has it; None in other processes than the first.
    Raises:
        InUseError: another process trains in OUT.
        ExistingRunError: OUT holds a run, and neither `resume` nor `overwrite` says what is to become of it.
        InputError: both do.
        CheckpointError: OUT cannot be resumed, or a module of the user's is another than when its training began.
        DataError: the data cannot be used, or are not those that the training was begun with.
    """
    data_root, out = (None if path is None else Path(path) for path in (data_root, out))
    if resume and overwrite:
        raise InputError("--resume goes on with a run and --overwrite replaces it; leave one of them out")
    if not _first_by_torchrun():
        # What is said before ranks have met would be said by each.
        say = _unsaid
    devices, nodes = processes(devices, nodes)
    if resume and data is None and not overrides and isinstance(recipe, str) and nodes == 1:
        recipe = _kept_recipe(recipe, out or Path("runs") / recipe, say)
    if recipe is None and data is None and resume and out is not None:
        recipe = out / "recipe.yaml"
    with saying_what_is_gone(out or Path("runs") / _name(recipe)):
        recipe, found = load_with_data(recipe, overrides, data=data, data_root=data_root, say=say)
        if stream:
            recipe = _as_streams(recipe, say)
        # Of our own parts, and together, it is known that they take an update, but for the traces of some.
        try_it = builders.try_update if builders.names_own_parts(recipe) else builders.try_traces
        try_it(recipe, devices * nodes)
    out = out or Path("runs") / recipe.name
    paired = recipe.data.mixup is not None
    check_share(recipe.data.batch_size, devices * nodes, paired=paired, name="data.batch_size")
    accelerator = joined(devices, nodes, recipe.training.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    ranks = Ranks(accelerator)
    for line in builders.hidden_kinds(recipe) if ranks.first else ():
        say(line)
    if found is not None and ranks.first:
        say(str(found))
        for warning in found.warnings():
            say(f"warning: {warning}")
    keep = resume is False and not overwrite
    # What there is to go on from alone says what it was begun with.
    stopped = resume is not False and ranks.led(RunFiles(out).exist)
    if resume and stopped:
        ranks.led(partial(check_files, out, found, recipe))
    if stopped and found is not None:
        recipe = ranks.led(partial(as_begun, recipe, out))
    recipe = ranks.in_turn(partial(with_class_weights, recipe, data_root, found, say=say if ranks.first else _unsaid))
    if keep:
        # Said now, and looked at again when the folder is this process's.
        ranks.led(lambda: check_free(out))
    if resume is not False and (result := ranks.led(lambda: finished(out, recipe))) is not None:
        return result if ranks.first else None
    teacher = ranks.together(lambda: builders.build_teacher(recipe))
    task = ranks.together(lambda: builders.build_measured_task(recipe))
    sets = ranks.in_turn(lambda: builders.build_data(recipe, data_root, workers=workers, ranks=devices, found=found))
    torch.manual_seed(recipe.seed)
    model = builders.build_model(recipe, pretrained=True)
    with ExitStack() as until_done:
        ranks.led(lambda: until_done.enter_context(training_alone(out)))
        if resume is None:
            # Another process may have finished it while data were made here.
            if (result := ranks.led(lambda: finished(out, recipe))) is not None:
                return result if ranks.first else None
            resume = ranks.led(lambda: begun(out, recipe))
        go_on = bool(resume)
        went_on = ranks.led(lambda: _replace_earlier(recipe, found, out, resume=go_on, keep=keep))
        if go_on and not went_on and ranks.first:
            say(f"{out}: has no checkpoint to go on from; the training begins with its first epoch")
        if not went_on:
            until_done.enter_context(_forgotten_if_refused(out, ranks))
        # It holds the pixels of all parts, which the sets have by now.
        found = None
        optimization = builders.build_optimization(recipe.training)
        bar = progress_bar(enabled=progress and ranks.first) if isinstance(progress, bool) else progress
        with nullcontext() if bar is progress else bar:
            initial = initial_neurons(model, recipe, warn=partial(warn, bar)) if ranks.first else ()
            trainer = Trainer(
                model,
                rule=builders.build_training_rule(recipe),
                task=task,
                config=recipe.training,
                callbacks=[
                    *_of_recipe(recipe, teacher),
                    Checkpoints(out, recipe=recipe.model_dump(mode="json"), resume=go_on),
                    Log(out),
                    Progress(label or out.name, bar),
                    *callbacks,
                ],
                batch_size=recipe.data.batch_size,
                seed=recipe.seed,
                optimizer=optimization.optimizer,
                scheduler=optimization.schedule,
                accelerator=accelerator,
                threads=threads,
                cores=cores_to_try(),
            )
            fitted = trainer.fit(sets.train, sets.validation)
            if not ranks.first:
                return None
            with using_threads(fitted.threads.count):
                measured = _measured(model, recipe, sets, out, device=accelerator.device, bar=bar, initial=initial)
            result = _result(
                recipe,
                measured,
                fitted,
                held_out=len(sets.validation) > 0,
                peak_bytes=_peak_bytes(recipe, memory_repeats, bar, threads=fitted.threads.count),
                ranks=ranks.count,
            )
        write_json(out / "summary.json", result.as_dict())
        return result


def _name(recipe: str | Path | Recipe | None) -> str:
    """Of a recipe, before it is loaded; "" where it follows from data."""
    return recipe.name if isinstance(recipe, Recipe) else Path(recipe or "").stem


def cores_to_try() -> int:
    """The most threads that a choice by time may try; 0, which is no choice, where OMP_NUM_THREADS has made it."""
    return 0 if "OMP_NUM_THREADS" in os.environ else available_cores()


@contextmanager
def _forgotten_if_refused(out: Path, ranks: Ranks) -> Iterator[None]:
    """A training that is refused before its first update leaves nothing behind that would be in another's way."""
    try:
        yield
    except HdlifError:
        if ranks.first:
            forget_begun(out)
        raise


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


def in_one_process(result: TrainResult | None) -> TrainResult:
    """What a training has come to that has no other processes."""
    assert result is not None, "the first process has a result"
    return result


def _first_by_torchrun() -> bool:
    """Whether this is the first process, as far as torchrun, or whoever starts several, says it."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def _unsaid(line: str) -> None:
    """Takes what another process says."""


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


def _result(
    recipe: Recipe,
    measured: MeasuredNetwork,
    fitted: Fit,
    *,
    held_out: bool,
    peak_bytes: int | None,
    ranks: int,
) -> TrainResult:
    """Collect the result; without held-out samples there are no figures of validation."""
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
        **_asked_for(task, test),
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
    sets: ImageSets,
    out: Path,
    *,
    device: torch.device,
    bar: Bar,
    initial: Sequence[Neuron],
) -> MeasuredNetwork:
    """What a finished network is measured to be; writes its recipe, and what a report draws."""
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    # In the precision that it is deployed in, whatever it was trained in.
    measured = measure(model.float(), recipe, sets, device, bar=bar, initial=initial)
    for name, drawn in measured.drawings.items():
        write_text(out / f"{name}.json", json.dumps(drawn) + "\n")
    return measured


def measure_peak(result: TrainResult, out: Path, repeats: int, bar: Bar) -> TrainResult:
    """The result with the peak memory of its training, which is measured, and added to summary.json in `out`."""
    recipe = Recipe.model_validate(result.recipe)
    peak = _peak_bytes(recipe, repeats, bar, threads=result.threads_used)
    measured = replace(result, peak_bytes=peak)
    write_json(out / "summary.json", measured.as_dict())
    return measured


def _peak_bytes(recipe: Recipe, repeats: int, bar: Bar, *, threads: int) -> int | None:
    """Peak memory of training, or None where none is asked for, or where a process of its own has no room for it."""
    if not repeats:
        return None
    try:
        return peak_memory(recipe, repeats=repeats, threads=threads)
    except TrainingError as error:
        warn(bar, f"{error}; the summary is without it")
        return None


def _replace_earlier(recipe: Recipe, found: Found | None, out: Path, *, resume: bool, keep: bool) -> bool:
    """Clear what an earlier training left, which says nothing of this one, unless this one goes on from it; whether so.

    Raises:
        ExistingRunError: it is to be kept, or it is none that can be gone on from.
    """
    files = RunFiles(out)
    if resume and files.exist():
        check_parts(recipe, out)
        return True
    if keep or resume:
        check_free(out, again=resume and begun(out, recipe))
    files.clear()
    for name in (*MEASURED, PARTS):
        (out / name).unlink(missing_ok=True)
    keep_parts(recipe, out)
    if found is not None:
        write_files(out, found)
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    return False


@dataclass(frozen=True)
class MeasuredNetwork:
    """What a trained network is.

    Attributes:
        evaluated: on the test set.
        task: what it has learned.
        drawings: by name, what a report draws of the test set, as JSON has it.
        counts: operations, sizes and learned neuron parameters.
        parameters, fp32_mb, saved_bytes: as of `TrainResult`.
    """

    evaluated: Evaluated
    task: Task
    drawings: Mapping[str, Any]
    counts: Counts
    parameters: int
    fp32_mb: float
    saved_bytes: int


def measure(
    model: nn.Module,
    recipe: Recipe,
    sets: ImageSets,
    device: torch.device,
    *,
    bar: Bar | None = None,
    initial: Sequence[Neuron] = (),
) -> MeasuredNetwork:
    """What a test set says, operations, sizes and learned neuron parameters of a trained network.

    Args:
        device: where the test set is classified; what is counted is counted on the CPU, where the model is left.
        bar: gets a task for the test set, and a warning where the network has no deployed form; what would be read off
            that is None.
        initial: its neurons before training, as far as they are known.
    """
    task = builders.build_measured_task(recipe)
    drawing = task.drawing()
    bar = bar or progress_bar(enabled=False)
    graph = deployed_or_none(model.cpu(), recipe, warn=lambda error: warn(bar, without_graph(error)))
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
    model.cpu()
    in_neurons = set(map(id, step_parameters(model)))
    return MeasuredNetwork(
        evaluated,
        task,
        drawing.files(),
        counts(graph or model, recipe, first_images(sets.test, PROFILED_IMAGES), initial),
        sum(p.numel() for p in model.parameters()),
        4e-6 * sum(p.numel() for p in model.parameters() if id(p) not in in_neurons),
        bytes_saved_by_an_update(model, recipe, sets),
    )


def _asked_for(task: Task, test: Evaluation) -> dict[str, Any]:
    """Of the metrics that are asked for besides a task's own, which way is better; and of those in parts, which."""
    if not isinstance(task, Measured) or not task.metrics:
        return {}
    asked = [name for name in test.metrics if name not in task.figures]
    # Those of a metric that gives several.
    parts = {
        metric: tuple(name for name in asked if name.startswith(f"{metric}."))
        for metric in task.metrics
        if metric not in asked
    }
    return {"larger_is_better": {name: task.larger_is_better(name) for name in asked}, "parts": parts or None}


def first_images(images: Samples, count: int) -> list[Tensor]:
    """The first images as batches [T or 1, B, ...] of at most 64."""
    return [x for x, _ in images.first(count).sequences(64)]


def bytes_saved_by_an_update(model: nn.Module, recipe: Recipe, sets: ImageSets) -> int:
    """Bytes saved for backward at the most, by one loss of the recipe's rule on one batch."""
    rule = builders.build_rule(recipe)
    x, target = sets.test.sequence(torch.arange(min(recipe.data.batch_size, len(sets.test))))
    # Of streams, of a part.
    steps = recipe.training.stream or recipe.time_steps
    x = x[:steps]
    plan = rule.schedule(steps, torch.Generator().manual_seed(recipe.seed))
    first = plan if len(plan.updates) == 1 else Plan(plan.time_steps, plan.steps[:1], plan.updates[:1])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    carry = None if recipe.training.stream is None else Carry()
    # The modes are given back with the state: batch norms of a user's may be frozen.
    with evaluation_mode(model):
        model.train()
        try:
            return saved_bytes(lambda: next(iter(run_rule(rule, model, x, target, first, carry))), model=model)
        finally:
            model.load_state_dict(state)
