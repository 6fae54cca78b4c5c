"""Check whether the parts of a recipe can be built and fit together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hdlif.config import Recipe
from hdlif.errors import HdlifError, InputError, RecipeError, first_line
from hdlif.recipe.builders.augment import try_augment
from hdlif.recipe.builders.data import CONSTANT, check_data, data_kind, frames_of, input_record
from hdlif.recipe.builders.model import MODELS, build_model, read_model
from hdlif.recipe.builders.part import own_kinds
from hdlif.recipe.builders.rule import build_rule, build_training_rule, read_rule
from hdlif.recipe.builders.task import build_measured_task, read_task, with_class_weights
from hdlif.recipe.builders.training import (
    PENALTIES,
    SCHEDULES,
    build_mix,
    build_penalty,
    check_accumulation,
    check_pairs,
    read_optimizer,
    read_teacher,
    try_optimization,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, nn

    from hdlif.learning import Rule
    from hdlif.training.tasks import Task

MOST_VALUES = 2**30
"""Maximum number of values in a network's parameters and buffers: 4 GiB in fp32."""
MOST_NEURONS = 2**36
"""Maximum number of neurons for all images of a batch."""
SMALL = 2**24
"""Maximum number of values (including the largest map) of a network that runs with real values. For larger networks,
torch's "meta" device runs in Python and imports torch._dynamo."""


_MAPS = ("map", "instances")
"""Kinds of targets at each pixel of an image, for networks that output maps."""


def check_names(recipe: Recipe) -> None:
    """Raise `RecipeError` for the first unknown name or wrong argument in the recipe.

    `check_names` does not build anything or import PyTorch. `check` also tests whether the layers listed in the recipe
    exist and whether the network fits the task.
    """
    check_data(recipe)
    read_task(recipe)
    read_teacher(recipe)
    read_rule(recipe)
    PENALTIES.read(recipe.activity)
    check_pairs(recipe)
    check_accumulation(recipe)
    read_optimizer(recipe.training)
    SCHEDULES.read(recipe.training.schedule)
    read_model(recipe)


def names_own_parts(recipe: Recipe) -> bool:
    """Return whether any part of the recipe is custom or comes from an installed package."""
    return any(True for _ in own_kinds(recipe))


def try_traces(recipe: Recipe, ranks: int = 1) -> None:
    """Raise `RecipeError` if the rule keeps traces and does not support the network or the batch size.

    The recipe must already have passed `check`; `ranks` is the number of processes that share a batch.
    """
    import torch

    from hdlif.learning import Tracing

    rule = build_rule(recipe)
    if not isinstance(rule, Tracing):
        return
    with torch.random.fork_rng(devices=[]):
        network, place = _network_to_try(recipe)
        x = random_batch(recipe, torch.Generator().manual_seed(0), 1)[0].to(place)
        if recipe.training.precision == "64-true":
            network = network.double()
        with _saying_what_it_cannot_train(recipe):
            rule.traces_of(network, x, math.ceil(recipe.data.batch_size / ranks))


def try_update(recipe: Recipe, ranks: int = 1) -> None:
    """Check that the rule can train the network, using `try_traces` and one update on noise. Raises `RecipeError`."""
    import torch

    try_traces(recipe, ranks)
    draws = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        network, place = _network_to_try(recipe)
        if place.type == "meta" and not names_own_parts(recipe):
            return
        # Two samples, because batch norm needs more than one value.
        noise = random_batch(recipe, draws, 2)
        recipe = with_class_weights(recipe, lambda: noise[1])
        x, target = (one.to(place) for one in noise)
        with _saying_what_it_cannot_train(recipe):
            rule = build_rule(recipe)
            for step in rule(network.train(), x, target, rule.schedule(recipe.time_steps, draws)):
                torch.autograd.backward(step.loss)


