"""Measure the activity of a network by counting non-zero values during one run on images."""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy import GraphModule, lower
from hdlif.graph.artefact import Graph, InputRecord, Node, infer_values
from hdlif.graph.artefact.roles import roles
from hdlif.graph.graph import INPUT, settled
from hdlif.graph.ops import OPS
from hdlif.graph.ops.conv2d import dilation_of, groups_of
from hdlif.nn import StepValue, evaluation_mode

MOST_BYTES = 2**28
"""Maximum bytes of the values of images that run together; a single image may take more."""


class Activity:
    """Counts of non-zero values and non-zero products in a network, summed over images.

    Args:
        graph: graph of the network that runs.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = infer_values(graph)
        self.roles = roles(graph)
        self.images = 0
        self.pairs: dict[str, float] = defaultdict(float)
        self.nonzero: dict[str, float] = defaultdict(float)
        self.entries: dict[str, float] = defaultdict(float)
        self.repeats: dict[str, float] = {}
        self.spikes = spikes_of(graph)

    def observe(self, node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.repeats[node.name] = self.graph.time_steps / output.shape[0]
        self.nonzero[node.name] += torch.count_nonzero(output).item()
        self.entries[node.name] += output.numel()
        if OPS[node.op].is_synapse:
            self.nonzero[f"{node.name}<"] += torch.count_nonzero(inputs[0]).item()
            self.entries[f"{node.name}<"] += inputs[0].numel()
            self.pairs[node.name] += _nonzero_pairs(node, inputs[0])

    def per_image(self, node: Node, count: float, *, once: bool) -> float:
        """Return the count for one image over all T time steps.

        A time-constant node runs only once, but its count is multiplied by T unless `once` is true.
        """
        return count * (1 if once else self.repeats[node.name]) / self.images

    def density(self, key: str) -> float:
        return self.nonzero[key] / self.entries[key]

    def entries_per_image(self, node: Node) -> float:
        return self.entries[node.name] / self.images


def spikes_of(graph: Graph) -> dict[str, bool]:
    """Return, by name, whether each value in a graph consists of spikes.

    A node that only forwards values emits spikes if all its inputs are spikes, including inputs from the previous step.
    """
    passing = [node for node in graph.nodes if OPS[node.op].passes_spikes(node)]
    emitting = {node.name: OPS[node.op].emits_spikes(node) for node in graph.nodes}
    return settled(
        {INPUT: False} | emitting | {node.name: True for node in passing},
        passing,
        lambda node, spikes: emitting[node.name] or all(spikes[name] for name in OPS[node.op].made_from(node)),
    )


def activity(network: nn.Module | Graph, x: Tensor | Iterable[Tensor], *, time_steps: int | None = None) -> Activity:
    """Run a network on images and count its activity, which `operations.priced` converts to operations and energy.

    See `priced` for an example.

    Args:
        network: module with a deployed form, whose modes do not change, or its graph.
        x: normalised images [T, B, C, H, W] or [1, B, C, H, W] (constant in time), or batches of them; for a network
            on sequences [T, B, C, L].
        time_steps: T of a module; by default the T for which its neurons were built.
    """
    batches = [x] if isinstance(x, Tensor) else list(x)
    graph = network if isinstance(network, Graph) else _graph_of(network, batches[0], time_steps)
    seen = Activity(graph)
    module = GraphModule(graph, observer=seen.observe)
    # All values of a part are in memory at the same time.
    bytes_per_image = 4 * graph.time_steps * sum(math.prod(value.shape) for value in seen.types.values())
    together = max(1, MOST_BYTES // bytes_per_image)
    with torch.no_grad():
        for batch in batches:
            for part in batch.split(together, dim=1):
                seen.images += part.shape[1]
                module(_as_maps(part), steps=range(graph.time_steps))
    return seen


def _nonzero_pairs(node: Node, x: Tensor) -> float:
    """Return the number of products of a non-zero input and a non-zero weight, excluding padding."""
    taps = torch.from_numpy((node.tensors["weight"] != 0).astype("float32"))
    active = (x != 0).float()
    if node.op == "linear":
        return float((active.flatten(0, 1) @ taps.sum(0)).double().sum())
    # Sum the kernels of a group over its outputs, which leaves a convolution with one output per group.
    groups = groups_of(node)
    summed = taps.view(groups, -1, *taps.shape[1:]).sum(1)
    geometry = node.attributes["stride"], node.attributes["padding"], dilation_of(node), groups
    folded = F.conv2d(active.flatten(0, 1), summed, None, *geometry)
    return float(folded.double().sum())


def _as_maps(x: Tensor) -> Tensor:
    """Reshape sequences [T, B, C, L] into maps with one row."""
    return x.unsqueeze(3) if x.ndim == 4 else x


def _graph_of(network: nn.Module, x: Tensor, time_steps: int | None) -> Graph:
    """Lower a module to a graph that is used for counting, with placeholders for the input record and the labels."""
    built_for = [module.time_steps for module in network.modules() if isinstance(module, StepValue)]
    steps = time_steps or max(built_for, default=1)
    channels, height, width = _as_maps(x).shape[2:]
    record = InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels)
    with evaluation_mode(network), torch.no_grad():
        classes = network(x[:1, :1], steps=range(1))[0].shape[-1]
        return lower(network, input=record, labels=tuple(map(str, range(classes))), time_steps=steps)
