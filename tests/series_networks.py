"""Deployed networks of series, of each kind, that have seen no training."""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch

from hdlif.deploy import lower
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.graph.graph import SoundRecord
from hdlif.models.series import conv1d, dense, recurrent
from hdlif.nn import HDLIF

STEPS = 12
SOUND = SoundRecord(8000, 1600, "first", 1600, 2, 256, 128, 20.0, 4000.0)
"""0.2 s in 12 steps of 16 ms."""
KINDS = {"dense": dense, "conv1d": partial(conv1d, kernel=3, dilations=[1, 2]), "recurrent": recurrent}


@lru_cache
def _network(kind: str, channels: int) -> Graph:
    torch.manual_seed(0)
    network = KINDS[kind](neuron=lambda place: HDLIF(STEPS), classes=3, in_channels=channels, widths=[6, 5])
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=2.0 / weight.shape[1] ** 0.5)
    record = InputRecord((channels, 1, 1), (0.5,) * channels, (2.0,) * channels, "series", "none", frames="rows")
    return lower(network.eval(), input=record, labels=("a", "b", "c"), time_steps=STEPS)


def series_network(kind: str = "dense", *, channels: int = 2, task: TaskRecord | None = None, **record: Any) -> Graph:
    """A network of 12 steps and 3 classes.

    Args:
        kind: one of `KINDS`.
        record: fields of its `InputRecord` in place of its own.
    """
    graph = _network(kind, channels)
    graph = replace(graph, input=replace(graph.input, **record))
    return graph if task is None else replace(graph, task=task)
