"""Profile a training update layer by layer."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from hdlif.learning import Plan
from hdlif.learning.coherence import Drawn
from hdlif.nn import QuantConv2d
from hdlif.nn.chain import Watch
from hdlif.nn.state import Neuron, Temporal
from hdlif.nn.step_neuron import SteppedNeuron
from hdlif.recipe import Recipe, builders
from hdlif.report.accounting.memory import Saved, watching_saved
from hdlif.report.recipe_update import RecipeUpdate

PLANS = 4
"""Number of plans of a random rule that are profiled, spread evenly over its possible plans."""
_LAYER, _BACK = "hdlif layer: ", "autograd::engine::evaluate_function: "
_WEIGHTS = " weights"
"""Place of quantised weights, which cannot be the name of a layer."""
_QUANTISERS = ("_Binarize", "_Binarized", "_Ternarize", "_Ternarized", "_QuantizeWeight")


@dataclass(frozen=True)
class LayerTime:
    """One layer's time, memory and code path in an update over all time steps.

    Attributes:
        path: code path, and the reason if it is not the fastest path.
        forward_ms, backward_ms: time of the layer's operations, scaled to the wall time of the update.
        saved_bytes: peak bytes saved for the backward pass; a storage counts in the layer that saves it first.
    """

    name: str
    kind: str
    path: str
    forward_ms: float
    backward_ms: float
    saved_bytes: int


@dataclass(frozen=True)
class TrainingProfile:
    """The time and memory that a training update takes in each layer, and the time outside layers.

    Attributes:
        update_ms: median wall time of the timed updates; for a random rule, each is a mean over the profiled plans.
        update_ms_range: shortest and longest wall time.
        weights_ms: time to quantise weights and to pass gradients to the latent weights.
        optimizer_ms: time of the optimiser's step and of zeroing gradients.
        other_ms: time of operations between the layers: additions, the loss, gathered gradients.
        python_ms: remaining wall time, outside operations.
    """

    layers: tuple[LayerTime, ...]
    update_ms: float
    update_ms_range: tuple[float, float]
    weights_ms: float
    optimizer_ms: float
    other_ms: float
    python_ms: float
    rule: str
    time_steps: int
    batch_size: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif profile --training --json`."""
        return asdict(self)


def training_profile(recipe: Recipe, *, rounds: int = 5) -> TrainingProfile:
    """Profile training updates of a recipe's network on the CPU, using random data.

    The wall time is measured without a profiler. The fraction of time spent in each layer comes from one profiled
    update per plan.

    Args:
        rounds: number of timed updates of each plan.
    """
    made = RecipeUpdate(recipe)
    x, target = builders.random_batch(recipe, made.generator)
    plans = _plans(made)
    for plan in plans:
        made.update(x, target, plan)
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for plan in plans:
            made.update(x, target, plan)
        seconds.append((time.perf_counter() - begun) / len(plans))
    layers = _Layers(made.model)
    apart = [*made.model.parameters(), *made.model.buffers(), x]
    with layers.watched(apart) as saved, profile(activities=[ProfilerActivity.CPU]) as watched:
        begun = time.perf_counter()
        for plan in plans:
            made.update(x, target, plan)
        whole = time.perf_counter() - begun
    # Convert microseconds of all plans under the profiler to milliseconds of an update without it.
    scale = statistics.median(seconds) / whole / 1e3
    shares = _time_shares(watched.events() or [])

    def ms(place: str, *phases: str) -> float:
        return scale * sum(shares.get((phase, place), 0.0) for phase in phases)

    found = tuple(
        LayerTime(
            name,
            type(layer).__name__,
            layers.paths.get(name, "not run"),
            ms(name, "forward"),
            ms(name, "backward"),
            saved.peaks.get(name, 0),
        )
        for name, layer in layers.named.items()
    )
    weights, optimizer = ms(_WEIGHTS, "forward", "backward"), ms("", "optimizer")
    other = ms("", "forward", "backward")
    update_ms = 1e3 * statistics.median(seconds)
    of_layers = sum(one.forward_ms + one.backward_ms for one in found)
    return TrainingProfile(
        layers=found,
        update_ms=update_ms,
        update_ms_range=(1e3 * min(seconds), 1e3 * max(seconds)),
        weights_ms=weights,
        optimizer_ms=optimizer,
        other_ms=other,
        python_ms=update_ms - of_layers - weights - optimizer - other,
        rule=type(made.rule).__name__,
        time_steps=recipe.time_steps,
        batch_size=recipe.data.batch_size,
        threads=torch.get_num_threads(),
    )


