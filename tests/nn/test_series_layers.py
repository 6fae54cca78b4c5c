"""Layers of series: delay lines, changes, and readings on about a logarithmic scale in the channels named."""

from functools import partial

import numpy as np
import pytest
import torch

from cases import every
from deploy.test_onnx import assert_equals_reference
from hdlif import deploy
from hdlif.errors import ArtefactError, ShapeError, StateError
from hdlif.graph.artefact import InputRecord, dumps, loads
from hdlif.graph.artefact.roles import roles
from hdlif.graph.inference import infer_values
from hdlif.learning.probe import neurons_of
from hdlif.models import conv1d
from hdlif.nn import HDLIF, Changes, DelayLine, QuantConv2d, SpikeQuantizer, Ternary, companded
from hdlif.nn.companding import CLIPS
from hdlif.report.accounting import profile
from hdlif.report.counts import neuron_rows
from hdlif.runtime import Session
from same_bits import assert_same_bits
from small_networks import scatter_norms

T, C = 7, 3


def test_each_tap_gives_an_earlier_step() -> None:
    x = torch.arange(1.0, 6.0).reshape(5, 1, 1)
    y, state = DelayLine(3, 2)(x, None, range(5))
    assert y[:, 0].tolist() == [[1, 0, 0], [2, 0, 0], [3, 1, 0], [4, 2, 0], [5, 3, 1]]
    # The latest first.
    assert state["held"][0, :, 0].tolist() == [5, 4, 3, 2]
    assert torch.equal(DelayLine(1)(x, None, range(5))[0], x)
    assert DelayLine(1)(x, None, range(5))[1] is None


def test_lines_that_there_are_not_and_a_state_of_something_else_are_refused() -> None:
    for taps, dilation in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"taps = {taps}, dilation = {dilation}; each is at least 1"):
            DelayLine(taps, dilation)
    line = DelayLine(3)
    with pytest.raises(StateError, match="lacks 'held'"):
        line(torch.zeros(1, 2, C), {}, range(1))
    _, state = line(torch.zeros(1, 2, C), None, range(1))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        line(torch.zeros(1, 3, C), state, range(1, 2))


def network(*, quantised: bool, per_step: bool) -> torch.nn.Module:
    torch.manual_seed(0)

    def layer(place: object) -> HDLIF:
        return HDLIF(T, per_step=per_step, quantizer=SpikeQuantizer() if quantised else None)

    conv = partial(QuantConv2d, quantizer=Ternary() if quantised else None)
    made = conv1d(neuron=layer, classes=3, in_channels=C, widths=(5, 6), kernel=3, dilations=(1, 2), conv=conv)
    return scatter_norms(made)


RECORD = InputRecord((C, 1, 1), (0.0,) * C, (1.0,) * C, kind="series", resize="none", frames="rows")


@every("quantised", "per_step", of=[(False, False), (True, False), (True, True)])
def test_deployed_it_has_equal_bits_and_the_modules_values(quantised: bool, per_step: bool) -> None:
    model = network(quantised=quantised, per_step=per_step).eval()
    graph = loads(dumps(deploy.lower(model, time_steps=T, input=RECORD, labels=tuple("abc"))), "x")
    delays = [node for node in graph.nodes if node.op == "delay"]
    assert len(delays) == 2 + 4
    # Codes stay codes: what is held of 4-bit spikes has at most 15.
    assert [node.attributes["max_code"] for node in delays] == [0, 0, *([15] * 4 if quantised else [0] * 4)]
    x = torch.randn(T, 2, C, 1, 1)
    assert_same_bits(graph, x.numpy())
    if not quantised:
        logits = model(x, steps=range(T))[0].detach().numpy()
        np.testing.assert_allclose(Session(graph).run(x.numpy()), logits, rtol=1e-4, atol=1e-4)


def test_deployed_onnx_equals_it() -> None:
    model = network(quantised=True, per_step=False).eval()
    assert_equals_reference(deploy.lower(model, time_steps=T, input=RECORD, labels=tuple("abc")))


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


def test_changes_are_exact_beside_what_changes() -> None:
    x = 1 + 2.0**-20 * torch.arange(6).reshape(6, 1, 1, 1, 1)
    seen, state = Changes()(x, None, range(6))
    assert torch.equal(seen[:, :, :1], x)
    assert seen[1:, 0, 1, 0, 0].tolist() == [2.0**-20] * 5
    assert seen[0, 0, 1, 0, 0] == 1
    parts = [Changes()(x[:4], None, range(4))]
    parts.append(Changes()(x[4:], parts[0][1], range(4, 6)))
    assert torch.equal(torch.cat([part for part, _ in parts]), seen)
    assert torch.equal(parts[1][1]["held"], state["held"])


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
    with pytest.raises(ArtefactError, match=r"stem\.compand: fires = 0; it is true or false"):
        infer_values(graph)
