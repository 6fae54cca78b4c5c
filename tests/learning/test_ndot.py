"""NDOT: traces by hand, OTTT where the ratio is the leak, and where there is no ratio."""

import pytest
import torch
from torch import Tensor, nn

import own_neurons
from cases import every
from hdlif.errors import StateError, TrainingError
from hdlif.learning import NDOT, OTTT
from hdlif.learning.traced_pass import STILL, TraceRule, decay, drift
from hdlif.learning.traces import Traces
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, QuantLinear, Sequential, Temporal, carrying
from learning.test_ottt import LEAK, STEPS, Stack, frames, learn, synapses
from small_networks import assert_close


def test_drift_and_decay_by_hand() -> None:
    current, potential = torch.tensor([1.0, 0.5, 2.0, 0.25]), torch.tensor([1.0, 1.0, 0.0, 0.5])
    now = drift(current, potential, 0.5)
    assert now.tolist() == [0.5, 0.0, 2.0, 0.0]
    before = torch.tensor([1.0, 0.0, -0.5, STILL / 2])
    # ½/1; still before: λ; 2/-½ clipped; still before: λ
    assert decay(now, before, 0.25).tolist() == [0.5, 0.25, -1.0, 0.25]
    assert decay(now, None, 0.25) == 0.25


def test_trace_of_a_synapse_behind_a_neuron_decays_as_the_neuron_moves() -> None:
    torch.manual_seed(0)
    net = Sequential({"act": LIF(STEPS, leak=LEAK, threshold=0.5), "fc": QuantLinear(4, 3)}).double()
    x = torch.randn(STEPS, 2, 4, dtype=torch.float64) * 2
    state, a, before = None, torch.zeros(2, 4, dtype=torch.float64), None
    lif_state = None
    traces = Traces(synapses(net), TraceRule(LEAK, dynamic=True))
    for t in range(STEPS):
        _, state = net(x[t : t + 1], state, carrying(range(t, t + 1), observers=[traces]))
        spike, lif_state = net[0](x[t : t + 1], lif_state, carrying(range(t, t + 1), observers=[traces]))
        moved = x[t] - (1 - LEAK) * lif_state["potential"]
        a = (LEAK if before is None else decay(moved, before, LEAK)) * a + spike[0]
        before = moved
        torch.testing.assert_close(state["fc"]["trace"], a, atol=1e-12, rtol=0)
        torch.testing.assert_close(state["fc"]["drift"], moved, atol=1e-12, rtol=0)


def test_with_the_leak_as_its_ratio_it_is_ottt(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Stack(6, 12, 8), frames()
    found, expected = learn(NDOT(leak=LEAK), net, x), learn(OTTT(leak=LEAK), net, x)
    # The first synapse follows no neuron; the second one does.
    torch.testing.assert_close(found["body.fc0.weight"], expected["body.fc0.weight"], atol=1e-12, rtol=0)
    assert (found["body.fc1.weight"] - expected["body.fc1.weight"]).abs().max() > 1e-4
    monkeypatch.setattr("hdlif.learning.traced_pass.decay", lambda now, before, leak: leak)
    assert_close(learn(NDOT(leak=LEAK), net, x), expected)


class Between(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1


@every(before=[{"act": ParallelHDLIF(STEPS)}, {"act": LIF(STEPS, threshold=0.5), "pool": Between()}])
def test_without_a_potential_directly_before_there_is_no_ratio(before: dict[str, Temporal]) -> None:
    net = Sequential({**before, "fc": QuantLinear(4, 3)}).double()
    traces = Traces(synapses(net), TraceRule(LEAK, dynamic=True))
    _, state = net(torch.randn(1, 2, 4, dtype=torch.float64), None, carrying(range(1), observers=[traces]))
    assert set(state["fc"]) == {"trace"}


def test_a_neuron_that_keeps_no_potential_is_refused_by_its_name() -> None:
    net = Sequential({"act0": own_neurons.Keeping(STEPS), "fc": nn.Linear(6, 4), "act1": HDLIF(STEPS)}).double()
    message = r"fc follows the neuron 'act0'.*keeps 'total' and no 'potential'; give the state .*\(ottt\)"
    with pytest.raises(TrainingError, match=message):
        learn(NDOT(), net, frames())
    learn(OTTT(), net, frames())


def test_steps_and_states_that_a_dynamic_trace_cannot_follow_are_refused() -> None:
    net = Sequential({"act": LIF(STEPS, threshold=0.5), "fc": QuantLinear(4, 3)}).double()
    x = torch.randn(2, 2, 4, dtype=torch.float64)
    traces = Traces(synapses(net), TraceRule(LEAK, dynamic=True))
    with pytest.raises(StateError, match="dynamic traces are run one time step at a time"):
        net(x, None, carrying(range(2), observers=[traces]))
    with pytest.raises(StateError, match="it must be two tensors, 'trace' and 'drift'"):
        net(x[:1], {"act": {"potential": x[0]}, "fc": {"trace": x[0]}}, carrying(range(1), observers=[traces]))
