"""What each op of a deployed network is said to cost and to store."""

from pathlib import Path

import pytest
import torch

from cases import every
from deployed_graphs import Builder, residual_network
from hdlif.graph.artefact import INPUT, tensor_bytes
from hdlif.report.accounting import profile


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


@every(
    "neuron",
    "kind",
    "nops",
    "picojoules",
    of=[
        ("graded_lif", "GradedLIF", 3, 3.7 + 2 * 0.9),
        ("glif", "GLIF", 5, 2 * 3.7 + 3 * 0.9),
        ("hd_lif", "HDLIF", 3, 3.7 + 2 * 0.9),
        ("parallel", "ParallelHDLIF", 1, 0.9),
    ],
)
def test_price_of_a_neuron_per_step(neuron, kind, nops, picojoules):
    b = Builder((2, 3, 3), 4, 0)
    graph = b.graph(getattr(b, neuron)(INPUT))
    (row,) = (r for r in profile(graph, torch.randn(1, 2, 2, 3, 3), counting="honest").layers if r.kind == kind)
    assert row.nops == nops * 4 * 18
    assert row.energy_mj == pytest.approx(picojoules * 4 * 18 * 1e-9)


def test_an_affine_is_priced_by_what_its_rows_do():
    b = Builder((2, 3, 3), 4, 0)
    y = b.passing(INPUT, identity=(True, True, False, True, False, False))
    z = b.affine(INPUT, per_step=True)
    b.nodes[1].tensors["shift"][...] = 0
    graph = b.graph(b.add("add", y, z))
    rows = {r.name: r for r in profile(graph, torch.randn(4, 2, 2, 3, 3), counting="honest").layers}
    assert rows[y].energy_mj == pytest.approx(4.6e-9 * 18)
    assert rows[z].energy_mj == pytest.approx(3.7e-9 * 18 * 4)


def test_spikes_times_a_gain_are_spikes():
    b = Builder((2, 3, 3), 4, 0)
    gained, shifted = b.affine(b.hd_lif(INPUT)), b.affine(b.hd_lif(INPUT))
    b.nodes[1].tensors["shift"][...] = 0
    y, z = b.conv(gained, 3), b.conv(shifted, 3)
    rows = {r.name: r for r in profile(b.graph(b.add("add", y, z)), torch.randn(1, 2, 2, 3, 3)).layers}
    assert rows[y].spikes_in
    assert not rows[z].spikes_in


def test_price_of_attention():
    b = Builder((4, 3, 5), 4, 0)
    varying = b.affine(INPUT, per_step=True)
    y, z = b.seca(varying, kernel=5), b.seca(INPUT, kernel=3)
    graph = b.graph(b.add("add", y, z))
    for counting in ("honest", "paper"):
        rows = {r.name: r for r in profile(graph, torch.randn(1, 2, 4, 3, 5), counting=counting).layers}
        assert rows[y].params_mb == pytest.approx(6 * 4e-6)
    honest = {r.name: r for r in profile(graph, torch.randn(1, 2, 4, 3, 5), counting="honest").layers}
    # of each of 60 entries a sum and a product; of each of 4 gates the mean's division, and a sigmoid of 10 products
    # with a sum each and a cap; of each neighbour of a channel that there is, a product and a sum
    gates = 4 * (3.7 + 10 * 4.6 + 0.9)
    assert honest[y].energy_mj == pytest.approx(4 * (60 * 4.6 + (3 + 4 + 4 + 3) * 4.6 + gates) * 1e-9)
    # what is constant in time counts once
    assert honest[z].energy_mj == pytest.approx((60 * 4.6 + (2 + 3 + 3 + 2) * 4.6 + gates) * 1e-9)


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
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "energy.md").read_text(encoding="utf-8")
    assert f"| {encoding} | {on_spikes} | {on_codes} | {on_reals} |" in page
    b = Builder((2, 3, 3), 1, 0)
    prices = {}
    for x, price in ((b.quantise(INPUT, bits=1), on_spikes), (b.quantise(INPUT), on_codes), (INPUT, on_reals)):
        y = b.conv(x, 5, kernel=(1, 1), padding=(0, 0), encoding=encoding)
        b.nodes[-1].tensors["weight"][...] = 1
        prices[y] = price
    names = list(prices)
    graph = b.graph(b.add("add", b.add("add", names[0], names[1]), names[2]))
    rows = {r.name: r for r in profile(graph, torch.full((1, 1, 2, 3, 3), 3.0), counting="honest").layers}
    for name, price in prices.items():
        assert rows[name].energy_mj == pytest.approx(price * 18 * 5 * 1e-9)
        assert rows[name].params_mb == pytest.approx(10 * bits / 8 * 1e-6)
