"""Implement `hdlif adapt`, which trains a model file with the compiled runtime."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from hdlif.errors import ArgumentError, DataError, HdlifError, say_nothing
from hdlif.report.tables import aligned, wilson_interval
from hdlif.zoo import network_file

if TYPE_CHECKING:
    import torch

    from hdlif.data.samples import DataSets, Samples
    from hdlif.runtime import LearningRate


RATE_OF_DATA = 0.003
"""The default learning rate for several passes over labelled data."""
PASSES, UPDATES_OF_CLASSES = 5, 100
"""The default number of passes, and the least number of updates if classes are new."""


@dataclass(frozen=True)
class Adapted:
    """The result of `hdlif adapt`.

    Attributes:
        file: the new model file.
        level: the trained part.
        samples, updates: the number of training samples and of updates, over all passes.
        trained: the number of trainable parameters.
        accuracy_before, accuracy_after: fractions in 0..1, on `tested` samples of the part "test". For a stream, the
            accuracies of the original network, and of the network so far, on all windows with a label.
        replay_before, replay_after: with `replay`, the accuracies on the part "test" of its data.
    """

    file: str
    level: str
    samples: int
    updates: int
    trained: int
    tested: int
    accuracy_before: float
    accuracy_after: float
    replay_before: float | None = None
    replay_after: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif adapt --json`."""
        return asdict(self)


