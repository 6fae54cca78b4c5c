"""Our neurons inside SpikingJelly, and its networks as ours: outputs and gradients, step for step."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import every
from hdlif.deploy import lower
from hdlif.errors import ConversionError, ShapeError
from hdlif.nn import GLIF, HDLIF, AdaptiveHDLIF, ParallelHDLIF
from hdlif.runtime import reference
from imported_networks import assert_same_outputs_and_gradients
from lif_networks import T, currents, on_grid, record, spikes_of

neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason="pip install spikingjelly")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
monitor = pytest.importorskip("spikingjelly.activation_based.monitor")
ours = pytest.importorskip("hdlif.deploy.interop.spikingjelly")

pytestmark = pytest.mark.peers


@every(make=[HDLIF, ParallelHDLIF, AdaptiveHDLIF, GLIF], step_mode=["s", "m"])
def test_our_neurons_run_in_either_step_mode(make: Any, step_mode: str) -> None:
    torch.manual_seed(0)
    one = make(T)
    node = ours.Node(one, step_mode)
    x = currents(3, 2, 2)
    expected, _ = one(x, None, range(T))
    for _ in range(2):
        found = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
        torch.testing.assert_close(found, expected)
        functional.reset_net(node)
    assert expected.abs().max() > 0


def test_a_sequence_goes_on_over_calls_and_modes() -> None:
    node, x = ours.Node(HDLIF(T), "m"), currents(3)
    whole = node(x)
    functional.reset_net(node)
    first = node(x[:3])
    functional.set_step_mode(node, "s")
    torch.testing.assert_close(torch.cat([first, torch.stack([node(step) for step in x[3:]])]), whole)
    with pytest.raises(ShapeError, match="state=None"):
        node(x[0, :2])


def test_detach_net_cuts_the_gradient() -> None:
    node = ours.Node(HDLIF(2, learned=False))
    x = torch.full((2, 1, 1), 0.3).requires_grad_()
    node(x[0])
    functional.detach_net(node)
    (node(x[1] * 2)).sum().backward()
    assert x.grad is not None
    assert x.grad[0].item() == 0 != x.grad[1].item()


def test_our_neurons_train_in_their_network_and_are_monitored() -> None:
    from spikingjelly.activation_based.model import spiking_resnet

    torch.manual_seed(0)
    net = spiking_resnet.spiking_resnet18(num_classes=4, spiking_neuron=ours.nodes(lambda: HDLIF(2)))
    functional.set_step_mode(net, "m")
    seen = monitor.OutputMonitor(net, ours.Node)
    potentials = monitor.AttributeMonitor("v", False, net, ours.Node)
    y = net(torch.randn(2, 2, 3, 32, 32))
    assert len(seen.records) == len(potentials.records) == 17
    assert seen.records[0].shape == (2, 2, 64, 16, 16)
    F.cross_entropy(y.mean(0), torch.tensor([0, 1])).backward()
    assert all(p.grad is not None for p in net.parameters())
    functional.reset_net(net)


def test_a_network_of_theirs_with_our_neurons_becomes_ours() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer.Flatten(), layer.Linear(6, 5), ours.Node(HDLIF(T)), layer.Linear(5, 3))
    functional.set_step_mode(net, "m")
    x = 2 * torch.randn(T, 4, 2, 3)
    expected = net(x)
    functional.reset_net(net)
    model = ours.from_spikingjelly(net, T)
    found, _ = model(x, steps=range(T))
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 0
    assert [type(one).__name__ for one in model.modules()].count("HDLIF") == 1


def their_network(**options: Any) -> nn.Module:
    def node() -> nn.Module:
        return neuron.LIFNode(surrogate_function=surrogate.ATan(), **options)

    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4, eps=0.0),
        node(),
        layer.MaxPool2d(2),
        layer.Conv2d(4, 4, 3, padding=1),
        neuron.IFNode(v_reset=None, surrogate_function=surrogate.Sigmoid()),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(16, 8),
        node(),
    )


OPTIONS = [
    {"decay_input": False, "v_reset": None},
    {"decay_input": True, "v_reset": 0.0, "tau": 4.0},
    {"decay_input": False, "v_reset": -0.5, "v_threshold": 0.5},
    {"decay_input": True, "v_reset": -0.5, "detach_reset": True},
]


@every(options=OPTIONS, step_mode=["s", "m"])
def test_their_network_is_ours_in_outputs_and_gradients(options: dict[str, Any], step_mode: str) -> None:
    theirs = on_grid(their_network(**options))
    functional.set_step_mode(theirs, step_mode)
    network = ours.from_spikingjelly(theirs, T)
    functional.set_step_mode(theirs, "m")
    functional.reset_net(theirs)
    x = currents(2, 8, 8)
    expected = theirs(x)
    assert_same_outputs_and_gradients(network, network(x, None, range(T))[0], theirs, expected)
    assert 0 < expected.mean() < 1


@every(decay_input=[True, False])
def test_a_learned_time_constant_is_a_learned_leak(decay_input: bool) -> None:
    torch.manual_seed(0)
    node = neuron.ParametricLIFNode(3.0, decay_input, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m")
    theirs = nn.Sequential(nn.Linear(2, 8), node).double()
    network = ours.from_spikingjelly(theirs, T).double()
    x = torch.randn(T, 4, 2, dtype=torch.float64) * 3
    expected = theirs(x)
    found, _ = network(x, None, range(T))
    # Where the input decays, too, the factor of the currents learns there.
    without = ["weight", "bias", "w"] if decay_input else ["w"]
    assert_same_outputs_and_gradients(network, found, theirs, expected, without=without)
    (logit,) = [p for name, p in network.named_parameters() if name.endswith("leak.logit")]
    assert logit.grad is not None
    assert logit.grad.abs().item() > 0
    if not decay_input:
        torch.testing.assert_close(-logit.grad[0], node.w.grad)


def test_a_state_dict_becomes_ours_and_is_deployed() -> None:
    trained, fresh = on_grid(their_network(**OPTIONS[0])), their_network(**OPTIONS[0]).eval()
    network = ours.from_spikingjelly(fresh, T, state_dict=trained.state_dict())
    x = currents(2, 8, 8)
    functional.set_step_mode(trained, "m")
    expected = trained(x).detach().numpy()
    assert (spikes_of(network, x) == expected).all()
    graph = lower(network, input=record(2, 8, 8), labels=tuple("abcdefgh"), time_steps=T)
    assert (reference.run(graph, x.numpy(), T) == expected).all()


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.node = layer.Linear(2, 2), neuron.LIFNode()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(self.node(self.fc(step)) for step in x)  # type: ignore[return-value]


@every(
    "network",
    "said",
    of=[
        (lambda: nn.Sequential(neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False))), "spiking=False"),
        (lambda: nn.Sequential(layer.ThresholdDependentBatchNorm1d(2.0, 1.0, 2), neuron.LIFNode()), "step by step"),
        (lambda: nn.Sequential(layer.Linear(2, 2), neuron.QIFNode()), "QIFNode"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), neuron.LIFNode()), "1 is an activation"),
        (lambda: nn.Sequential(neuron.LIFNode(surrogate_function=surrogate.Erf())), "Erf"),
        (Loop, "remove the loop"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), "no neurons of SpikingJelly"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(network: Any, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        ours.from_spikingjelly(network(), T)
