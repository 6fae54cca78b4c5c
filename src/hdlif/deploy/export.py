"""From a trained network to one file, and to the torch module that computes what the file computes."""

from pathlib import Path

from torch import nn

from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.graph.artefact.io import save
from hdlif.deploy.lower import lower
from hdlif.deploy.to_torch import GraphModule


def fold(network: nn.Module, *, input: InputRecord, labels: tuple[str, ...], time_steps: int) -> GraphModule:
    """The deployed arithmetic of `network` as a torch module: batch norms folded, spikes as integer codes.

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
        network, input, labels, time_steps: as of `lower`.
    Raises:
        LoweringError: a module has no deployed form.
    """
    return GraphModule(lower(network, input=input, labels=labels, time_steps=time_steps))


def export(
    network: nn.Module,
    path: Path | str,
    *,
    input: InputRecord,
    labels: tuple[str, ...],
    time_steps: int,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
) -> Graph:
    """Write the artefact of `network`, one file that the runtime reads; the graph in it is returned.

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
        network, input, labels, time_steps, task: as of `lower`.
        path: of the file; by custom NAME.hdlif.safetensors.
    Raises:
        LoweringError: a module has no deployed form.
        ArtefactError: the graph breaks the format.
        OSError: the file cannot be written; what was there stays.
    """
    graph = lower(network, input=input, labels=labels, time_steps=time_steps, task=task)
    save(graph, Path(path))
    return graph
