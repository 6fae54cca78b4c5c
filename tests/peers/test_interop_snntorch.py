"""Our neurons inside snnTorch, and its networks as ours: outputs and gradients, step for step."""

import gc
import re
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.deploy import lower
from hdlif.errors import ArgumentError, ConversionError, StateError
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, GradedLIF, ParallelHDLIF, Sequential
from hdlif.runtime import reference
from imported_networks import assert_same_outputs_and_gradients
from lif_networks import T, currents, on_grid, record, spikes_of

snn = pytest.importorskip("snntorch", reason="pip install snntorch")
snn_utils = pytest.importorskip("snntorch.utils")
surrogate = pytest.importorskip("snntorch.surrogate")
ours = pytest.importorskip("hdlif.deploy.interop.snntorch")

pytestmark = pytest.mark.peers


@every(make=[HDLIF, ParallelHDLIF, AdaptiveHDLIF], start=["none", "init_leaky", "zeros"])
def test_our_neurons_return_spikes_and_mem(make: Any, start: str) -> None:
    one = make(T)
    node, x = ours.Node(one), currents(3, 2)
    expected, state = one(x, None, range(T))
    mem = {"none": None, "init_leaky": node.init_leaky(), "zeros": torch.zeros(5, 3, 2)}[start]
    found = []
    for step in x:
        spk, mem = node(step, mem)
        found.append(spk)
    torch.testing.assert_close(torch.stack(found), expected)
    if state is not None:
        torch.testing.assert_close(mem, state["potential"])
    assert expected.abs().max() > 0


def test_hidden_state_is_kept_until_it_is_reset() -> None:
    one = HDLIF(T)
    node, x = ours.Node(one, init_hidden=True), currents(3)
    expected, _ = one(x, None, range(T))
    for _ in range(2):
        torch.testing.assert_close(torch.stack([node(step) for step in x]), expected)
        node.reset_mem()
    with pytest.raises(TypeError, match="while `init_hidden=True`"):
        node(x[0], x[0])


def test_a_mem_from_elsewhere_is_refused_where_the_step_is_not_known() -> None:
    with pytest.raises(StateError, match="HDLIF"):
        ours.Node(HDLIF(T))(torch.ones(1, 2), torch.ones(1, 2))
    # Where all steps are alike, it is a potential as any.
    spk, mem = ours.Node(LIF(T, per_step=False))(torch.ones(1, 2) / 2, torch.ones(1, 2))
    assert spk.tolist() == [[1, 1]]
    assert mem.tolist() == [[0, 0]]


@every(make=[HDLIF, ParallelHDLIF, AdaptiveHDLIF], cut=[torch.Tensor.detach, torch.Tensor.detach_])
def test_a_detached_mem_continues_the_sequence_without_its_gradient(make: Any, cut: Any) -> None:
    one = make(T)
    node, x = ours.Node(one), currents(3, 2).requires_grad_()
    expected, _ = one(x, None, range(T))
    found, mem = [], None
    for t, step in enumerate(x):
        spk, mem = node(step, mem)
        found.append(spk)
        if t == 1:
            mem = cut(mem)
    torch.testing.assert_close(torch.stack(found), expected)
    # The adaptation of an AdaptiveHDLIF is a path through time of its own.
    (gradient,) = torch.autograd.grad(torch.stack(found[2:]).sum(), x)
    assert not gradient[:2].any()
    assert gradient[2:].any()


def test_a_detached_mem_of_an_earlier_call_is_refused() -> None:
    node, x = ours.Node(HDLIF(T)), currents(3)
    _, mem = node(x[0])
    node(x[1], mem)
    with pytest.raises(StateError, match="HDLIF"):
        node(x[1], mem.detach())


def test_snntorch_resets_and_detaches_hidden_states() -> None:
    one = AdaptiveHDLIF(T)
    net, x = nn.Sequential(nn.Identity(), ours.Node(one, init_hidden=True)), currents(3).requires_grad_()
    snn_utils.reset(net)
    expected, _ = one(x, None, range(T))
    for _ in range(2):
        found = []
        for t, step in enumerate(x):
            found.append(net(step))
            if t == 1:
                snn.Leaky.detach_hidden()
        torch.testing.assert_close(torch.stack(found), expected)
        assert not torch.autograd.grad(torch.stack(found[2:]).sum(), x)[0][:2].any()
        snn_utils.reset(net)


def test_a_node_becomes_its_neuron() -> None:
    torch.manual_seed(0)
    theirs, x = nn.Sequential(nn.Linear(3, 4), ours.Node(HDLIF(T), init_hidden=True)), currents(3)
    network = ours.from_snntorch(theirs, T)
    expected = torch.stack([theirs(step) for step in x])
    torch.testing.assert_close(network(x, None, range(T))[0], expected)
    assert expected.any()