def _network_to_try(recipe: Recipe) -> tuple[nn.Module, device]:
    """Return the network for `try_update` and the network's device.

    A network larger than `SMALL` is created on the "meta" device, without values. A smaller network is created on the
    CPU, with values drawn from the seed.
    """
    import torch

    with without_values():
        network = build_model(recipe)
    torch.manual_seed(recipe.seed)
    if not _is_small(network, input_record(recipe).shape):
        return network, torch.device("meta")
    return build_model(recipe), torch.device("cpu")


@contextmanager
def without_values() -> Iterator[None]:
    """Within a context, create tensors without values and preserve torch's random state."""
    import torch
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

    # Most modules use these initialisers. Their "meta" versions import torch._dynamo, which takes longer than a build.
    draws = (Tensor.normal_, Tensor.uniform_)

    class Undrawn(TorchFunctionMode):
        def __torch_function__(
            self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return args[0] if function in draws else function(*args, **(kwargs or {}))

    with torch.device("meta"), Undrawn():
        yield


@contextmanager
def _saying_what_it_cannot_train(recipe: Recipe) -> Iterator[None]:
    """Convert a rule's error about an unsupported network to a `RecipeError`."""
    try:
        yield
    # Custom parts may raise any exception.
    except Exception as error:
        if not isinstance(error, HdlifError) and not names_own_parts(recipe):
            raise
        said = str(error) if isinstance(error, HdlifError) else f"{type(error).__name__}: {first_line(error)}"
        raise RecipeError(f"rule.{recipe.rule.kind} cannot train model.{recipe.model.kind}: {said}") from error


def _is_small(network: nn.Module, shape: tuple[int, ...]) -> bool:
    values = sum(tensor.numel() for tensor in network.state_dict().values())
    # No layer enlarges the image, so a map has at most a layer's channels times the size of the image.
    channels = max((tensor.shape[0] for tensor in network.parameters() if tensor.ndim > 1), default=1)
    return bool(max(values, channels * math.prod(shape[1:])) <= SMALL)


def check(recipe: Recipe) -> None:
    """Raise `RecipeError` for the first part of the recipe that cannot be built.

    The network is built on torch's "meta" device, without values. A network larger than `SMALL` also runs on "meta".
    The check needs little memory and does not change torch's random state. `MOST_VALUES` limits the number of values in
    the network, and `MOST_NEURONS` the number of neurons per batch.
    """
    check_names(recipe)
    try_augment(recipe.data, data_kind(recipe).input.kind, raw_shape(recipe))
    task = build_measured_task(recipe)
    rule = build_training_rule(recipe)
    try_optimization(recipe.training)
    build_penalty(recipe)
    build_mix(recipe)
    network = _check_network(recipe, task)
    if recipe.training.stream is not None:
        _check_streams(recipe, rule, network)


def build_trained(recipe: Recipe, fill: Callable[[nn.Module], object]) -> nn.Module:
    """Return the network of a trained recipe in eval mode, with parameters and buffers set by `fill`.

    Without custom parts, the network is built once, without values. Custom parts may contain tensors outside the state
    dict, so networks with custom parts are built again with values.

    Raises:
        RecipeError: the network cannot be built; the rest of the recipe is not checked.
    """
    read_task(recipe)
    read_model(recipe)
    task = build_measured_task(recipe)
    if not names_own_parts(recipe):
        return _check_network(recipe, task, fill).eval()
    network = _check_network(recipe, task)
    if next(network.parameters()).is_meta:
        network = build_model(recipe)
    fill(network)
    return network.eval()


def _check_network(recipe: Recipe, task: Task, fill: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """Build the recipe's network, check that it fits the task, and return the network.

    If given, `fill` sets the network's values. Without `fill`, values are drawn from the seed, but a network larger
    than `SMALL` has no values.
    """
    import torch

    shape = input_record(recipe).shape
    with without_values():
        network = build_model(recipe)
        values = sum(tensor.numel() for tensor in network.state_dict().values())
        if values > MOST_VALUES:
            seen = f"model: the network has {values:,} parameters, and at most {MOST_VALUES:,} are accepted"
            raise RecipeError(f"{seen}; make it narrower or shallower, or lower time_steps")
    if not _is_small(network, shape):
        _check_fit(recipe, task, network)
        if fill is not None:
            fill(network)
        return network
    if fill is not None:
        fill(network)
    else:
        with torch.random.fork_rng(devices=[]):
            network = build_model(recipe)
    _check_fit(recipe, task, network)
    return network


def _check_fit(recipe: Recipe, task: Task, network: nn.Module) -> None:
    """Raise `RecipeError` unless the network's outputs for one image fit the task."""
    shape = input_record(recipe).shape
    divisor = MODELS.read(recipe.model).divisor
    if any(side % divisor for side in shape[1:]):
        fitting = [divisor * max(1, round(side / divisor)) for side in shape[1:]]
        seen = f"model.{recipe.model.kind} needs images whose sides are multiples of {divisor}, got {list(shape[1:])}"
        raise RecipeError(f"{seen}; set data.size={fitting}")
    try:
        neurons, outputs = _neurons_and_outputs(network.eval(), shape)
    except (RuntimeError, ValueError, IndexError) as error:
        seen = f"model.{recipe.model.kind} does not fit images of {list(shape)}"
        raise RecipeError(f"{seen}: {first_line(error)}") from error
    except Exception as error:
        if recipe.model.kind in MODELS or isinstance(error, HdlifError):
            raise
        raise RecipeError(
            f"model.{recipe.model.kind} does not run: {type(error).__name__}: {first_line(error)}; "
            "forward(x, state, steps) takes x [steps, batch, ...] and gives (logits, state)"
        ) from error
    if recipe.model.kind not in MODELS:
        _check_own(network, recipe.model.kind, shape)
    count, *places = outputs
    target = getattr(task, "target", "own")
    is_map = target in _MAPS
    if bool(places) != is_map and target != "own":
        seen = f"model.{recipe.model.kind} returns {'a map' if places else 'one output'} for an image"
        fix = "another, or end it with nn.Flatten() and nn.Linear"
        if is_map:
            fix = "a network of maps, such as --set 'model={kind: unet, width: 16, depth: 3}'"
        raise RecipeError(f'{seen}, which task.kind = "{recipe.task.kind}" does not support; use {fix}')
    if is_map and places != [*shape[1:]]:
        seen = f"model.{recipe.model.kind} returns maps of {places}, but the images are {list(shape[1:])}"
        raise RecipeError(f"{seen}; return maps of that size")
    wanted = getattr(task, "output_count", len(task.outputs))
    if count != wanted != len(task.outputs):
        seen = f'model.{recipe.model.kind} gives {count} outputs, but task.kind = "{recipe.task.kind}" needs {wanted}'
        raise RecipeError(f"{seen}; use a network with that many, as in --set 'model={{kind: detector}}'")
    if count != wanted:
        seen = f"model.{recipe.model.kind} gives {count} outputs, but {recipe.data.kind} has {wanted} classes"
        raise RecipeError(f"{seen} or values; take `classes` as an argument, and end with that many outputs")
    if neurons * recipe.data.batch_size > MOST_NEURONS:
        seen = f"data.batch_size = {recipe.data.batch_size}; the network has {neurons:,} neurons per image"
        raise RecipeError(f"{seen}, but a batch may have at most {MOST_NEURONS:,}; lower it, data.size or model.width")


def _check_streams(recipe: Recipe, rule: Rule, network: nn.Module) -> None:
    """Raise `RecipeError` if the recipe cannot train on its samples as a stream."""
    from hdlif.training.streaming import check_streams

    assert recipe.training.stream is not None
    if recipe.training.accumulate > 1:
        raise RecipeError("training.stream updates after each part of a batch; leave training.accumulate out")
    if data_kind(recipe).target == "class_and_steps":
        seen = "training.stream needs samples of one length, but these time series differ in length"
        raise RecipeError(f"{seen}; leave it out, or set data.window to cut them into windows")
    if recipe.task.arguments.get("combine") == "last" and "learn_from" not in recipe.task.arguments:
        seen = 'task.combine = "last" also sets task.learn_from = "last"'
        raise RecipeError(f"{seen}, but training.stream needs a loss at every step; set task.learn_from: every")
    try:
        check_streams(recipe.training.stream, recipe.time_steps, rule, network)
    except InputError as error:
        raise RecipeError(str(error)) from error


def _check_own(network: nn.Module, kind: str, shape: tuple[int, ...]) -> None:
    """Raise `RecipeError` if a custom network cannot be saved, or if its logits change when it runs step by step."""
    import torch

    names: dict[int, str] = {}
    for name, tensor in network.named_parameters(remove_duplicate=False):
        if (other := names.setdefault(id(tensor), name)) != name:
            seen = f"model.{kind} uses one parameter in two places, {other} and {name}"
            raise RecipeError(f"{seen}; create a layer for each place")
    if next(network.parameters()).device.type == "meta":
        return
    x = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, _ = network(x, steps=range(2))
        first, state = network(x[:1], steps=range(1))
        second, _ = network(x[1:], state, steps=range(1, 2))
    if not torch.allclose(together, torch.cat([first, second]), rtol=1e-3, atol=1e-4):
        seen = f"model.{kind} gives different logits for two steps in one call and in two calls"
        raise RecipeError(f"{seen}; return run.state of its Scope, and do not depend on the number of steps")


def _neurons_and_outputs(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Run a network on one image for one time step, and return the number of neurons and the shape of the outputs."""
    import torch

    from hdlif.nn import Neuron
    from hdlif.nn.scope import CHANNELS

    counts = []

    def note(module: nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> None:
        counts.append(output[0].numel())

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, Neuron)]
    logits, _ = network(torch.zeros(1, 1, *shape, device=next(network.parameters()).device), steps=range(1))
    for hook in hooks:
        hook.remove()
    return sum(counts), tuple(logits.shape[CHANNELS:])


def raw_shape(recipe: Recipe) -> tuple[int, ...]:
    """Return the shape [C, H, W] of a sample before augmentation; for events, C counts the channels of all frames."""
    kind = data_kind(recipe)
    channels, *sides = kind.input.shape
    if (size := recipe.data.size) is not None:
        sides = [size, size] if isinstance(size, int) else list(size)
    return (channels * (recipe.time_steps if kind.events else 1), *sides)


def random_batch(recipe: Recipe, generator: Generator, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Return a batch of noise [T or 1, B, C, H, W] for the recipe's network, and a random target.

    Args:
        count: B; by default the recipe's batch size.
    """
    import torch

    batch, shape = count or recipe.data.batch_size, input_record(recipe).shape
    described = data_kind(recipe)
    constant = frames_of(recipe.data, check_data(recipe)) == CONSTANT and described.target != "boxes_each"
    x = torch.randn(1 if constant else recipe.time_steps, batch, *shape, generator=generator)
    outputs, each = len(described.labels), (recipe.time_steps,)
    if described.target == "class_and_steps":
        classes, steps = torch.randint(outputs, (batch,), generator=generator), torch.full((batch,), recipe.time_steps)
        return x, torch.stack([classes, steps], 1)
    if described.target in ("class", "classes"):
        sizes = (batch,) if described.target == "class" else (batch, *each)
        return x, torch.randint(outputs, sizes, generator=generator)
    if described.target in ("map", "instances"):
        return x, torch.randint(outputs, (batch, *shape[1:]), generator=generator)
    if described.target in ("boxes", "boxes_each"):
        # One box per class, in the upper left quarter.
        box = torch.tensor([[number, 0, 0, shape[2] / 2, shape[1] / 2] for number in range(outputs)])
        return x, box.expand(batch, *(each if described.target == "boxes_each" else ()), -1, -1)
    if described.target == "labels":
        return x, torch.randint(2, (batch, outputs), generator=generator).float()
    return x, torch.randn(batch, *(each if described.target == "values_each" else ()), outputs, generator=generator)
