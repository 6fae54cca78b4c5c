"""Measure a trained network's test results, operations and size, and the bytes saved for its backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.data import DataSets, Samples
from hdlif.learning import Carry, Plan
from hdlif.learning.rule import run as run_rule
from hdlif.nn import evaluation_mode, step_parameters
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.summary import Neuron
from hdlif.report.accounting import saved_bytes
from hdlif.report.counts import Counts, counts, deployed_or_none, without_graph
from hdlif.report.evaluation import Evaluated, evaluate_network
from hdlif.training import progress_bar, warn
from hdlif.training.tasks import Measured

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from hdlif.training.tasks import Evaluation, Task

PROFILED_IMAGES = 256
"""Number of test images over which operations are averaged."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """The test results, operation counts and size of a trained network.

    Attributes:
        evaluated: results on the test set.
        task: task that the network was trained on.
        drawings: JSON-serialisable data on the test set for a report's figures, by name.
        counts: operations, sizes and learned neuron parameters.
        parameters, fp32_mb, saved_bytes: as in `TrainResult`.
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
    sets: DataSets,
    device: torch.device,
    *,
    bar: Bar | None = None,
    initial: Sequence[Neuron] = (),
) -> MeasuredNetwork:
    """Measure the test results, operations, size and learned neuron parameters of a trained network.

    Args:
        device: device for evaluation on the test set. Counting runs on the CPU, and the model stays there.
        bar: progress bar, which gets a task for the test set. It also prints a warning if the network has no deployed
            form; figures that need this form are then None.
        initial: the network's neurons before training, if known.
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
    drawings = dict(drawing.files())
    if worst := getattr(drawing, "worst", None):
        # Import gallery here, because only drawing needs it.
        from hdlif.report.data_sheet import gallery

        drawings["gallery"] = gallery(sets.test, worst)
    in_neurons = set(map(id, step_parameters(model)))
    return MeasuredNetwork(
        evaluated,
        task,
        drawings,
        counts(graph or model, recipe, first_images(sets.test, PROFILED_IMAGES), initial),
        sum(p.numel() for p in model.parameters()),
        4e-6 * sum(p.numel() for p in model.parameters() if id(p) not in in_neurons),
        bytes_saved_by_an_update(model, recipe, sets),
    )


def asked_for(task: Task, test: Evaluation) -> dict[str, Any]:
    """Return for each additional metric whether larger is better, and the value names of multi-value metrics."""
    if not isinstance(task, Measured) or not task.metrics:
        return {}
    asked = [name for name in test.metrics if name not in task.figures]
    # Metrics with several values.
    parts = {
        metric: tuple(name for name in asked if name.startswith(f"{metric}."))
        for metric in task.metrics
        if metric not in asked
    }
    return {"larger_is_better": {name: task.larger_is_better(name) for name in asked}, "parts": parts or None}


def first_images(images: Samples, count: int) -> list[Tensor]:
    """Return the first `count` images in batches [T or 1, B, ...] of at most 64 images."""
    return [x for x, _ in images.first(count).sequences(64)]


def bytes_saved_by_an_update(model: nn.Module, recipe: Recipe, sets: DataSets) -> int:
    """Return the peak number of bytes that the recipe's rule saves for the backward pass in an update on one batch."""
    rule = builders.build_rule(recipe)
    x, target = sets.test.sequence(torch.arange(min(recipe.data.batch_size, len(sets.test))))
    # With streams, an update covers one part of the sequence.
    steps = recipe.training.stream or recipe.time_steps
    x = x[:steps]
    plan = rule.schedule(steps, torch.Generator().manual_seed(recipe.seed))
    first = plan if len(plan.updates) == 1 else Plan(plan.time_steps, plan.steps[:1], plan.updates[:1])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    carry = None if recipe.training.stream is None else Carry()
    # Restore the modes together with the state, because the user's batch norms may be frozen.
    with evaluation_mode(model):
        model.train()
        try:
            return saved_bytes(lambda: next(iter(run_rule(rule, model, x, target, first, carry))), model=model)
        finally:
            model.load_state_dict(state)
