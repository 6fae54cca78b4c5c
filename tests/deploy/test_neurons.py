"""Neurons whose rows or states are their own, deployed: the numbers of the neuron, and the bits of the oracle."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import own_neurons
from cases import every, sampled
from deployed_networks import assert_runs_as_trained, images, lowered
from hdlif.graph.artefact.io import dumps, loads
from hdlif.graph.ops.program import named_rows, neuron_step
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
    SlidingParallelHDLIF,
    SpikeQuantizer,
    SteppedNeuron,
    Temporal,
    Ternary,
    TimeConstants,
)
from hdlif.report.accounting import profile
from runtime.ways_of_running import assert_runs_as_steps
from same_bits import assert_same_bits

T, WIDTH = 7, 4
SPAN = TimeConstants(2, 4096)
LEAKS: dict[str, tuple[Any, str]] = {
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
    return resnet(neuron=neuron, conv=conv, blocks=(1,), width=WIDTH, in_channels=1, classes=5).eval()


def read_back(net: Temporal) -> Any:
    return loads(dumps(lowered(net, time_steps=T, mean=0.3, std=0.4)), "net")


@sampled(7, leak=LEAKS, per_step=[True, False])
def test_the_file_has_the_leaks_of_the_neuron_and_the_runtime_the_bits_of_the_oracle(
    leak: tuple[Any, str], per_step: bool
) -> None:
    make, name = leak
    net = network(lambda place: make(T, channels=place.channels, per_step=per_step, **{name: SPAN}))
    graph = read_back(net)
    layers = {key: layer for key, layer in net.named_modules() if isinstance(layer, SteppedNeuron)}
    programs = {node.name: named_rows(node) for node in graph.nodes if node.op == "program"}
    assert list(programs) == list(layers)
    for key, layer in layers.items():
        expected = layer.get_submodule(name).values().detach().numpy()
        found = np.broadcast_to(programs[key][name], expected.shape)
        np.testing.assert_array_equal(found, expected, strict=True)
        assert len(np.unique(found)) == WIDTH
    assert_same_bits(graph, images(2, T).numpy())


def test_a_decay_is_deployed_in_what_follows_from_it() -> None:
    graph = read_back(network(lambda place: ResonateHDLIF(T, channels=place.channels, per_step=False, decay=SPAN)))
    (first, *_) = (node for node in graph.nodes if node.op == "program")
    cos = named_rows(first)["(decay * cos(angle))"]
    tau = 2 * 2048 ** (np.arange(WIDTH) / (WIDTH - 1))
    np.testing.assert_allclose(cos, (1 - 1 / tau)[None] * np.cos(0.5), rtol=1e-6)
    assert_same_bits(graph, images(2, T).numpy())


@every(mem_bn=[False, True])
def test_the_deployed_network_is_the_trained_one(mem_bn: bool) -> None:
    def neuron(place: Place) -> Temporal:
        norm = MemBN(T, place.channels) if mem_bn else None
        return HDLIF(T, channels=place.channels, leak=TimeConstants(2), norm=norm)

    net = network(neuron)
    assert_runs_as_trained(net, read_back(net), images(4, T))


TAPS = [[1], [-1], [1, 1], [1, -1], [-1, -1], [1, 0, -1], [-1, 0, 0, 1], [1, -1, 1, -1], [-1, -1, -1, -1]]


def sliding(taps: list[int], *, quantised: bool) -> Temporal:
    def neuron(place: Place) -> Temporal:
        quantizer = SpikeQuantizer() if quantised else None
        return SlidingParallelHDLIF(T, taps=taps, channels=place.channels, threshold=0.2, quantizer=quantizer)

    return network(neuron)


@sampled(9, taps=TAPS, quantised=[False, True])
def test_a_delay_line_has_the_bits_of_the_oracle_whole_and_step_by_step(taps: list[int], quantised: bool) -> None:
    graph = read_back(sliding(taps, quantised=quantised))
    x = images(1, T).numpy()
    assert_same_bits(graph, x)
    assert_runs_as_steps(graph, x)


@every(taps=TAPS)
def test_a_delay_line_computes_what_was_trained_by_an_addition_for_each_tap_that_is_not_0(taps: list[int]) -> None:
    """n' - 1 additions and the comparison with θ, which is one more, of n' taps that are not 0; no multiplication."""
    net = sliding(taps, quantised=False)
    graph, kept = read_back(net), sum(tap != 0 for tap in taps)
    programs = [node for node in graph.nodes if node.op == "program"]
    assert [(neuron_step(node).additions, neuron_step(node).multiplications) for node in programs] == [(kept, 0)] * 2
    assert [node.attributes["states"] for node in programs] == [tuple(f"delayed_{j}" for j in range(1, len(taps)))] * 2
    assert profile(graph, images(1, T)).nops == T * 2 * WIDTH * 8 * 8 * kept
    assert_runs_as_trained(net, graph, images(2, T))
