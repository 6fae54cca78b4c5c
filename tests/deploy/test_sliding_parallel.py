"""Parallel neurons that remember, deployed: additions alone, a delay line as state, the bits of the oracle."""

from functools import partial
from typing import Any

import numpy as np
import torch

from cases import every
from deployed_networks import assert_runs_as_trained, images, lowered
from hdlif.graph.artefact.io import dumps, loads
from hdlif.graph.ops.program import neuron_step
from hdlif.models import resnet
from hdlif.nn import QuantConv2d, SlidingParallelHDLIF, SpikeQuantizer, Temporal, Ternary
from hdlif.report.accounting import profile
from hdlif.runtime import Session
from same_bits import assert_same_bits

T = 7
WIDTH = 4
NEURONS = 2 * WIDTH * 8 * 8
TAPS = [[1], [-1], [1, 1], [1, -1], [-1, -1], [1, 0, -1], [-1, 0, 0, 1], [1, -1, 1, -1], [-1, -1, -1, -1]]


def network(taps: list[int], *, quantised: bool = False) -> Temporal:
    def neuron(place: Any) -> Temporal:
        quantizer = SpikeQuantizer() if quantised else None
        return SlidingParallelHDLIF(T, taps=taps, channels=place.channels, threshold=0.2, quantizer=quantizer)

    torch.manual_seed(0)
    conv = partial(QuantConv2d, quantizer=Ternary())
    return resnet(neuron=neuron, conv=conv, blocks=(1,), width=WIDTH, in_channels=1, classes=5).eval()


def read_back(net: Temporal) -> Any:
    return loads(dumps(lowered(net, time_steps=T, mean=0.3, std=0.4)), "net")


@every(taps=TAPS, quantised=[False, True])
def test_the_runtime_has_the_bits_of_the_oracle_whole_and_step_by_step(taps: list[int], quantised: bool) -> None:
    graph = read_back(network(taps, quantised=quantised))
    x = images(2, T).numpy()
    assert_same_bits(graph, x)
    session, state = Session(graph), None
    for frame, logits in zip(x, session.run(x), strict=True):
        of_step, state = session.step(frame, state)
        np.testing.assert_array_equal(of_step, logits, strict=True)


@every(taps=TAPS)
def test_it_computes_what_was_trained_by_an_addition_for_each_tap_that_is_not_0(taps: list[int]) -> None:
    """n' - 1 additions and the comparison with θ, which is one more, of n' taps that are not 0; no multiplication."""
    net = network(taps)
    graph, kept = read_back(net), sum(tap != 0 for tap in taps)
    programs = [node for node in graph.nodes if node.op == "program"]
    assert [(neuron_step(node).additions, neuron_step(node).multiplications) for node in programs] == [(kept, 0)] * 2
    assert [node.attributes["states"] for node in programs] == [tuple(f"delayed_{j}" for j in range(1, len(taps)))] * 2
    assert profile(graph, images(2, T)).nops == T * NEURONS * kept
    assert_runs_as_trained(net, graph, images(2, T))
