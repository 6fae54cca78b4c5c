"""State as a value: names, refusals, detaching, and time folded into the batch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hdlif.nn
from cases import every, naming
from chunks import CASES
from hdlif.deploy import GraphModule, lower
from hdlif.errors import ResetError, ShapeError, StateError
from hdlif.graph.artefact import InputRecord
from hdlif.nn import HDLIF, SECA, BatchNorm2d, ParallelHDLIF, Scope, Sequential, State, Temporal, detach
from small_networks import tiny_resnet


def test_state_is_named_like_the_module_tree_and_holds_neurons_only() -> None:
    net = Sequential({"norm": BatchNorm2d(2), "act": HDLIF(2), "inner": Sequential(nn.Identity(), HDLIF(2))})
    _, state = net(torch.ones(2, 3, 2, 4, 4), None, range(2))
    assert state is not None
    assert state.keys() == {"act", "inner"}
    assert state["act"].keys() == {"potential"}
    assert state["inner"].keys() == {"1"}
    assert net[1] is net.act
    assert Sequential(BatchNorm2d(2), ParallelHDLIF(2))(torch.ones(2, 3, 2, 4, 4), None, range(2))[1] is None


def test_torch_s_own_sequence_may_hold_neurons() -> None:
    """Its children run as those of a sequence of ours do, with their state under their names."""
    torch.manual_seed(0)
    layers = nn.Linear(3, 3), HDLIF(4), nn.Sequential(nn.Linear(3, 2), HDLIF(4))
    ours, theirs = Sequential(Sequential(*layers)), Sequential(nn.Sequential(*layers))
    x = torch.randn(4, 2, 3)
    expected, kept = ours(x)
    y, state = theirs(x[:1], None, range(1))
    rest, state = theirs(x[1:], state, range(1, 4))
    torch.testing.assert_close(torch.cat([y, rest]), expected, rtol=0, atol=0)
    assert state is not None
    assert kept is not None
    assert state["0"].keys() == kept["0"].keys() == {"1", "2"}
    assert torch.equal(state["0"]["2"]["1"]["potential"], kept["0"]["2"]["1"]["potential"])


def test_every_neuron_starts_a_sequence_of_its_input_by_itself() -> None:
    x = torch.rand(3, 2, 4)
    for name, make in CASES.items():
        neuron = make(time_steps=3)
        assert torch.equal(neuron(x)[0], neuron(x, None, range(3))[0]), name
        assert torch.equal(neuron(x=x)[0], neuron(x, steps=range(3))[0]), name
    neuron = HDLIF(4)
    y, state = neuron(x[:2])
    with pytest.raises(StateError, match=r"steps=range\(t, t \+ K\)"):
        neuron(x[2:], state)
    assert torch.equal(torch.cat([y, neuron(x[2:], state, steps=range(2, 3))[0]]), neuron(x)[0])


def test_an_input_without_a_time_axis_is_refused_with_the_fix() -> None:
    image, row = torch.rand(8, 1, 6, 6), torch.rand(8, 6)
    for layer, x in ((nn.Conv2d(1, 2, 3), image), (hdlif.nn.QuantConv2d(1, 2, 3), image), (nn.Linear(6, 2), row)):
        net = Sequential(layer, HDLIF(4))
        for steps in (None, range(4)):
            with pytest.raises((ShapeError, StateError), match=r"x\[None\]"):
                net(x, steps=steps)
        with pytest.raises(ShapeError, match=r"x\[None\]"):
            net(x[:4])
        assert len(net(x[None], steps=range(4))[0]) == 4
    # Images that a network would take as a sequence of one pixel row each.
    net = Sequential(nn.Flatten(), nn.Linear(36, 2), HDLIF(4))
    with pytest.raises(StateError, match=r"made for 4; .*model\(x\[None\], steps=range\(4\)\)"):
        net(image)
    assert len(net(image, steps=range(8))[0]) == 8


def test_reset_says_that_there_is_nothing_to_reset() -> None:
    for module in (HDLIF(4), Sequential(HDLIF(4))):
        assert not hasattr(module, "reset")
        with pytest.raises(ResetError, match=r"model\(x\) starts a new sequence"):
            module.reset()


def test_states_of_other_networks_and_kinds_are_refused() -> None:
    net, x = Sequential({"a": HDLIF(2), "still": nn.Identity(), "inner": Sequential(HDLIF(2))}), torch.ones(1, 2, 3)
    _, state = net(x, None, range(1))
    a, inner = state["a"], state["inner"]
    cases: list[tuple[Any, str]] = [
        ({"trunk": {}}, "state has 'trunk', which is not a child of Sequential"),
        ({"a": a, "inner": {"stage9": {}}}, "state has 'stage9', which is not a child of Sequential"),
        *(
            ({"a": given}, "state of 'a' is a .*it must be a mapping")
            for given in (torch.zeros(2, 3), [], "potential", 3)
        ),
        *((given, "state of Sequential is a .*it must be a mapping") for given in (torch.zeros(2, 3), [], "a", 3)),
        ({"a": a}, "state lacks 'inner'"),
        ({"inner": inner}, "state lacks 'a', a HDLIF that keeps one"),
        ({"a": a, "inner": None}, "state lacks '0'|state lacks 'inner'"),
        ({}, "state lacks 'a'"),
    ]
    for given, words in cases:
        with naming(given), pytest.raises(StateError, match=words):
            net(x, given, range(1, 2))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        net(x[:, :1], state, range(1, 2))
    for given in ([], "potential", {"a": 3}):
        with naming(given), pytest.raises(StateError, match="it must be a mapping"):
            detach(given)  # type: ignore[arg-type]

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = HDLIF(2)

    with pytest.raises(StateError, match="Plain contains HDLIF, which runs over time, but is not itself"):
        Sequential(Plain())(torch.ones(2, 1, 3))


@every(stateless=[nn.Identity(), BatchNorm2d(2), ParallelHDLIF(2), SECA(2), Sequential(nn.Identity())])
def test_a_state_for_a_child_without_one_is_refused(stateless: nn.Module) -> None:
    net, x = Sequential({"still": stateless, "act": HDLIF(2)}), torch.ones(1, 3, 2, 4, 4)
    _, state = net(x, None, range(1))
    assert state is not None
    with pytest.raises(StateError, match=r"keeps none|is not a child of Sequential"):
        net(x, {**state, "still": {"potential": torch.zeros(3, 2, 4, 4)}}, range(1, 2))
    # An entry that holds nothing loses nothing.
    net(x, {**state, "still": {}}, range(1, 2))


class Odd(Temporal):
    """Runs its neuron, if any, as often as it is built for."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.act, self.times = HDLIF(2), times

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        for _ in range(self.times):
            x = run("act", x)
        return x, run.state


