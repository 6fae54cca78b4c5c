"""What each op of a deployed network is said to cost and to store."""

import pytest
import torch

from deployed_graphs import residual_network
from hdlif.accounting import profile
from hdlif.artefact import tensor_bytes


@pytest.mark.parametrize("counting", ["paper", "honest"])
def test_layers_share_out_every_stored_byte(counting):
    graph = residual_network()
    result = profile(graph, torch.randn(1, 1, 3, 9, 7), counting=counting)
    stored = {node.name: tensor_bytes(node) for node in graph.nodes}
    assert round(1e6 * sum(layer.stored_mb for layer in result.layers)) == sum(stored.values())
    row = next(layer for layer in result.layers if layer.kind == "hd_lif")
    quantiser = next(node for node in graph.nodes if node.inputs == (row.name,))
    assert quantiser.op == "quantise"
    assert round(1e6 * row.stored_mb) == stored[row.name] + stored[quantiser.name]