def leaky(**options: Any) -> nn.Module:
    return snn.Leaky(**{"beta": 0.5, "init_hidden": True, **options})


@every(theirs=[surrogate.atan(), surrogate.fast_sigmoid, surrogate.ATan], make=[LIF, GradedLIF, GLIF])
def test_a_surrogate_of_snntorch_is_refused_with_the_name_of_its_counterpart(theirs: Any, make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"(ATan|FastSigmoid)\("):
        make(T, surrogate=theirs)


@every(make=[lambda: snn.Leaky(beta=0.5), lambda: leaky(), lambda: nn.Sequential(leaky()), lambda: ours.Node(HDLIF(T))])
def test_a_neuron_of_snntorch_is_refused_in_our_networks(make: Any) -> None:
    with pytest.raises(StateError, match="from_snntorch"):
        Sequential(nn.Linear(2, 3), make())


def their_network(**options: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        leaky(**options),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 8),
        leaky(threshold=0.5, **options),
    )


def run(network: nn.Module, x: Tensor) -> Tensor:
    for module in network.modules():
        if isinstance(module, snn.Leaky):
            module.mem = torch.zeros(0)
    return torch.stack([network(step) for step in x])


@every(
    options={
        "late": {"reset_mechanism": "subtract"},
        "late zero": {"reset_mechanism": "zero"},
        "zero": {"reset_mechanism": "zero", "reset_delay": False},
        "fast sigmoid": {"reset_mechanism": "subtract", "spike_grad": surrogate.fast_sigmoid(slope=10)},
    }
)
def test_their_network_is_ours_in_outputs_and_gradients(options: dict[str, Any]) -> None:
    theirs = on_grid(their_network(**options))
    network, x = ours.from_snntorch(theirs, T), currents(2, 8, 8)
    assert_same_outputs_and_gradients(network, network(x, None, range(T))[0], theirs, run(theirs, x))


def test_betas_and_thresholds_of_each_neuron() -> None:
    beta, threshold = torch.tensor([0.5, 0.75, 0.25]), torch.tensor([1.0, 0.5, 2.0])
    theirs = on_grid(nn.Sequential(nn.Linear(2, 3), leaky(beta=beta, threshold=threshold)), high=48)
    network, x = ours.from_snntorch(theirs, T), currents(2)
    assert_same_outputs_and_gradients(network, network(x, None, range(T))[0], theirs, run(theirs, x))


@every(beta=[torch.tensor(0.75), torch.tensor([0.5, 0.75, 0.25])], mechanism=["subtract", "zero"])
def test_a_learned_beta_is_a_learned_leak(beta: Tensor, mechanism: str) -> None:
    torch.manual_seed(0)
    node = leaky(beta=beta.double(), learn_beta=True, reset_mechanism=mechanism)
    theirs = nn.Sequential(nn.Linear(2, 3), node).double()
    network = ours.from_snntorch(theirs, T).double()
    x = currents(2).double() * 2
    found, _ = network(x, None, range(T))
    assert_same_outputs_and_gradients(network, found, theirs, run(theirs, x), without=["beta"])
    (logit,) = [p for name, p in network.named_parameters() if name.endswith("leak.logit")]
    # dλ/da = λ (1 - λ)
    expected = node.beta.grad * node.beta * (1 - node.beta)
    # Their spikes, and so their gradients, are float32.
    torch.testing.assert_close(logit.grad.reshape(beta.shape), expected, atol=1e-4, rtol=1e-4)


def synaptic(**options: Any) -> nn.Module:
    return snn.Synaptic(**{"alpha": 0.75, "beta": 0.5, "init_hidden": True, **options})


def recurrent(**options: Any) -> nn.Module:
    return snn.RLeaky(**{"beta": 0.5, "linear_features": 8, "init_hidden": True, **options})


@every(
    make={
        "synaptic": synaptic,
        "by neuron": lambda: synaptic(alpha=torch.tensor([0.25, 0.5] * 4), beta=torch.tensor([0.5, 0.75] * 4)),
        "recurrent": recurrent,
        "learns beta": lambda: recurrent(learn_beta=True),
    }
)
def test_neurons_with_a_current_and_with_feedback_are_ours(make: Any) -> None:
    theirs = on_grid(nn.Sequential(nn.Flatten(), nn.Linear(2, 8), make(), nn.Linear(8, 3)))
    if isinstance(theirs[2].beta, nn.Parameter):
        nn.init.constant_(theirs[2].beta, 0.5)
    network = ours.from_snntorch(theirs, T)
    x = currents(2, 1, 1)
    theirs[2].reset_mem()
    expected = torch.stack([theirs(step) for step in x])
    found, _ = network(x, None, range(T))
    assert_same_outputs_and_gradients(network, found, theirs, expected, without=["beta"])
    graph = lower(network.eval(), input=record(2, 1, 1), labels=tuple("abc"), time_steps=T)
    assert (reference.run(graph, x.numpy(), T) == expected.detach().numpy()).all()


