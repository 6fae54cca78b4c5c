"""Implement `hdlif.load`, and lower in-memory networks to graphs."""

from os import PathLike
from typing import Any, Protocol, cast

from torch import Tensor, nn

from hdlif.data import Samples
from hdlif.data.in_memory import SeriesSamples
from hdlif.deploy import lower
from hdlif.errors import InputError
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.nn import State
from hdlif.recipe import Recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training import Trainer
from hdlif.zoo import WEIGHTS, network_file


class TrainedNetwork(Protocol):
    """A trained `torch.nn.Module` in eval mode, with its recipe, input and task.

    Attributes:
        recipe: the recipe of the training.
        input: the network's input at each step.
        labels: the names of the outputs.
        time_steps: T.
        task: the meaning of the outputs.
    """

    recipe: Recipe
    input: InputRecord
    labels: tuple[str, ...]
    time_steps: int
    task: TaskRecord

    def __call__(self, x: Tensor, state: State | None = None, *, steps: range) -> tuple[Tensor, State | None]: ...


def load(source: str | PathLike[str]) -> TrainedNetwork:
    """Load a trained network in eval mode from a run folder, from a checkpoint or by name.

    >>> import tempfile, torch, hdlif
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = ["training.epochs=1", "model.width=4"]
    ...     _ = hdlif.train("digits_hdlif", overrides=small, out=f"{folder}/run")
    ...     network = hdlif.load(f"{folder}/run")
    >>> logits, _ = network(torch.rand(4, 2, *network.input.shape), steps=range(4))
    >>> list(logits.shape), network.training, network.labels[:3]
    ([4, 2, 10], False, ('0', '1', '2'))

    Args:
        source: a run folder, a checkpoint, or a name from `hdlif models ls`; files and folders take precedence.
    Raises:
        CheckpointError: the checkpoint is missing or damaged, or has no recipe.
        InputError: no such file, folder or trained network exists.
    """
    trained = load_trained(network_file(source, WEIGHTS))
    network = trained.network
    for name, value in (("recipe", trained.recipe), *trained.record().items()):
        setattr(network, name, value)
    return cast(TrainedNetwork, network)


def graph_of(
    network: object,
    input: InputRecord | None = None,
    labels: tuple[str, ...] | None = None,
    time_steps: int | None = None,
) -> Graph:
    """Return the deployed form of a network as a graph.

    Args:
        network: a network returned by `load`; a `Trainer` after training; or any other module, with `input`, `labels`
            and `time_steps`.
    Raises:
        InputError: the network's input, labels or T are unknown.
        LoweringError: a layer has no deployed form.
    """
    known: dict[str, Any] = {key: getattr(network, key, None) for key in ("input", "labels", "time_steps", "task")}
    module = network
    if isinstance(network, Trainer):
        task, module = network.task, network.model
        known = {"labels": task.outputs, "time_steps": task.time_steps, "task": task.record}
        known["input"] = None if network.samples is None else input_of(network.samples)
    known |= {key: one for key, one in (("input", input), ("labels", labels), ("time_steps", time_steps)) if one}
    missing = [key for key in ("input", "labels", "time_steps") if known[key] is None]
    if not isinstance(module, nn.Module) or missing:
        raise InputError(
            f"network is a {type(network).__name__}, whose {' and '.join(missing or ['network'])} are unknown; give a "
            "run, a checkpoint, a network of hdlif.load or a trained Trainer, or add "
            + ", ".join(f"{key}=" for key in missing or ["input"])
        )
    known["task"] = known["task"] or TaskRecord()
    was_training = module.training
    try:
        return lower(module.eval(), **known)
    finally:
        module.train(was_training)


def input_of(samples: Samples) -> InputRecord | None:
    """Return the input record that describes samples, or None if the samples do not determine the input."""
    import torch

    x, _ = samples.sequence(torch.arange(1))
    steps, _, *shape = x.shape
    channels, height, width = [*shape, *[1] * (3 - len(shape))] if len(shape) < 3 else shape
    mean = getattr(samples, "mean", (0.0,) * channels)
    std = getattr(samples, "std", (1.0,) * channels)
    frame = (channels, height, width)
    if isinstance(samples, SeriesSamples) or (steps > 1 and (height, width) == (1, 1)):
        frames = "rows" if steps > 1 else "constant"
        return InputRecord(frame, mean, std, kind="series", resize="none", frames=frames)
    if steps > 1:
        return None
    if height * width > 1:
        return InputRecord(frame, mean, std)
    return InputRecord(frame, mean, std, kind="table", resize="none")