@called_from_python
def adapt(
    network: Annotated[Place, argument(metavar="PATH", type=NETWORK)],
    *,
    data: DataSet = None,
    stream: Annotated[Path | None, option(type=FILE)] = None,
    target: str | None = None,
    out: Annotated[Path, option(type=FILE)],
    level: TrainedLevel = "last-block",
    passes: Annotated[int | None, option(type=click.IntRange(1))] = None,
    batch_size: Annotated[int, option(type=click.IntRange(1))] = 8,
    rate: float | None = None,
    latent_rate: float | None = None,
    momentum: float = 0.0,
    steps: Literal["all", "last", "random"] = "all",
    seed: int = 42,
    new_classes: bool = False,
    replay: DataSet = None,
    data_root: DataRoot = None,
    overrides: DataKeys = (),
    say: Callable[[str], None] = say_nothing,
) -> Adapted:
    """Train the model file PATH on labelled data and write a new model file.

    Training requires only the memory of a single time step, as on a device. Each time step contributes the gradient of
    its own loss (SLTT), and each batch updates the network once. Batch norm stays folded. `hdlif adapt` trains on the
    "train" split and tests on the "test" split. If the data have no splits, 15 % of the samples are used for testing.

    With --stream, `hdlif adapt` trains on rows of a time series as they arrive, until the stream ends or you press
    Ctrl-C. `hdlif adapt` predicts each window, and updates the network after every --batch-size labelled windows.

    \f
    `network` is PATH, `overrides` contains "data.KEY=VALUE" entries, and `data_root` is as in `train`.

    Args:
        data: Data set, or your own labelled data, with the network's classes.
        stream: Instead of data: a CSV file, FIFO or device, or - for standard input.
        target: Streams: column with the labels, which may be empty.
        out: New model file.
        level: Part to train; each level contains the previous ones. classifier: the last layer. affine: also scales,
            shifts, leaks and thresholds. last-block: also the weights with at most two weight layers after them.
        passes: Passes over the training part.  [default: 5, or if classes are new, at least 100 updates]
        batch_size: Samples per update.
        rate: Learning rate of float weights, scales, shifts, leaks and thresholds. By default 0.003, or 0.01 for a
            stream, which is seen only once.
        latent_rate: Learning rate of low-bit weights, as a fraction of one level. By default as for --rate.
        momentum: Momentum of the updates, from 0 to below 1.
        steps: Time steps with a loss: all, the last one, or a random one per batch.
        seed: Seed for the order of samples, and for random steps.
        new_classes: Add the classes that the network lacks.
        replay: Labelled data with known classes, so that the network forgets less: each batch also has as many random
            samples of their "train" split.
    Raises:
        HdlifError: the network cannot be trained like this (the message contains the reason), or a rate is out of
            range.
        DataError: the data cannot be used, or do not fit the network.
    """
    if (data is None) == (stream is None) or (stream is None) != (target is None):
        raise ArgumentError("give either --data, or --stream with --target")
    if stream is not None and (replay is not None or new_classes):
        seen = "--replay" if replay is not None else "--new-classes"
        raise ArgumentError(f"{seen} applies to --data, not to --stream")
    from hdlif.recipe.runs.files import existing, names_artefact
    from hdlif.runtime.learning import DEFAULT_RATE, LearningRate

    path, default = network_file(network), RATE_OF_DATA if stream is None else DEFAULT_RATE.floats
    sizes = LearningRate(default if rate is None else rate, default if latent_rate is None else latent_rate, momentum)
    if not names_artefact(path):
        raise HdlifError(f"{path} is no model file; export a run or checkpoint first: hdlif export RUN --out FILE")
    if existing(path).resolve() == Path(out).resolve():
        raise ArgumentError(f"--out {out} is the network itself; choose another file")
    if stream is not None:
        return _adapt_to_stream(path, level, sizes, stream, str(target), batch_size, out, say)
    import torch

    from hdlif.data.targets import other_classes
    from hdlif.graph.artefact.io import digest_of, load, save
    from hdlif.graph.graph import Learned
    from hdlif.graph.learning import with_classes
    from hdlif.recipe.runs.recipe_data import data_keys, in_root, names_path
    from hdlif.recipe.runs.tested_data import check_classes, sets_named
    from hdlif.report.evaluation import evaluate_deployed
    from hdlif.runtime.learning import Learner
    from hdlif.training.tasks import task_of

    graph = load(path)
    if graph.task.kind != "classify" or graph.input.shortest:
        unlike = "series of unequal lengths" if graph.input.shortest else f"the task {graph.task.kind}"
        raise HdlifError(f"{path}: adapt learns one class per sample, of equal lengths, and this network has {unlike}")
    learner = Learner(graph, level, rate=sizes)
    root, given, keys = None if data_root is None else Path(data_root), fspath(data or ""), data_keys(overrides)

    def read(place: str, shipped_keys: Mapping[str, Any], *, new_classes: bool) -> "DataSets":
        taken: dict[str, Any] = {"record": graph.input, "time_steps": graph.time_steps, "task": graph.task}
        if not names_path(in_root(place, root) or place):
            sets = sets_named(place, root, path, **taken, keys=shipped_keys)
            check_classes(path, labels, sets)
            return sets
        # No choice depends on validation, so its samples train too.
        own_keys = {"split": {"validation": 0, "test": 0.15}, **keys}
        taken |= {"labels": graph.labels, "new_classes": new_classes}
        return sets_named(place, root, path, **taken, keys=own_keys, say=say)

    source, labels = digest_of(graph), graph.labels
    sets = read(given, keys, new_classes=True)
    if new := sets.classes[len(labels) :]:
        if not new_classes:
            seen = other_classes(sets.classes, labels, "the network")
            raise DataError(f"{given} {seen}; give data of the network's classes, or --new-classes to add classes")
        graph = with_classes(graph, new)
        learner = Learner(graph, level, rate=sizes)
    old = None if replay is None else read(fspath(replay), {}, new_classes=False)
    own, task = sets.of("train"), task_of(graph)
    if passes is None:
        passes = max(PASSES, -(-UPDATES_OF_CLASSES // -(-len(own) // batch_size)) if new else 0)
    generator, samples = torch.Generator().manual_seed(seed), 0
    tested = [one.of("test") for one in (sets, old) if one is not None]
    before = [evaluate_deployed(graph, part, task=task) for part in tested]
    for number in range(passes):
        batches = torch.split(torch.randperm(len(own), generator=generator), batch_size)
        for x, y in own.stream(batches) if old is None else _mixed(own, old.of("train"), batches, generator):
            chosen = _chosen(steps, len(x) if len(x) > 1 else graph.time_steps, generator)
            learner.learn(x.numpy(), y.numpy(), steps=chosen)
            samples += len(y)
        say(f"pass {number + 1} of {passes}: {learner.updates} updates")
    learned = learner.graph
    after = [evaluate_deployed(learned, part, task=task) for part in tested]
    # Name the original file also if classes were added to it.
    save(replace(learned, learned=Learned(source, level, learner.updates)), out)
    accuracies = [float(one.accuracy or 0) for pair in zip(before, after, strict=True) for one in pair]
    return Adapted(fspath(out), level, samples, learner.updates, learner.trained, after[0].n, *accuracies)


def _adapt_to_stream(
    path: Path,
    level: TrainedLevel,
    rate: "LearningRate",
    stream: Path,
    target: str,
    batch_size: int,
    out: Path,
    say: Callable[[str], None],
) -> Adapted:
    from hdlif.cli.adapt_stream import run
    from hdlif.graph.artefact import load
    from hdlif.runtime import Learner

    graph = load(path)
    learner = Learner(graph, level, rate=rate)
    try:
        windows = run(graph, learner, stream, target=target, batch_size=batch_size, say=say)
    finally:
        # Keep what was learned before an error or Ctrl-C.
        if learner.updates:
            learner.save(out)
            say(f"{out}: the network after {learner.updates} updates")
    count, (before, after) = windows.labelled, (right / max(windows.labelled, 1) for right in windows.correct)
    return Adapted(fspath(out), level, count, learner.updates, learner.trained, count, before, after)


def _mixed(
    own: "Samples", old: "Samples", batches: "Sequence[torch.Tensor]", generator: "torch.Generator"
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Yield each batch of `own`, followed by as many random samples of `old`."""
    import torch

    drawn = [torch.randint(len(old), (len(batch),), generator=generator) for batch in batches]
    for new, replayed in zip(own.stream(batches), old.stream(drawn), strict=True):
        yield torch.cat([new[0], replayed[0]], 1), torch.cat([new[1], replayed[1]])


def _chosen(steps: str, count: int, generator: "torch.Generator") -> range | None:
    """Return the time steps at which the loss is computed, or None for all `count` steps."""
    import torch

    if steps == "all":
        return None
    at = count - 1 if steps == "last" else int(torch.randint(count, (), generator=generator))
    return range(at, at + 1)


def _text(result: Adapted) -> str:
    columns, rows = [f"of {result.tested} samples", "accuracy", "95 % interval"], []
    for when, accuracy in (("before", result.accuracy_before), ("after", result.accuracy_after)):
        low, high = wilson_interval(accuracy, result.tested)
        rows.append([when, f"{accuracy:.2%}", f"{low:.0%} to {high:.0%}"])
    if result.replay_before is not None:
        columns.append("on replayed data")
        shares = result.replay_before, result.replay_after
        rows = [[*row, f"{share:.2%}"] for row, share in zip(rows, shares, strict=True)]
    said = f"{result.file}: {result.trained:,} numbers trained ({result.level}), {result.updates} updates"
    return f"{said}\n\n{aligned(columns, rows)}"


COMMAND = subcommand(
    adapt,
    ("hdlif adapt digits_hdlif_w1p5_s4 --data digits --out more.hdlif.safetensors", "a trained network, a small set"),
    ("hdlif adapt tracker.hdlif.safetensors --data me/ --new-classes --out me.hdlif.safetensors", "new classes"),
    (
        "sensor | hdlif adapt tracker.hdlif.safetensors --stream - --target activity --out me.hdlif.safetensors",
        "labelled rows as they arrive",
    ),
    ("hdlif adapt tracker.hdlif.safetensors --data me/ --level classifier --out me.hdlif.safetensors", "last layer"),
    text=_text,
)