def test_a_mem_goes_with_its_last_reader() -> None:
    node, x = ours.Node(HDLIF(T)), currents(3).requires_grad_()
    gc.collect()
    gc.disable()
    try:
        seen, mem = [], None
        for step in x:
            spk, mem = node(step, mem)
            seen.append(weakref.ref(mem))
        del spk, mem
        # As tensors in a circle they would keep the graph of a whole sequence until the next collection.
        assert [one() for one in seen] == [None] * T
    finally:
        gc.enable()


def test_a_state_dict_becomes_ours_and_is_deployed() -> None:
    trained, fresh = on_grid(their_network()), their_network(beta=0.9).eval()
    network = ours.from_snntorch(fresh, T, state_dict=trained.state_dict())
    x = currents(2, 8, 8)
    expected = run(trained, x).detach().numpy()
    assert (spikes_of(network, x) == expected).all()
    graph = lower(network, input=record(2, 8, 8), labels=tuple("abcdefgh"), time_steps=T)
    assert (reference.run(graph, x.numpy(), T) == expected).all()


class Loop(nn.Module):
    """One of several ways in which a forward pass goes over time, or carries mem, itself."""

    def __init__(self, way: Any, *, init_hidden: bool = False) -> None:
        super().__init__()
        self.way = way
        self.fc, self.lif = nn.Linear(2, 2), snn.Leaky(beta=0.5, init_hidden=init_hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def carrying_mem(net: Loop, x: Tensor) -> Tensor:
    mem = net.lif.init_leaky()
    for _ in range(2):
        spk, mem = net.lif(net.fc(x), mem)
    return spk


def unpacking(net: Loop, x: Tensor) -> Tensor:
    spk, _ = net.lif(net.fc(x))
    return spk


def reset_set_later() -> nn.Module:
    theirs = leaky()
    theirs.reset_mechanism = "zero"
    return nn.Sequential(theirs)


@every(
    "network",
    "said",
    of=[
        (lambda: nn.Sequential(leaky(reset_mechanism="none")), 'reset_mechanism="none"'),
        (lambda: nn.Sequential(leaky(reset_delay=False)), "reset_delay=False"),
        (lambda: nn.Sequential(leaky(learn_threshold=True)), "threshold"),
        (lambda: nn.Sequential(leaky(learn_graded_spikes_factor=True)), "graded_spikes_factor"),
        (lambda: nn.Sequential(leaky(beta=1.0, learn_beta=True)), "beta"),
        (reset_set_later, 'reset_mechanism="zero"'),
        (lambda: nn.Sequential(snn.Alpha(alpha=0.9, beta=0.5, init_hidden=True)), "Alpha"),
        (lambda: nn.Sequential(synaptic(reset_mechanism="zero")), 'reset_mechanism="zero"'),
        (lambda: nn.Sequential(synaptic(learn_alpha=True)), "alpha"),
        (lambda: nn.Sequential(recurrent(reset_mechanism="zero")), 'reset_mechanism="zero"'),
        (lambda: nn.Sequential(recurrent(all_to_all=False, linear_features=None)), "all_to_all=False"),
        (lambda: nn.Sequential(recurrent(learn_threshold=True)), "threshold"),
        (lambda: nn.Sequential(leaky(spike_grad=surrogate.LSO())), "LSO"),
        (lambda: nn.Sequential(nn.ReLU(), leaky()), "is an activation"),
        (lambda: Loop(carrying_mem), "spk, mem = net"),
        (lambda: Loop(lambda net, x: [net.fc(step) for step in x]), "for step in x"),
        (lambda: Loop(lambda net, x: [net.fc(x) for _ in range(len(x))]), "for _ in range"),
        (lambda: Loop(lambda net, x: [net.lif(net.fc(x)) for _ in range(2)], init_hidden=True), "runs more than once"),
        (lambda: Loop(unpacking), "[0]"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(network: Any, said: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(said)) as caught:
        ours.from_snntorch(network(), T)
    assert "Proxy" not in str(caught.value)
    assert "TraceError" not in str(caught.value)
