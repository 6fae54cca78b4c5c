"""A torch module that runs a deployed graph with the runtime's arithmetic.

Sums of integer codes, weighted by -1, 0 or 1, are exact in float32 if all sums stay below 2^24. PyTorch, the NumPy
reference and the native runtime therefore compute the same codes, unless a different order of float additions changes
the rounding.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from hdlif.deploy.op_form import Parts
from hdlif.deploy.ops import FORMS
from hdlif.errors import StateError, did_you_mean
from hdlif.graph.dataflow import is_recurrent, state_names
from hdlif.graph.graph import INPUT, Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.nn.state import State, Temporal, check_chunk, entries_of, kept_of, steps_of

Observer = Callable[[Node, tuple[Tensor, ...], Tensor], None]
"""Function that is called with each node, its inputs and its output, [K or 1, B, ...]."""


class GraphModule(Temporal):
    """A module that runs a graph over chunks of time steps.

    The module maps images [K or 1, B, C, H, W] to logits [K, B, classes], or to logit maps [K, B, classes, H, W].

    >>> import torch
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.deploy import GraphModule, lower
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1).eval()
    >>> given = {"input": InputRecord((1, 8, 8), (0.5,), (0.25,)), "labels": ("a", "b", "c"), "time_steps": 4}
    >>> logits, state = GraphModule(lower(network, **given))(torch.rand(1, 2, 1, 8, 8), steps=range(4))
    >>> list(logits.shape)
    [4, 2, 3]

    Args:
        graph: as in `lower`, or from `artefact.load`.
        observer: function that is called with each node, its inputs and its output; or None.
    State: {node name: {state's name: [B, C, H, W]}}. Steps are passed as in `models.Network`.
    """

    def __init__(self, graph: Graph, *, observer: Observer | None = None) -> None:
        super().__init__()
        self.graph, self.observer = graph, observer
        self._types = infer_values(graph)
        for node in graph.nodes:
            for role, tensor in node.tensors.items():
                self.register_buffer(_buffer(node, role), torch.from_numpy(tensor.astype(np.float32)))

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        check_chunk(x, steps)
        given = entries_of(state, "a graph")
        stateful = [node.name for node in self.graph.nodes if state_names(node)]
        if unknown := sorted(map(str, given.keys() - set(stateful))):
            raise StateError(f"state of {unknown[0]!r} belongs to no node; {did_you_mean(unknown[0], stateful)}")
        missing = [name for name in stateful if name not in given]
        if state is not None and missing:
            raise StateError(f"state lacks {missing[0]!r}; give the whole state, or None to start")
        # None starts a sequence of the graph; its nodes need explicit states.
        of_nodes = {name: entries_of(own, repr(name)) for name, own in given.items()}
        if is_recurrent(self.graph):
            values, after = self._one_after_the_other(x, of_nodes, steps)
        else:
            values, after = self._run(x, of_nodes, steps)
        if self.observer is not None:
            for node in self.graph.nodes:
                self.observer(node, tuple(values[name] for name in node.inputs), values[node.name])
        outputs = values[self.graph.output]
        return outputs.expand(len(steps), *outputs.shape[1:]), after or None

    def _run(self, x: Tensor, given: Mapping[str, State], steps: range) -> tuple[dict[str, Tensor], dict[str, State]]:
        """Return all values [K or 1, B, ...] of a chunk, and the states after the chunk."""
        values, after = {INPUT: x}, dict[str, State]()
        for node in self.graph.nodes:
            inputs = tuple(values[name] for name in node.inputs)
            values[node.name], kept = self.run_node(node, inputs, given.get(node.name), steps)
            if kept is not None:
                after[node.name] = kept
        for node in self.graph.nodes:
            if (keep := FORMS[node.op].keep) is not None:
                after[node.name] = keep(node, values)
        return values, after

    def _one_after_the_other(
        self, x: Tensor, given: Mapping[str, State], steps: range
    ) -> tuple[dict[str, Tensor], dict[str, State]]:
        """Run a recurrent graph step by step, and return values and states as `_run` does."""
        runs, after = [], dict[str, State]()
        for k, t in enumerate(steps):
            values, after = self._run(x[k : k + 1] if len(x) > 1 else x, after or given, range(t, t + 1))
            runs.append(values)
        once = {name for name, value in self._types.items() if value.constant and len(x) == 1}
        joined = {n: runs[0][n] if n in once else torch.cat([run[n] for run in runs]) for n in runs[0]}
        return joined, after

    def run_node(
        self, node: Node, inputs: tuple[Tensor, ...], state: State | None, steps: range
    ) -> tuple[Tensor, State | None]:
        """Run one node on a chunk, and return the output [K or 1, B, ...] and the new states."""
        names = state_names(node)
        states = dict(zip(names, kept_of(state, inputs[0], *names), strict=True)) if names else {}
        tensors = {role: getattr(self, _buffer(node, role)) for role in node.tensors}
        parts = Parts(node, steps, tensors, states)
        return FORMS[node.op].torch(parts, inputs), parts.states or None


def _buffer(node: Node, role: str) -> str:
    """Return a unique buffer name without dots, because PyTorch forbids dots. Role names contain neither dots nor
    slashes.
    """
    return node.name.replace("~", "~0").replace(".", "~1") + f"/{role}"
