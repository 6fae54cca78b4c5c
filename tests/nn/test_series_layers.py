"""Layers of series: delay lines, changes, and readings on about a logarithmic scale in the channels named."""

from functools import partial

import pytest
import torch

from cases import every
from deploy.test_onnx import assert_equals_reference
from hdlif import deploy
from hdlif.errors import ArtefactError, ShapeError, StateError
from hdlif.graph.artefact import Graph, InputRecord, dumps, loads
from hdlif.graph.artefact.roles import roles
from hdlif.graph.inference import infer_values
from hdlif.learning.probe import neurons_of
from hdlif.models import conv1d
from hdlif.nn import HDLIF, DelayLine, QuantConv2d, SpikeQuantizer, Ternary, companded
from hdlif.nn.companding import CLIPS
from hdlif.report.accounting import profile
from hdlif.report.counts import neuron_rows
from same_bits import assert_same_bits
from small_networks import scatter_norms

T, C = 7, 3


def test_a_line_of_one_tap_gives_its_input_and_holds_nothing() -> None:
    x = torch.randn(5, 1, 1)
    assert DelayLine(1)(x, None, range(5)) == (x, None)


def test_lines_that_there_are_not_and_a_state_of_something_else_are_refused() -> None:
    for taps, dilation in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"taps = {taps}, dilation = {dilation}; each must be at least 1"):
            DelayLine(taps, dilation)
    line = DelayLine(3)
    with pytest.raises(StateError, match="lacks 'held'"):
        line(torch.zeros(1, 2, C), {}, range(1))
    _, state = line(torch.zeros(1, 2, C), None, range(1))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        line(torch.zeros(1, 3, C), state, range(1, 2))


RECORD = InputRecord((C, 1, 1), (0.0,) * C, (1.0,) * C, kind="series", resize="none", frames="rows")


def quantised_network(*, per_step: bool) -> Graph:
    torch.manual_seed(0)
    made = conv1d(
        neuron=lambda place: HDLIF(T, per_step=per_step, quantizer=SpikeQuantizer()),
        classes=3,
        in_channels=C,
        widths=(5, 6),
        kernel=3,
        dilations=(1, 2),
        conv=partial(QuantConv2d, quantizer=Ternary()),
    )
    return deploy.lower(scatter_norms(made).eval(), time_steps=T, input=RECORD, labels=tuple("abc"))


@every(per_step=[False, True])
def test_deployed_codes_stay_codes_and_have_equal_bits(per_step: bool) -> None:
    graph = loads(dumps(quantised_network(per_step=per_step)), "x")
    # What is held of 4-bit spikes has at most 15.
    assert [node.attributes["max_code"] for node in graph.nodes if node.op == "delay"] == [0] * 2 + [15] * 4
    assert_same_bits(graph, torch.randn(T, 2, C, 1, 1).numpy())


def test_deployed_onnx_equals_it() -> None:
    assert_equals_reference(quantised_network(per_step=False))


@every("kernel", "dilation", of=[(2, 1), (3, 2), (5, 3)], length=[1, 2, T])
def test_it_equals_slices_of_the_sequence_in_values_and_gradients(kernel: int, dilation: int, length: int) -> None:
    line = DelayLine(kernel, dilation)
    x = torch.randn(length, 2, C, 1, dtype=torch.float64, requires_grad=True)
    held = torch.randn(2, line.reach, C, 1, dtype=torch.float64, requires_grad=True)
    found, state = line(x, {"held": held}, range(length))
    whole = torch.cat([held.transpose(0, 1).flip(0), x])
    slices = [whole[begin : begin + length] for begin in range(line.reach, -1, -dilation)]
    expected, after = torch.cat(slices, 2), whole[length:].flip(0).transpose(0, 1)
    assert torch.equal(found, expected)
    assert torch.equal(state["held"], after)
    by_found, by_expected = (
        torch.autograd.grad((y * y.sin()).sum() + (h * h.cos()).sum(), [x, held])
        for y, h in ((found, state["held"]), (expected, after))
    )
    torch.testing.assert_close(by_found, by_expected, rtol=1e-12, atol=1e-12)


def test_companded_values_by_hand() -> None:
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


def test_companding_is_no_layer_of_neurons_and_gives_no_spikes() -> None:
    graphs = []
    for channels in ((0, 2), ()):
        torch.manual_seed(0)
        made = conv1d(
            neuron=lambda place: HDLIF(T), classes=2, in_channels=C, widths=(5, 4), kernel=2, companded=channels
        ).eval()
        assert set(neurons_of(made)) == {"body.act1", "body.act2"}
        graphs.append(deploy.lower(made, time_steps=T, input=RECORD, labels=("a", "b")))
    graph, without = graphs
    assert [row.name for row in neuron_rows(graph)] == ["body.act1", "body.act2"]
    # The layer after it is shown readings, as it is without it.
    assert roles(graph) == roles(without)
    rows = {row.name: row for row in profile(graph, torch.randn(T, 2, C, 1, 1), counting="honest").layers}
    assert (rows["stem.conv1"].spikes_in, rows["stem.conv1"].sops) == (False, 0.0)
    assert rows["stem.compand"].nops == 0
    assert rows["stem.compand"].energy_mj > 0
    node = next(node for node in graph.nodes if node.name == "stem.compand")
    node.attributes["fires"] = 0
    with pytest.raises(ArtefactError, match=r"stem\.compand: fires = 0; it must be true or false"):
        infer_values(graph)
