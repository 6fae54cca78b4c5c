"""Q-K attention deployed: codes stay codes, and the runtime, ONNX, C and the counts agree with the oracle."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from c_networks import assert_has_the_bits_of_fixed_point, assert_has_the_references_bits, fresh
from cases import every
from deploy.test_onnx import assert_equals_reference
from deployed_graphs import random_input
from deployed_networks import lowered, outputs, trained_like
from hdlif.deploy import GraphModule
from hdlif.graph.artefact import Graph, dumps, infer_values, loads
from hdlif.models import Place, qk_former
from hdlif.nn import HDLIF, LIF, HeadSum, ParallelHDLIF, QuantConv2d, Sequential, SpikeQuantizer, Ternary, TokenSum
from hdlif.runtime import Session
from report.accounting.test_every_op import assert_priced_as_counted
from same_bits import assert_same_bits

T = 3


def coded(place: Place) -> nn.Module:
    kind = ParallelHDLIF if place.index % 2 else HDLIF
    return kind(T, quantizer=SpikeQuantizer())


def network(neuron: Any = coded, quantizer: Any = Ternary(), **options: Any) -> nn.Module:  # noqa: B008
    torch.manual_seed(0)
    options = {"width": 4, "blocks": (1, 1), "strides": (1, 2), "heads": 2} | options
    conv = partial(QuantConv2d, quantizer=quantizer)
    return trained_like(qk_former(neuron=neuron, classes=5, in_channels=1, conv=conv, **options), T)


NETWORKS: dict[str, dict[str, Any]] = {
    "ternary, 4 bits": {},
    "a head of each channel": {"heads": 4},
    "one head, exact spikes": {"heads": 1, "neuron": lambda place: HDLIF(T), "quantizer": None},
    "binary spikes": {"neuron": lambda place: LIF(T)},
    "one stage": {"blocks": (2,), "strides": (2,)},
}


def graph_of(name: str) -> Graph:
    return lowered(network(**NETWORKS[name]), time_steps=T)


@every(name=list(NETWORKS))
def test_the_runtime_has_the_oracles_bits(name: str) -> None:
    graph = graph_of(name)
    assert_same_bits(graph, random_input(graph, 1, 2), T)
    assert dumps(loads(dumps(graph), "x")) == dumps(graph)


def test_spikes_sums_and_gates_are_codes_and_integers() -> None:
    """Queries, keys, gates and what passes them are codes; so are sums that fit, and others are whole numbers."""
    graph = graph_of("ternary, 4 bits")
    types = infer_values(graph)
    gates = [node for node in graph.nodes if node.op == "gate"]
    assert [node.name for node in gates] == [f"body.stage{stage}.0.attention.gate" for stage in (1, 2)]
    for node in gates:
        assert [types[name].max_code for name in (*node.inputs, node.name)] == [15, 15, 15]
    values = Session(graph).values(random_input(graph, 1, 2), T)
    for stage in (1, 2):
        sums = values[f"body.stage{stage}.0.attention.sum"]
        assert sums.max() > 1
        np.testing.assert_array_equal(sums, np.floor(sums))
    assert [types[name].shape for node in gates for name in node.inputs] == [(4, 8, 8), (2, 8, 8), (8, 4, 4), (8,)]


@every(layer=[HeadSum(1), HeadSum(2), HeadSum(4), TokenSum()])
def test_sums_of_codes_are_the_layers_exactly(layer: nn.Module) -> None:
    """Of codes times a step of 1/4, which float32 holds: no rounding may differ."""
    neuron = HDLIF(T, quantizer=SpikeQuantizer())
    made = Sequential(nn.Conv2d(1, 4, 3, padding=1), neuron, layer, nn.Flatten())
    count = 4 if isinstance(layer, TokenSum) else 64 * layer.heads
    graph = lowered(made, labels=tuple(map(str, range(count))), time_steps=T)
    x = torch.randn(1, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spikes, sums = made[1](made[0](x[0])[None], None, range(T))[0], outputs(made, x, T)
    assert torch.equal(sums, torch.stack([layer(step).flatten(1) for step in spikes]))
    assert torch.equal(GraphModule(graph)(x, steps=range(T))[0], sums)
    assert np.array_equal(Session(graph).run(x.numpy(), T), sums.numpy())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
@every(name=["ternary, 4 bits", "one head, exact spikes"])
def test_c_has_the_oracles_numbers(name: str, tmp_path: Path) -> None:
    """In float those of the runtime, in fixed point those of its own oracle."""
    graph = graph_of(name)
    assert_has_the_references_bits(graph, fresh(tmp_path))
    assert_has_the_bits_of_fixed_point(graph, fresh(tmp_path))


@pytest.mark.peers
@every(name=list(NETWORKS))
def test_onnx_gives_the_oracles_logits(name: str) -> None:
    assert_equals_reference(graph_of(name))


@every(name=["ternary, 4 bits", "one head, exact spikes"])
def test_price_is_what_is_counted_number_by_number(name: str) -> None:
    graph = graph_of(name)
    assert_priced_as_counted(graph, random_input(graph, 1, 1)[:, 0])
