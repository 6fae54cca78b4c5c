"""What is known of an op, in one value: its fields, the shape it gives, what it computes, and what that costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hdlif.graph.ops.graph import Array, Node, Value
from hdlif.graph.ops.work import Seen, Work

Infer = Callable[[Node, tuple[Value, ...], int], Value]
"""(node, types of its inputs, time steps) -> type of its output; raises `ArtefactError`, naming node and field."""
Evaluate = Callable[[Node, int, Sequence[Array], dict[str, Array]], Array]
"""(node, time step, inputs [B, ...], states by name [B, ...], which it updates in place) -> output [B, ...]."""
Price = Callable[[Node, Seen], Work]
"""The operations of a node per image, over all its time steps; what is constant in time is done once."""


@dataclass(frozen=True)
class Op:
    """The statement of one op.

    Attributes:
        arity: how many inputs it takes.
        attributes, tensors: their names; None for tensors that `infer` checks itself.
        optional: names of attributes that a node may leave out.
        evaluate: the oracle: float32, in the stated order.
        check: of its place in the whole graph, given the type of every value.
        keep: takes into its states what is known only when all nodes of a step are: (node, values of the step, states).
            A graph with such a node runs one time step after the other.
        sources: the values that `keep` takes, which a node reads beside its inputs; its attribute "source".
        states: what a node carries from step to step, by name; each is shaped like its output, and 0 at first.
        is_neuron: whether a node emits the spikes of neurons.
        is_synapse: whether it multiplies by weights.
        emits_spikes: whether what a node gives counts as spikes, whatever it is given.
        passes_spikes: whether what it gives counts as spikes where all that it is made from does: its sources, or its
            inputs where it has none.
    """

    name: str
    arity: int
    infer: Infer
    evaluate: Evaluate
    price: Price
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    tensors: tuple[str, ...] | None = ()
    check: Callable[[Node, Mapping[str, Value]], None] = field(default=lambda node, values: None)
    keep: Callable[[Node, Mapping[str, Array], dict[str, Array]], None] | None = None
    sources: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    states: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    is_neuron: Callable[[Node], bool] = field(default=lambda node: False)
    is_synapse: bool = False
    emits_spikes: Callable[[Node], bool] = field(default=lambda node: False)
    passes_spikes: Callable[[Node], bool] = field(default=lambda node: False)

    def made_from(self, node: Node) -> tuple[str, ...]:
        """The values that what a node gives is made from: of those of a step before its inputs say the shape alone."""
        return self.sources(node) or node.inputs


def always(node: Node) -> bool:
    return True