def _plans(made: RecipeUpdate) -> list[Plan]:
    steps = made.recipe.time_steps
    if not isinstance(made.rule, Drawn):
        return [made.rule.schedule(steps, made.generator)]
    plans = sorted((plan for plan, _ in made.rule.plans(steps)), key=lambda plan: plan.steps[-1])
    count = min(PLANS, len(plans))
    return [plans[(2 * i + 1) * len(plans) // (2 * count)] for i in range(count)]


class _Layers:
    """The innermost layers of a network, with hooks that record their time and memory.

    Attributes:
        named: layers by name, in the order of the network.
        paths: code path of each layer in its last run.
    """

    def __init__(self, model: nn.Module) -> None:
        self.named = dict(_layers_of(model, ""))
        self.paths: dict[str, str] = {}
        self._running: list[tuple[str, Any]] = []

    @contextmanager
    def watched(self, apart: Iterable[Tensor]) -> Iterator[Saved]:
        """Record each layer's operations, and the bytes that it saves for the backward pass, under its name.

        Args:
            apart: tensors that exist anyway.
        """
        with ExitStack() as stack:
            names = {layer: name for name, layer in self.named.items()}
            watch = Watch(
                begin=lambda layer: self._begin(names[layer]),
                end=lambda layer, given, how: self._end(names[layer], layer, given, how),
            )
            for layer in names:
                for handle in watch.attach(layer):
                    stack.callback(handle.remove)
            running = self._running
            yield stack.enter_context(watching_saved(apart, saver=lambda: running[-1][0] if running else ""))

    def _begin(self, name: str) -> None:
        range_ = record_function(f"{_LAYER}{name}")
        range_.__enter__()  # type: ignore[no-untyped-call]
        self._running.append((name, range_))

    def _end(self, name: str, layer: nn.Module, args: tuple[Any, ...], how: str) -> None:
        _, range_ = self._running.pop()
        range_.__exit__(None, None, None)
        if how:
            self.paths[name] = how
        elif args:
            self.paths[name] = _path_of(layer, args)


def _layers_of(module: nn.Module, name: str) -> Iterable[tuple[str, nn.Module]]:
    children = [(child, one) for child, one in module.named_children() if not isinstance(one, nn.Identity)]
    is_whole = isinstance(module, Neuron) or not any(_is_layer(one) for _, one in children)
    if is_whole:
        if name and (children or next(module.parameters(), None) is not None or not isinstance(module, Temporal)):
            yield name, module
        return
    for child, one in children:
        yield from _layers_of(one, f"{name}.{child}" if name else child)


def _is_layer(module: nn.Module) -> bool:
    """Return whether a module defines its own forward pass."""
    return isinstance(module, Temporal) or type(module).forward is not nn.Module.forward


def _path_of(layer: nn.Module, args: tuple[Any, ...]) -> str:
    if isinstance(layer, QuantConv2d):
        x, weight, codes, *_ = (*args, None, None)
        weight = layer.weight if weight is None else weight
        reason = layer.hindrance(x, weight, codes)
        if reason is not None and layer.takes_winograd(x, weight):
            return f"Winograd: {reason}"
        return "kernels for codes" if reason is None else f"PyTorch: {reason}"
    if isinstance(layer, SteppedNeuron):
        x = args[0]
        fused = layer.fused_step(x.device, len(args[2]), x[0].numel())
        return "steps, one by one" if fused is None else "fused"
    return "PyTorch"


def _time_shares(events: Iterable[FunctionEvent]) -> Mapping[tuple[str, str], float]:
    """Return the profiled time in microseconds by phase and location; nested operations are counted only once.

    A phase is "forward", "backward" or "optimizer". A location is the name of a layer, `_WEIGHTS` for weight
    quantisers, or "" for other operations.
    """
    events = list(events)
    # An operation that creates a graph node has the node's number, and so do earlier operations that create none.
    makers: dict[int, str] = {}
    for event in sorted(events, key=lambda event: event.time_range.start):
        if event.sequence_nr >= 0 and not event.name.startswith(_BACK):
            above = list(_upwards(event))
            if not any(one.name.startswith(_BACK) for one in above):
                makers[event.sequence_nr] = _place(above)
    shares: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        # The remaining time in a layer's range is spent in Python.
        if event.name.startswith(_LAYER):
            continue
        above = list(_upwards(event))
        # The outermost range is the backward node.
        back = next((one for one in reversed(above) if one.name.startswith(_BACK)), None)
        if any(one.name.startswith("Optimizer.") for one in above):
            phase, place = "optimizer", ""
        elif back is not None:
            phase, place = "backward", makers.get(back.sequence_nr, "")
        else:
            phase, place = "forward", _place(above)
        shares[phase, place] += event.self_cpu_time_total
    return shares


def _place(above: Iterable[FunctionEvent]) -> str:
    """Return the name of the layer that runs an operation, `_WEIGHTS` for weight quantisers, otherwise ""."""
    for event in above:
        if event.name.startswith(_LAYER):
            return event.name.removeprefix(_LAYER)
        if event.name in _QUANTISERS:
            return _WEIGHTS
    return ""


def _upwards(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """Yield a profiler event and then each of its ancestors."""
    at: FunctionEvent | None = event
    while at is not None:
        yield at
        at = at.cpu_parent
