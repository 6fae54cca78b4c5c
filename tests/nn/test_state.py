"""State as a value: names, refusals, detaching, and time folded into the batch."""

import pytest
import torch
from torch import nn

from hdlif.errors import ShapeError, StateError
from hdlif.nn import HDLIF, BatchNorm2d, ParallelHDLIF, Sequential, detach
from small_networks import tiny_resnet


def test_state_is_named_like_the_module_tree_and_holds_neurons_only() -> None:
    net = Sequential({"norm": BatchNorm2d(2), "act": HDLIF(2), "inner": Sequential(nn.Identity(), HDLIF(2))})
    _, state = net(torch.ones(2, 3, 2, 4, 4), None, range(2))
    assert state is not None
    assert state.keys() == {"act", "inner"}
    assert state["act"].keys() == {"potential"}
    assert state["inner"].keys() == {"1"}


def test_a_network_without_memory_has_no_state() -> None:
    net = Sequential(BatchNorm2d(2), ParallelHDLIF(2))
    assert net(torch.ones(2, 3, 2, 4, 4), None, range(2))[1] is None


def test_state_of_another_network_is_refused() -> None:
    net = tiny_resnet(lambda place: HDLIF(2))
    x = torch.ones(1, 2, 2, 8, 8, dtype=torch.float64)
    with pytest.raises(StateError, match=r"state has 'stage9', which is no child of Sequential"):
        net(x, {"body": {"stage9": {}}}, range(1))
    with pytest.raises(StateError, match="state has 'trunk', which is no child of Network"):
        net(x, {"trunk": {}}, range(1))


def test_a_tensor_where_a_mapping_belongs_is_refused() -> None:
    net = Sequential(HDLIF(2))
    with pytest.raises(StateError, match="state of '0' is a tensor; it must be a mapping"):
        net(torch.ones(1, 2, 3), {"0": torch.zeros(2, 3)}, range(1))


def test_state_of_another_batch_is_refused() -> None:
    net = tiny_resnet(lambda place: HDLIF(2))
    _, state = net(torch.ones(1, 4, 2, 8, 8, dtype=torch.float64), None, range(1))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        net(torch.ones(1, 3, 2, 8, 8, dtype=torch.float64), state, range(1, 2))


@pytest.mark.parametrize("steps", [2, [0, 1], range(0), range(0, 4, 2), range(-1, 1), range(2, 0, -1)], ids=repr)
def test_steps_that_are_no_range_of_consecutive_steps_are_refused(steps: object) -> None:
    with pytest.raises(StateError, match="it must be a range of consecutive time steps"):
        Sequential(HDLIF(2))(torch.ones(2, 1, 1), None, steps)


@pytest.mark.parametrize("shape", [(2, 1, 1), (4, 1, 1), (3,)], ids=str)
def test_an_input_that_does_not_fit_its_steps_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="for 3 time steps"):
        Sequential(HDLIF(2))(torch.ones(shape), None, range(3))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(2), nn.SyncBatchNorm(2)], ids=["batch", "sync"])
def test_batch_norm_that_would_mix_time_steps_is_refused(norm: nn.Module) -> None:
    with pytest.raises(StateError, match=r"would mix the statistics of time steps; use hdlif\.nn\.BatchNorm2d"):
        Sequential(norm)(torch.ones(2, 3, 2, 4, 4), None, range(2))


def test_plain_modules_see_time_folded_into_the_batch() -> None:
    x = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    linear = nn.Linear(4, 5)
    y, _ = Sequential(linear)(x, None, range(3))
    torch.testing.assert_close(y, torch.stack([linear(step) for step in x]))


def test_detach_cuts_the_graph_and_keeps_names_and_values() -> None:
    v = torch.ones(2, requires_grad=True) * 2
    cut = detach({"body": {"act": {"potential": v}}, "empty": {}})
    assert cut is not None
    assert not cut["body"]["act"]["potential"].requires_grad
    assert torch.equal(cut["body"]["act"]["potential"], v)
    assert cut["empty"] == {}
    assert detach(None) is None


def test_sequential_names_and_indexes_its_children() -> None:
    first, second = nn.Identity(), HDLIF(1)
    assert [name for name, _ in Sequential(first, second).named_children()] == ["0", "1"]
    named = Sequential({"a": first, "b": second})
    assert [name for name, _ in named.named_children()] == ["a", "b"]
    assert len(named) == 2
    assert named[1] is second


def test_network_continues_a_state_only_where_told_the_steps() -> None:
    net = tiny_resnet(lambda place: HDLIF(2))
    x = torch.ones(1, 2, 2, 8, 8, dtype=torch.float64)
    _, state = net(x)
    with pytest.raises(TypeError, match=r"steps=range\(t, t \+ K\)"):
        net(x, state)