def test_a_state_that_would_be_overwritten_or_left_behind_is_refused() -> None:
    x = torch.ones(1, 2, 3)
    for times, words in (
        (2, "'act' ran twice in this chunk"),
        (0, "state has 'act', which Odd did not run in this chunk"),
    ):
        with pytest.raises(StateError, match=words):
            Odd(times)(x, Odd(1)(x, None, range(1))[1], range(1, 2))


def test_steps_that_are_no_range_or_do_not_fit_are_refused() -> None:
    for steps in (2, [0, 1], range(0), range(0, 4, 2), range(-1, 1), range(2, 0, -1)):
        with naming(steps), pytest.raises(StateError, match="it must be a range of consecutive time steps"):
            Sequential(HDLIF(2))(torch.ones(2, 1, 1), None, steps)
    for shape in ((2, 1, 1), (4, 1, 1), (3,)):
        with naming(shape), pytest.raises(ShapeError, match="for 3 time steps"):
            Sequential(HDLIF(2))(torch.ones(shape), None, range(3))


def test_batch_norm_that_would_mix_time_steps_is_refused_with_ours() -> None:
    for norm, shape, ours in (
        (nn.BatchNorm2d(2), (2, 4, 4), "BatchNorm2d"),
        (nn.SyncBatchNorm(2), (2, 4, 4), "BatchNorm2d"),
        (nn.BatchNorm1d(2), (2, 4), "BatchNorm1d"),
        (nn.BatchNorm1d(2), (2,), "BatchNorm1d"),
    ):
        with naming(norm, shape), pytest.raises(StateError, match=rf"would mix .*; use hdlif\.nn\.{ours}, "):
            Sequential(norm)(torch.ones(2, 3, *shape), None, range(2))


def networks() -> list[nn.Module]:
    """All that may be called without saying the steps."""
    net = tiny_resnet(lambda place: HDLIF(4)).float().eval()
    record = InputRecord((2, 8, 8), (0.0, 0.0), (1.0, 1.0))
    return [net, GraphModule(lower(net, input=record, labels=("a", "b", "c"), time_steps=4))]


def test_one_frame_or_a_state_needs_its_steps() -> None:
    x = torch.randn(1, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for net in networks():
        _, state = net(x.expand(2, -1, -1, -1, -1))
        with pytest.raises(StateError, match=r"steps=range\(t, t \+ K\)"):
            net(x.expand(2, -1, -1, -1, -1), state)
        with pytest.raises(StateError, match="give the number of steps it stands for"):
            net(x)
        assert len(net(x, steps=range(1))[0]) == 1
        constant, repeated = net(x, steps=range(4))[0], net(x.expand(4, -1, -1, -1, -1))[0]
        torch.testing.assert_close(constant, repeated)
