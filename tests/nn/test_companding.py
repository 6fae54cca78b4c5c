"""Readings on about a logarithmic scale, in the channels that are named."""

import pytest
import torch

from cases import every
from hdlif.deploy import lower
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import Graph, InputRecord
from hdlif.graph.artefact.roles import roles
from hdlif.graph.ops import infer_values
from hdlif.learning.probe import neurons_of
from hdlif.models import Network, conv1d
from hdlif.nn import HDLIF, companded
from hdlif.nn.companding import CLIPS
from hdlif.report.accounting import profile
from hdlif.report.counts import neuron_rows


def test_values_by_hand() -> None:
    """Six parts, each at its end from b = 1/256, ..., 4 on: 0.1 is beyond 1/16, and 0.4, 0.1, 0.025 of the others."""
    x = torch.tensor([0.0, 1 / 512, 0.1, 0.5, 4.0, 100.0, -0.1])
    expected = torch.tensor([0.0, 1365 / 2048, 3.525, 4.625, 6.0, 6.0, -3.525]) / 4
    seen, state = companded(1, [0])(x.reshape(7, 1, 1, 1, 1), None, range(7))
    torch.testing.assert_close(seen.flatten(), expected)
    assert state is None
    assert len(CLIPS) == 6


@every(which=[[], [1], [0, 2]])
def test_channels_that_are_not_named_stay_as_they_are(which: list[int]) -> None:
    module, x = companded(3, which), torch.randn(4, 2, 3, 1, 1)
    seen, _ = module(x, None, range(4))
    whole, _ = companded(3, [0, 1, 2])(x, None, range(4))
    for channel in range(3):
        torch.testing.assert_close(seen[:, :, channel], (whole if channel in which else x)[:, :, channel])
    assert not list(module.parameters())


T, C = 4, 3
RECORD = InputRecord((C, 1, 1), (0.0,) * C, (1.0,) * C, kind="series", resize="none", frames="rows")


def networks(*which: int) -> tuple[Network, Graph]:
    torch.manual_seed(0)
    network = conv1d(
        neuron=lambda place: HDLIF(T), classes=2, in_channels=C, widths=(5, 4), kernel=2, companded=which
    ).eval()
    return network, lower(network, time_steps=T, input=RECORD, labels=("a", "b"))


def test_it_is_no_layer_of_neurons_and_gives_no_spikes() -> None:
    (network, graph), (_, without) = networks(0, 2), networks()
    samples = torch.randn(T, 2, C, 1, 1, generator=torch.Generator().manual_seed(0))
    assert set(neurons_of(network)) == {"body.act1", "body.act2"}
    assert [row.name for row in neuron_rows(graph)] == ["body.act1", "body.act2"]
    # The layer behind it is shown readings, as it is without it.
    assert roles(graph) == roles(without)
    rows = {row.name: row for row in profile(graph, samples, counting="honest").layers}
    assert (rows["stem.conv1"].spikes_in, rows["stem.conv1"].sops) == (False, 0.0)
    assert rows["stem.compand"].nops == 0
    assert rows["stem.compand"].energy_mj > 0
    node = next(node for node in graph.nodes if node.name == "stem.compand")
    node.attributes["fires"] = 0
    with pytest.raises(ArtefactError, match=r"stem\.compand: fires = 0; it is true or false"):
        infer_values(graph)
