"""Leaks that start spread over channels are deployed with the numbers that they have."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import own_neurons
from cases import every
from deployed_networks import assert_runs_as_trained, images, lowered
from hdlif.graph.artefact.io import dumps, loads
from hdlif.graph.ops.program import named_rows
from hdlif.models import resnet
from hdlif.models.blocks import Place
from hdlif.nn import (
    HDLIF,
    LIF,
    AdaptiveHDLIF,
    GradedLIF,
    MemBN,
    QuantConv2d,
    ResonateHDLIF,
    SecondOrderHDLIF,
    SteppedNeuron,
    Temporal,
    Ternary,
    TimeConstants,
)
from same_bits import assert_same_bits

T = 24
KINDS: dict[str, tuple[Any, str]] = {
    "lif": (LIF, "leak"),
    "graded_lif": (GradedLIF, "leak"),
    "hdlif": (HDLIF, "leak"),
    "adaptive": (AdaptiveHDLIF, "leak"),
    "adaptation": (AdaptiveHDLIF, "adaptation_leak"),
    "second order": (SecondOrderHDLIF, "leak"),
    "own": (own_neurons.AdaptiveHDLIF, "decay"),
}


def network(neuron: Callable[[Place], Temporal]) -> Temporal:
    torch.manual_seed(0)
    conv = partial(QuantConv2d, quantizer=Ternary())
    return resnet(neuron=neuron, conv=conv, blocks=(1,), width=6, in_channels=1, classes=5).eval()


def read_back(net: Temporal) -> Any:
    return loads(dumps(lowered(net, time_steps=T, mean=0.3, std=0.4)), "net")


@every(kind=list(KINDS), per_step=[True, False])
def test_the_file_has_the_leaks_of_the_neuron_and_the_runtime_the_bits_of_the_oracle(kind: str, per_step: bool) -> None:
    make, name = KINDS[kind]
    span = TimeConstants(2, 4096)
    net = network(lambda place: make(T, channels=place.channels, per_step=per_step, **{name: span}))
    graph = read_back(net)
    layers = {key: layer for key, layer in net.named_modules() if isinstance(layer, SteppedNeuron)}
    programs = {node.name: named_rows(node) for node in graph.nodes if node.op == "program"}
    assert list(programs) == list(layers)
    for key, layer in layers.items():
        expected = layer.get_submodule(name).values().detach().numpy()
        found = np.broadcast_to(programs[key][name], expected.shape)
        np.testing.assert_array_equal(found, expected, strict=True)
        assert len(np.unique(found)) == 6
    assert_same_bits(graph, images(2, T).numpy())


def test_a_decay_is_deployed_in_what_follows_from_it() -> None:
    net = network(lambda place: ResonateHDLIF(T, channels=place.channels, per_step=False, decay=TimeConstants(2, 4096)))
    graph = read_back(net)
    (first, *_) = (node for node in graph.nodes if node.op == "program")
    cos = named_rows(first)["(decay * cos(angle))"]
    tau = 2 * 2048 ** (np.arange(6) / 5)
    np.testing.assert_allclose(cos, (1 - 1 / tau)[None] * np.cos(0.5), rtol=1e-6)
    assert_same_bits(graph, images(2, T).numpy())


@every(mem_bn=[False, True])
def test_the_deployed_network_is_the_trained_one(mem_bn: bool) -> None:
    def neuron(place: Place) -> Temporal:
        norm = MemBN(T, place.channels) if mem_bn else None
        return HDLIF(T, channels=place.channels, leak=TimeConstants(2), norm=norm)

    net = network(neuron)
    assert_runs_as_trained(net, read_back(net), images(4, T))
