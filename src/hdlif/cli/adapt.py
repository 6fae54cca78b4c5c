"""`hdlif adapt`: train a model file on labelled data with the compiled runtime."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from os import fspath
from pathlib import Path
from typing import Annotated, Any

import click

from hdlif.cli.names import NETWORK
from hdlif.cli.options import (
    FILE,
    DataKeys,
    DataRoot,
    DataSet,
    Place,
    TrainedLevel,
    argument,
    called_from_python,
    option,
    subcommand,
)
from hdlif.errors import HdlifError, say_nothing
from hdlif.report.tables import aligned
from hdlif.zoo import network_file


@dataclass(frozen=True)
class Adapted:
    """The result of `hdlif adapt`.

    Attributes:
        file: the new model file.
        level: the trained part.
        samples, updates: the number of training samples and of updates, over all passes.
        trained: the number of trainable parameters.
        accuracy_before, accuracy_after: on `tested` samples of the part "test", fractions in 0..1.
    """

    file: str
    level: str
    samples: int
    updates: int
    trained: int
    tested: int
    accuracy_before: float
    accuracy_after: float

    def as_dict(self) -> dict[str, Any]:
        """Return the output of `hdlif adapt --json`."""
        return asdict(self)


@called_from_python
def adapt(
    network: Annotated[Place, argument(metavar="PATH", type=NETWORK)],
    *,
    data: DataSet,
    out: Annotated[Path, option(type=FILE)],
    level: TrainedLevel = "last-block",
    passes: Annotated[int, option(type=click.IntRange(1))] = 1,
    batch_size: Annotated[int, option(type=click.IntRange(1))] = 8,
    rate: float = 0.01,
    latent_rate: float = 0.01,
    momentum: float = 0.0,
    seed: int = 42,
    data_root: DataRoot = None,
    overrides: DataKeys = (),
    say: Callable[[str], None] = say_nothing,
) -> Adapted:
    """Train the model file PATH on labelled data, and write a new model file.

    The network trains step by step in the memory of one step, as it would on a device. Each time step adds the gradient
    of its own loss (SLTT), and each batch is one update. Batch norm stays folded. The network trains on the data's part
    "train" and is tested on "test"; if the data have no parts, 15 % are for testing.

    \f
    `network` is PATH, `overrides` are "data.KEY=VALUE" each, and `data_root` is as in `train`.

    Args:
        data: Data set, or your own labelled data, with the network's classes.
        out: New model file.
        level: Part to train; each level contains the previous ones. classifier: the last layer. affine: also scales,
            shifts, leaks and thresholds. last-block: also the weights with at most two weight layers after them.
        passes: Passes over the training part.
        batch_size: Samples per update.
        rate: Learning rate of float weights, scales, shifts, leaks and thresholds.
        latent_rate: Learning rate of low-bit weights, as a fraction of one level.
        momentum: Momentum of the updates, from 0 to below 1.
        seed: Seed for the order of samples.
    Raises:
        HdlifError: the network cannot be trained like this (the message contains the reason), or a rate is out of
            range.
        DataError: the data cannot be used, or do not fit the network.
    """
    import torch

    from hdlif.graph.artefact.io import load
    from hdlif.recipe.runs.files import existing, names_artefact
    from hdlif.recipe.runs.recipe_data import data_keys, in_root, names_path
    from hdlif.recipe.runs.tested_data import check_classes, sets_for
    from hdlif.report.evaluation import evaluate_deployed
    from hdlif.runtime.learning import Learner, LearningRate
    from hdlif.training.tasks import task_of

    path = network_file(network)
    if not names_artefact(path):
        raise HdlifError(f"{path} is no model file; export it first: hdlif export {path} --to artefact --out FILE")
    graph = load(existing(path))
    if graph.task.kind != "classify" or graph.input.shortest:
        unlike = "series of unequal lengths" if graph.input.shortest else f"the task {graph.task.kind}"
        raise HdlifError(f"{path}: adapt learns one class per sample, of equal lengths, and this network has {unlike}")
    learner = Learner(graph, level, rate=LearningRate(rate, latent_rate, momentum))
    root, given, keys = None if data_root is None else Path(data_root), fspath(data or ""), data_keys(overrides)
    if names_path(in_root(given, root) or given):
        # No choice depends on validation, so its samples train too.
        keys = {"split": {"validation": 0, "test": 0.15}, **keys}
    sets = sets_for(graph, given, root, path, keys=keys, say=say)
    check_classes(path, graph.labels, sets)
    own, task = sets.of("train"), task_of(graph)
    generator, samples = torch.Generator().manual_seed(seed), 0
    before = evaluate_deployed(graph, sets.of("test"), task=task)
    for number in range(passes):
        order = torch.randperm(len(own), generator=generator)
        for x, y in own.stream(torch.split(order, batch_size)):
            learner.learn(x.numpy(), y.numpy())
            samples += len(y)
        say(f"pass {number + 1} of {passes}: {learner.updates} updates")
    after = evaluate_deployed(learner.graph, sets.of("test"), task=task)
    learner.save(out)
    tensors = {node.name: node.tensors for node in graph.nodes}
    return Adapted(
        fspath(out),
        level,
        samples,
        learner.updates,
        sum(tensors[place.node][place.role].size for place in learner.places),
        after.n,
        float(before.accuracy or 0),
        float(after.accuracy or 0),
    )


def _text(result: Adapted) -> str:
    rows = [["before", f"{result.accuracy_before:.2%}"], ["after", f"{result.accuracy_after:.2%}"]]
    said = f"{result.file}: {result.trained:,} numbers trained ({result.level}), {result.updates} updates"
    return f"{said}\n\n{aligned([f'of {result.tested} test samples', 'accuracy'], rows)}"


COMMAND = subcommand(
    adapt,
    ("hdlif adapt digits_hdlif_w1p5_s4 --data digits --out more.hdlif.safetensors", "a trained network, a small set"),
    ("hdlif adapt tracker.hdlif.safetensors --data me/ --level classifier --out me.hdlif.safetensors", "last layer"),
    text=_text,
)
