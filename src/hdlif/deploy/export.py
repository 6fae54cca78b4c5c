"""From a trained network to one file, and to the torch module that computes what the file computes."""

from pathlib import Path

from torch import nn

from hdlif.artefact import Graph, InputRecord
from hdlif.artefact.io import save
from hdlif.deploy.lower import lower
from hdlif.deploy.to_torch import GraphModule


def fold(network: nn.Module, *, input: InputRecord, labels: tuple[str, ...], time_steps: int) -> GraphModule:
    """The deployed arithmetic of `network` as a torch module: batch norms folded, spikes as integer codes."""
    return GraphModule(lower(network, input=input, labels=labels, time_steps=time_steps))


def export(
    network: nn.Module, path: Path | str, *, input: InputRecord, labels: tuple[str, ...], time_steps: int
) -> Graph:
    """Write the artefact of `network` (by custom NAME.hdlif.safetensors), and return the graph that it holds."""
    graph = lower(network, input=input, labels=labels, time_steps=time_steps)
    save(graph, Path(path))
    return graph
