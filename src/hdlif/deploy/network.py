"""Deployment of a trained network as a graph, a model file or an equivalent torch module."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hdlif.deploy import blocks as _blocks  # noqa: F401 - registers its lowerings
from hdlif.deploy import capture as _capture  # noqa: F401 - registers its lowering
from hdlif.deploy import ops as _ops  # noqa: F401 - registers its lowerings
from hdlif.deploy.lowering import ONE, Lowerer, Wire, affine_rows, repeated
from hdlif.deploy.to_torch import GraphModule
from hdlif.graph.artefact.io import save
from hdlif.graph.artefact.roles import by_place
from hdlif.graph.dataflow import reads, renamed
from hdlif.graph.graph import INPUT, Graph, InputRecord, Node, TaskRecord
from hdlif.graph.inference import infer_values


def lower(
    network: nn.Module,
    *,
    input: InputRecord,
    labels: tuple[str, ...],
    time_steps: int,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
) -> Graph:
    """Lower a trained network in eval mode to a graph.

    Batch norms are folded, and spikes and low-bit weights become integer codes.

    >>> import torch
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.deploy import lower
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1).eval()
    >>> given = {"input": InputRecord((1, 8, 8), (0.5,), (0.25,)), "labels": ("a", "b", "c"), "time_steps": 4}
    >>> graph = lower(network, **given)
    >>> [node.name for node in graph.nodes][:2], graph.output
    (['stem.conv', 'stem.bn'], 'classifier.bias')

    Args:
        network: a module built of types that have a lowering.
        input: shape, mean and std of the training images; a network for sequences [C, L] takes maps [C, 1, L].
        labels: names of the outputs, in order; classes by default.
        time_steps: T.
        task: meaning of the outputs.
    Raises:
        LoweringError: a module has no deployed form.
    """
    lowerer = Lowerer(time_steps, input)
    with torch.no_grad():
        output = lowerer.applied(lowerer.lower(network, Wire(INPUT, ONE), ""))
    graph = by_place(join_affines(Graph(tuple(lowerer.nodes), output.name, time_steps, input, labels, task)))
    infer_values(graph)
    return graph


def fold(
    network: nn.Module,
    *,
    input: InputRecord,
    labels: tuple[str, ...],
    time_steps: int,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
) -> GraphModule:
    """Return a torch module that is equivalent to the deployed `network`, with folded batch norms and integer spike
    codes.

    >>> import torch
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.deploy import fold
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1).eval()
    >>> given = {"input": InputRecord((1, 8, 8), (0.5,), (0.25,)), "labels": ("a", "b", "c"), "time_steps": 4}
    >>> x = torch.rand(1, 2, 1, 8, 8)
    >>> with torch.no_grad():
    ...     logits, _ = network(x, steps=range(4))
    ...     folded, _ = fold(network, **given)(x, steps=range(4))
    >>> bool((logits - folded).abs().max() < 1e-4)
    True

    Args:
        network, input, labels, time_steps, task: as in `lower`.
    Raises:
        LoweringError: a module has no deployed form.
    """
    return GraphModule(lower(network, input=input, labels=labels, time_steps=time_steps, task=task))


def export(
    network: nn.Module,
    path: Path | str,
    *,
    input: InputRecord,
    labels: tuple[str, ...],
    time_steps: int,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
) -> Graph:
    """Export `network` to a model file for the runtime, and return the graph.

    >>> import torch
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.deploy import export
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1).eval()
    >>> given = {"input": InputRecord((1, 8, 8), (0.5,), (0.25,)), "labels": ("a", "b", "c"), "time_steps": 4}
    >>> graph = export(network, "net.hdlif.safetensors", **given)
    >>> sorted({node.op for node in graph.nodes})
    ['add', 'affine', 'conv2d', 'global_sum_pool', 'linear', 'program']

    Args:
        network, input, labels, time_steps, task: as in `lower`.
        path: path of the file; by convention NAME.hdlif.safetensors.
    Raises:
        LoweringError: a module has no deployed form.
        ArtefactError: the graph breaks the format.
        OSError: the file cannot be written; an existing file is kept.
    """
    graph = lower(network, input=input, labels=labels, time_steps=time_steps, task=task)
    save(graph, Path(path))
    return graph


def join_affines(graph: Graph) -> Graph:
    """Merge consecutive `affine` ops, using (x·a + b)·c + d = x·(a·c) + (b·c + d).

    Two `affine` ops are merged if the second is the only reader of the first. Two `affine` ops stay separate if only
    the first value is constant in time, because constant values are computed only once. A merged node keeps the name of
    the first op.
    """
    values = infer_values(graph)
    readers = [name for node in graph.nodes for name in reads(node)]
    nodes: dict[str, Node] = {}
    joined: dict[str, str] = {}
    for node in graph.nodes:
        node = renamed(node, joined)
        first = nodes.get(node.inputs[0])
        if (
            node.op == "affine"
            and first is not None
            and first.op == "affine"
            and readers.count(first.name) == 1
            and first.name != graph.output
            and (values[node.name].constant or not values[first.name].constant)
        ):
            count = max(len(n.tensors["scale"]) for n in (first, node))
            a, b, c, d = (
                repeated(n.tensors[role].astype(np.float64), count)
                for n in (first, node)
                for role in ("scale", "shift")
            )
            nodes[first.name] = replace(first, tensors=affine_rows(a * c, b * c + d))
            joined[node.name] = first.name
            readers += [first.name] * (readers.count(node.name) - 1)
        else:
            nodes[node.name] = node
    # A delay's source may have been merged after it.
    renewed = tuple(renamed(node, joined) for node in nodes.values())
    return replace(graph, nodes=renewed, output=joined.get(graph.output, graph.output))
