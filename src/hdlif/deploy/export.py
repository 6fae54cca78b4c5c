"""From a trained network to one file, and to the torch module that computes what the file computes."""

from pathlib import Path

from torch import nn

from hdlif.artefact import Graph, InputRecord, TaskRecord
from hdlif.artefact.io import save
from hdlif.deploy.lower import lower
from hdlif.deploy.to_torch import GraphModule


def fold(network: nn.Module, *, input: InputRecord, labels: tuple[str, ...], time_steps: int) -> GraphModule:
    """The deployed arithmetic of `network` as a torch module: batch norms folded, spikes as integer codes."""
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
    """Write the artefact of `network`, by custom NAME.hdlif.safetensors; arguments and returned graph as of `lower`."""
    graph = lower(network, input=input, labels=labels, time_steps=time_steps, task=task)
    save(graph, Path(path))
    return graph
