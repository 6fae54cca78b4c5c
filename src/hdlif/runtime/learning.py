"""Train deployed networks on the device with the compiled runtime."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlif._native import Learner as Native
from hdlif.errors import HdlifError, StateError, brief
from hdlif.graph.artefact import Graph, dumps, infer_values, load, save
from hdlif.graph.artefact.io import digest_of
from hdlif.graph.graph import Learned
from hdlif.graph.learning import Level, Place, path, trained
from hdlif.graph.ops import OPS
from hdlif.runtime.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS
from hdlif.runtime.session import Session
from hdlif.runtime.state import (
    Array,
    State,
    channels_first,
    channels_last,
    check_frame,
    check_state,
    contiguous,
    count_steps,
    potential_shapes,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LearningRate:
    """The learning rates and the momentum of an update (`hdlif.runtime.reference_learning`).

    Attributes:
        floats: rate for float weights, scales, shifts, leaks and thresholds.
        latents: rate for low-bit weights: root mean square of their change per update, in codes.
        momentum: momentum from 0 to below 1; above 0 it takes a float32 per trained number.
    Raises:
        HdlifError: a value is out of its range.
    """

    floats: float = 0.01
    latents: float = 0.01
    momentum: float = 0.0

    def __post_init__(self) -> None:
        for name, value, most in (("floats", self.floats, 1e6), ("latents", self.latents, 1.0)):
            if not 0 <= value <= most:
                raise HdlifError(f"{name} = {brief(value)}; give a number in 0..{most:g}")
        if not 0 <= self.momentum < 1:
            raise HdlifError(f"momentum = {brief(self.momentum)}; give a number of at least 0 and below 1")


DEFAULT_RATE = LearningRate()


class Held(NamedTuple):
    """The values, latents and velocities of a trained tensor.

    Latents are int16 and exist only for low-bit weights. Velocities exist only with momentum. All arrays have the shape
    of the tensor.
    """

    values: Array
    latents: Array | None
    velocities: Floats | None


class Learning(ABC):
    """Base class for the compiled learner and the reference learner."""

    def __init__(self, graph: Graph, level: Level, rate: LearningRate, memory: Mapping[str, Array] | None) -> None:
        self.rate, self.level, self.updates = rate, level, 0
        self.places = trained(graph, level)
        self._start, self._needed, self._terms = graph, path(graph, self.places), 0
        self._nodes = {node.name: node for node in graph.nodes}
        values = infer_values(graph)
        self._shapes, self._output = potential_shapes(graph, values), values[graph.output].shape
        self._begin()
        if memory is not None:
            self._resume(memory)

    @abstractmethod
    def _begin(self) -> None:
        """Copy the trained tensors of the initial graph."""

    @abstractmethod
    def _run(self, x: Floats, t: int, learns: list[bool], potentials: State, classes: Array | None) -> Floats:
        """Run time steps starting at t, return logits [T, B, classes], and update the potentials in place.

        Args:
            x: input [T or 1, B, C, H, W].
            learns: for each step, whether to add the gradients for the targets `classes`.
        """

    @abstractmethod
    def _update(self) -> bool:
        """Update the tensors with the mean gradient, or return False if a value would not be finite."""

    @abstractmethod
    def _read(self, place: Place) -> Held:
        """Return copies of the values, latents and velocities of a trained tensor."""

    @abstractmethod
    def _write(self, place: Place, held: Held) -> None:
        """Set the velocities of a tensor, and the latents or, for float tensors, the values."""

    def step(self, x: Floats, state: State | None = None, *, targets: object = None) -> tuple[Floats, State]:
        """Run one time step as in `Session.step`, and return logits [B, classes] and the next state.

        Args:
            x: frames, float32 [B, C, H, W].
            state: state after the previous step, possibly computed with older weights; None starts a sequence.
            targets: class of each sample, as integers; with None the step adds no gradients.
        Raises:
            ShapeError, StateError: `x` or `state` does not fit the network.
            HdlifError: a target is out of range.
        """
        check_frame(x, self._start.input.shape)
        t = 0 if state is None else check_state(state, self._shapes, len(x))
        classes = None if targets is None else self._checked(targets, len(x))
        potentials = {
            name: np.zeros((len(x), *shape), np.float32) if state is None else state[name].copy()
            for name, shape in self._shapes.items()
        }
        logits = self._run(x[None], t, [classes is not None], potentials, classes)
        self._terms += 0 if classes is None else len(x)
        return logits[0], {"t": np.array(t + 1, np.int64), **potentials}

    def update(self) -> None:
        """Update the weights with the mean of the gradients since the last update.

        Raises:
            HdlifError: no step had a target, or a weight would not be finite; the weights do not change.
        """
        if self._terms == 0:
            raise HdlifError("no step had a target since the last update, so there is nothing to learn from")
        is_finite = self._update()
        self._terms = 0
        if not is_finite:
            raise HdlifError("an update would make a weight infinite; the weights stay as they were. Give a lower rate")
        self.updates += 1

    def learn(self, x: Floats, targets: object, *, steps: range | None = None) -> Floats:
        """Train on complete sequences, update the weights, and return logits [T, B, classes].

        Args:
            x: float32 [T, B, C, H, W], or [1, B, C, H, W] constant in time over the network's time steps.
            targets: class of each sequence.
            steps: steps with a loss; default: all, which is SLTT. `range(t, t + 1)` with a random t is single-step
                random training. Steps after the last of them do not run.
        Raises:
            ShapeError, HdlifError: as in `step` and `update`.
        """
        count = count_steps(x, self._start.input.shape, None, self._start.time_steps)
        chosen = range(count) if steps is None else steps
        if len(chosen) == 0 or min(chosen) < 0 or max(chosen) >= count:
            raise HdlifError(f"steps = {brief(steps)}; give some of the steps 0 to {count - 1}")
        classes, learns = self._checked(targets, len(x[0])), [t in chosen for t in range(max(chosen) + 1)]
        potentials = {name: np.zeros((len(x[0]), *shape), np.float32) for name, shape in self._shapes.items()}
        logits = self._run(x[: len(learns)], 0, learns, potentials, classes)
        self._terms += len(x[0]) * sum(learns)
        self.update()
        return logits

    @property
    def graph(self) -> Graph:
        """Return the graph with the current weights and a record of the original network."""
        if self.updates == 0:
            return self._start
        now = {place: self._read(place).values for place in self.places}
        return with_learned(self._start, now, self.level, self.updates)

    def save(self, file: str | Path) -> None:
        """Write the network with the current weights as a model file."""
        save(self.graph, Path(file))

    @property
    def trained(self) -> int:
        """Return the number of trained values."""
        return sum(self._nodes[place.node].tensors[place.role].size for place in self.places)

    @property
    def memory(self) -> dict[str, Array]:
        """Return the weights or latents, the velocities, and the number of updates."""
        found: dict[str, Array] = {"updates": np.array(self.updates, np.int64)}
        for place in self.places:
            held = self._read(place)
            found[place.key] = held.values if held.latents is None else held.latents
            if held.velocities is not None:
                found[f"{place.key}.velocity"] = held.velocities
        return found

    def _resume(self, memory: Mapping[str, Array]) -> None:
        own, given = self.memory, {key: np.asarray(value) for key, value in memory.items()}
        if {k: (v.shape, v.dtype) for k, v in own.items()} != {k: (v.shape, v.dtype) for k, v in given.items()}:
            raise StateError(
                "the memory belongs to another network, level or momentum; its entries are "
                f"{brief(sorted(given))}, and this learner's {brief(sorted(own))}"
            )
        self.updates = int(given["updates"])
        for place in self.places:
            value, is_latent = given[place.key], self._read(place).latents is not None
            held = Held(value, value if is_latent else None, given.get(f"{place.key}.velocity"))
            self._write(place, held)

    def _checked(self, targets: object, batch: int) -> Array:
        classes, count = np.asarray(targets), len(self._start.labels)
        if classes.shape != (batch,) or not np.issubdtype(classes.dtype, np.integer):
            raise HdlifError(f"targets = {brief(targets)}; give a class, an integer, for each of {batch} samples")
        if not ((classes >= 0) & (classes < count)).all():
            raise HdlifError(f"targets = {brief(targets)}; the network has the classes 0 to {count - 1}")
        return classes.astype(np.int64)


def with_learned(graph: Graph, values: Mapping[Place, Array], level: Level, updates: int) -> Graph:
    """Return `graph` with these trained tensors and a record of the original network."""
    nodes = tuple(
        replace(node, tensors={role: values.get(Place(node.name, role), t) for role, t in node.tensors.items()})
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes, learned=Learned(digest_of(graph), level, updates))


class Learner(Learning):
    """A deployed network that continues to learn on the device.

    Only the gradients of the current step are computed, so memory does not grow with the number of steps. `update`
    changes the weights. `learn` runs complete sequences and then updates the weights. Results are bit-identical to
    `ReferenceLearner`, with any number of threads.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> from hdlif.runtime.learning import Learner, LearningRate
    >>> weight = np.zeros((2, 2), np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 1, record, ("still", "moving"))
    >>> learner, x = Learner(graph, rate=LearningRate(0.5)), np.ones((1, 1, 2, 1, 1), np.float32)
    >>> logits = learner.learn(x, [1])
    >>> learner.graph.nodes[1].tensors["weight"].tolist()
    [[-0.25, -0.25], [0.25, 0.25]]

    Args:
        network: path of a model file, or a graph.
        level: trained tensors: "classifier" trains the classifier's weights and the tensors after them; "affine" also
            trains scales, shifts, leaks and thresholds; "last-block" also trains weights with at most two layers of
            weights after them; "all" trains everything.
        rate: sizes of an update.
        memory: memory of an earlier learner of the same network and level, to continue exactly.
        threads, instructions, max_bytes, max_operations: as in `Session`; limits apply to each step.
    Raises:
        HdlifError: the network cannot be trained at this level; the message gives the reason.
        LimitError: a step exceeds a limit.
        StateError: `memory` belongs to another network, level or momentum.
        ArtefactError: the file or the graph violates the format.
    Attributes:
        places: the trained tensors.
        updates: number of updates so far.
    """

    def __init__(
        self,
        network: str | Path | Graph,
        level: Level = "classifier",
        *,
        rate: LearningRate = DEFAULT_RATE,
        memory: Mapping[str, Array] | None = None,
        threads: int = 1,
        instructions: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_operations: int = DEFAULT_MAX_OPERATIONS,
    ) -> None:
        limits = {"max_bytes": max_bytes, "max_operations": max_operations}
        self._session, self._threads = Session(network, threads, instructions=instructions, **limits), threads
        graph = network if isinstance(network, Graph) else load(Path(network))
        super().__init__(graph, level, rate, memory)

    def _begin(self) -> None:
        places, needed = numbered(self._start, self.places)
        rate = (self.rate.floats, self.rate.latents, self.rate.momentum)
        self._native = Native(dumps(self._start), places, needed, rate, self._threads, self._session.instructions)

    def _run(self, x: Floats, t: int, learns: list[bool], potentials: State, classes: Array | None) -> Floats:
        self._session.check_batch(len(x[0]))
        logits = np.empty((len(learns), len(x[0]), *self._output), np.float32)
        working = channels_last(potentials)
        self._native.run(contiguous(x), t, learns, working, classes, logits)
        for name, result in zip(list(potentials), working, strict=True):
            potentials[name] = channels_first(result)
        return logits

    def _update(self) -> bool:
        return bool(self._native.update())

    def _read(self, place: Place) -> Held:
        tensor = self._nodes[place.node].tensors[place.role]
        values = np.empty(tensor.shape, np.float32)
        latents = np.empty(tensor.shape if tensor.dtype == np.int8 else (0,), np.float32)
        velocities = np.empty(tensor.shape if self.rate.momentum else (0,), np.float32)
        self._native.read(self.places.index(place), values, latents, velocities)
        return Held(
            values.astype(tensor.dtype),
            latents.astype(np.int16) if tensor.dtype == np.int8 else None,
            velocities if self.rate.momentum else None,
        )

    def _write(self, place: Place, held: Held) -> None:
        none = np.empty((0,), np.float32)
        self._native.write(
            self.places.index(place),
            contiguous(held.values.astype(np.float32)),
            none if held.latents is None else contiguous(held.latents.astype(np.float32)),
            none if held.velocities is None else contiguous(held.velocities),
        )


def numbered(graph: Graph, places: Sequence[Place]) -> tuple[list[tuple[int, int, bool]], list[bool]]:
    """Return the trained tensors and the nodes whose outputs need gradients, in the runtime's format.

    Returns:
        for each tensor its node's number, its row or -1 for weights, and whether these are binary; and a flag per node.
    """
    found = []
    for number, node in enumerate(graph.nodes):
        is_weight = OPS[node.op].is_synapse
        is_binary = is_weight and node.attributes["encoding"] == "binary"
        own = [place.role for place in places if place.node == node.name]
        found += [(number, -1 if is_weight else _row(node.op, role), is_binary) for role in own]
    needed = path(graph, places)
    return found, [node.name in needed for node in graph.nodes]


def _row(op: str, role: str) -> int:
    """Return the index that the runtime uses for a row of an affine op or of a program."""
    return ("scale", "shift").index(role) if op == "affine" else int(role.removeprefix("row"))
