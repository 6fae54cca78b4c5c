"""Parallel neurons that remember, deployed: additions alone, a delay line as state, the bits of the oracle."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from hdlif import deploy
from hdlif.graph.artefact import InputRecord
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


def lowered(net: Temporal) -> Any:
    record = InputRecord((1, 8, 8), (0.3,), (0.4,))
    return loads(dumps(deploy.lower(net, input=record, labels=tuple("abcde"), time_steps=T)), "net")


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_the_runtime_has_the_bits_of_the_oracle_whole_and_step_by_step(taps: list[int], quantised: bool) -> None:
    graph = lowered(network(taps, quantised=quantised))
    x = np.random.default_rng(0).normal(size=(T, 2, 1, 8, 8)).astype(np.float32)
    assert_same_bits(graph, x)
    session, state = Session(graph), None
    logits = session.run(x)
    for t in range(T):
        of_step, state = session.step(x[t], state)
        np.testing.assert_array_equal(of_step, logits[t], strict=True)


@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_the_deployed_network_is_the_trained_one(taps: list[int]) -> None:
    net = network(taps)
    x = torch.randn(T, 2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, _ = net(x, steps=range(T))
    assert float(expected.std(0).max()) > 0.01
    np.testing.assert_allclose(Session(lowered(net)).run(x.numpy()), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_a_step_costs_an_addition_for_each_tap_that_is_not_0_and_no_multiplication(taps: list[int]) -> None:
    """n' - 1 additions and the comparison with θ, which is one more, of n' taps that are not 0."""
    graph, kept = lowered(network(taps)), sum(tap != 0 for tap in taps)
    programs = [node for node in graph.nodes if node.op == "program"]
    assert [(neuron_step(node).additions, neuron_step(node).multiplications) for node in programs] == [(kept, 0)] * 2
    assert [node.attributes["states"] for node in programs] == [tuple(f"delayed_{j}" for j in range(1, len(taps)))] * 2
    found = profile(graph, torch.randn(T, 2, 1, 8, 8))
    assert found.nops == T * NEURONS * kept
