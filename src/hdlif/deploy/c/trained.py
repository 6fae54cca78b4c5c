"""The tensors that the C code trains, and the corresponding members of the struct `NAME_learned`."""

from dataclasses import dataclass

from hdlif.deploy.c.synapses import Rows
from hdlif.graph.graph import Graph
from hdlif.graph.learning import Level, Place, path, trained
from hdlif.graph.weights import FRACTION_BITS
from hdlif.runtime.learning import LearningRate


@dataclass(frozen=True)
class Trained:
    """The tensors that the C code trains, and the values that each step keeps for the backward pass.

    Attributes:
        momentum: momentum of the updates; above 0 it takes a float per trained number.
        needed: nodes whose gradient is needed.
        kept: values that backward passes read.
    """

    level: Level
    momentum: float
    places: tuple[Place, ...]
    needed: frozenset[str]
    kept: tuple[str, ...]


def trained_in(graph: Graph, level: Level, momentum: float) -> Trained:
    """Return the tensors that `level` trains, and the nodes and values that the gradients depend on.

    Raises:
        HdlifError: as in `hdlif.graph.learning.trained`, or `momentum` is out of its range.
    """
    LearningRate(momentum=momentum)
    places = trained(graph, level)
    needed, own, kept = path(graph, places), {place.node for place in places}, list[str]()
    for node in graph.nodes:
        if node.name in needed and (node.name in own or node.op in ("program", "max_pool")):
            kept += node.inputs
        if node.name in needed and node.op == "max_pool":
            kept.append(node.name)
    return Trained(level, momentum, places, needed, tuple(kept))


@dataclass(frozen=True)
class Member:
    """A trained tensor in the C struct `NAME_learned`.

    Attributes:
        name: the member's name; `__latents` and `__velocities` are appended for those arrays.
        type: the C type of the values: numbers, or bytes with packed fields of bits.
        entries: the number of array entries for the values.
        size: the number of trained numbers.
        rows: the packed weights, for a layer's weights.
    """

    place: Place
    name: str
    type: str
    entries: int
    size: int
    rows: Rows | None = None

    @property
    def is_latent(self) -> bool:
        return self.rows is not None and self.rows.bits > 0

    @property
    def fraction(self) -> int:
        """Return the number of fraction bits of a latent weight."""
        assert self.rows is not None
        return FRACTION_BITS[self.rows.largest]
