"""Published prices and sizes, and how layers share them; test_every_op.py counts every price number by number."""

from pathlib import Path

import pytest
import torch

from cases import every
from deployed_graphs import Builder, residual_network
from hdlif.graph.artefact import INPUT, tensor_bytes
from hdlif.report.accounting import profile

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "energy.md"


@every(counting=["paper", "honest"])
def test_layers_share_out_every_stored_byte(counting):
    graph = residual_network()
    result = profile(graph, torch.randn(1, 1, 3, 9, 7), counting=counting)
    stored = {node.name: tensor_bytes(node) for node in graph.nodes}
    assert round(1e6 * sum(layer.stored_mb for layer in result.layers)) == sum(stored.values())
    row = next(layer for layer in result.layers if layer.kind == "HDLIF")
    quantiser = next(node for node in graph.nodes if node.inputs == (row.name,))
    assert quantiser.op == "quantise"
    assert round(1e6 * row.stored_mb) == stored[row.name] + stored[quantiser.name]


@every("neuron", "kind", "nops", of=[("graded_lif", "GradedLIF", 3), ("glif", "GLIF", 5), ("hd_lif", "HDLIF", 3)])
def test_neuron_operations_are_counted_per_neuron_and_step(neuron, kind, nops):
    b = Builder((2, 3, 3), 4, 0)
    graph = b.graph(b.quantise(getattr(b, neuron)(INPUT)))
    (row,) = (r for r in profile(graph, torch.randn(1, 2, 2, 3, 3), counting="honest").layers if r.kind == kind)
    assert row.nops == nops * 4 * 18


@every(counting=["paper", "honest"])
def test_attention_has_a_parameter_per_weight_and_one_for_its_bias(counting):
    b = Builder((4, 3, 5), 4, 0)
    y = b.seca(INPUT, kernel=5)
    rows = {r.name: r for r in profile(b.graph(y), torch.randn(1, 2, 4, 3, 5), counting=counting).layers}
    assert rows[y].params_mb == pytest.approx(6 * 4e-6)


@every(
    "encoding",
    "bits",
    "on_spikes",
    "on_codes",
    "on_reals",
    of=[
        ("float32", 32, 0.9, 4.6, 4.6),
        ("ternary", 3, 0.1, 0.1, 0.9),
        ("binary", 2, 0.1, 0.1, 0.9),
        ("int2", 2, 0.1, 0.1, 0.9),
        ("int4", 4, 0.1, 0.3, 4.6),
        ("int8", 8, 0.1, 0.3, 4.6),
    ],
)
def test_price_and_published_size_of_a_weight(encoding, bits, on_spikes, on_codes, on_reals):
    assert f"| {encoding} | {on_spikes} | {on_codes} | {on_reals} |" in PAGE.read_text(encoding="utf-8")
    b = Builder((2, 3, 3), 1, 0)
    inputs = {b.quantise(INPUT, bits=1): on_spikes, b.quantise(INPUT): on_codes, INPUT: on_reals}
    convs = [b.conv(x, 5, kernel=(1, 1), padding=(0, 0), encoding=encoding) for x in inputs]
    for node in b.nodes[-3:]:
        node.tensors["weight"][...] = 1
    graph = b.graph(b.concat(b.concat(*convs[:2]), convs[2]))
    rows = {r.name: r for r in profile(graph, torch.full((1, 1, 2, 3, 3), 3.0), counting="honest").layers}
    for conv, price in zip(convs, inputs.values(), strict=True):
        assert rows[conv].energy_mj == pytest.approx(price * 18 * 5 * 1e-9)
        assert rows[conv].params_mb == pytest.approx(10 * bits / 8 * 1e-6)
