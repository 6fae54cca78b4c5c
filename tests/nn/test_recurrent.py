"""Recurrent layers: by hand, against a plain loop under autograd, under every rule, and deployed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cases import every
from deploy.test_onnx import assert_equals_reference
from deployed_networks import assert_runs_as_trained, images, lowered, trained_like
from hdlif import deploy
from hdlif.errors import ShapeError, StateError
from hdlif.functional import hd_lif_step
from hdlif.graph.artefact import Graph, dumps, loads
from hdlif.learning import OTTT
from hdlif.models import resnet
from hdlif.nn import (
    HDLIF,
    LIF,
    BatchNorm2d,
    EquationNeuron,
    ParallelHDLIF,
    Parameter,
    QuantConv2d,
    QuantLinear,
    Recurrent,
    Sequential,
    SpikeQuantizer,
    Ternary,
)
from hdlif.runtime import Session, reference
from same_bits import assert_same_bits

T, C = 4, 3


def linear(neuron: nn.Module | None = None) -> Recurrent:
    torch.manual_seed(0)
    layer = Recurrent(neuron or HDLIF(T, learned=False), QuantLinear(C, C, bias=False))
    nn.init.normal_(layer.synapse.weight, std=0.5)
    return layer.double()


def test_what_was_emitted_comes_back_at_the_next_step() -> None:
    """λ = θ = ½, U = 2, a current of 1: m = 1, s = ½; m = ½·½ + 1 + 2·½ = 2¼, s = 1¾; m = ¼ + 1 + 3½ = 4¾, s = 4¼."""
    layer = Recurrent(HDLIF(3, learned=False), QuantLinear(1, 1, bias=False))
    nn.init.constant_(layer.synapse.weight, 2.0)
    y, state = layer(torch.ones(1, 1, 1), None, range(3))
    assert y.flatten().tolist() == [0.5, 1.75, 4.25]
    assert state["spike"].tolist() == [[4.25]]
    assert state["neuron"]["potential"].tolist() == [[0.5]]


def by_hand(layer: Recurrent, x: Tensor) -> Tensor:
    """The same as a plain loop."""
    weight, potential = layer.synapse.weight, torch.zeros_like(x[0])
    spike, half, emitted = torch.zeros_like(x[0]), torch.tensor(0.5, dtype=x.dtype), []
    for arriving in x:
        spike, potential = hd_lif_step(arriving + spike @ weight.T, potential, half, half)
        emitted.append(spike)
    return torch.stack(emitted)


def test_gradients_are_those_of_a_plain_loop() -> None:
    x = torch.randn(T, 5, C, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.4
    weights = torch.randn(T, 5, C, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for own in (True, False):
        layer, arriving = linear(), x.clone().requires_grad_()
        y = layer(arriving, None, range(T))[0] if own else by_hand(layer, arriving)
        (y * weights).sum().backward()
        found.append((y.detach(), layer.synapse.weight.grad, arriving.grad))
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-12)
    assert bool(found[0][1].abs().min() > 0)


def test_the_recurrent_weights_learn_from_a_trace_of_what_was_emitted() -> None:
    """OTTT: dL/dU = Σ_t d_t ⊗ a_t with a_t = λ·a_{t-1} + s_{t-1}, d_t the gradient of the current at step t."""
    network = Sequential(nn.Linear(2, C), Recurrent(HDLIF(T, learned=False), QuantLinear(C, C, bias=False)))
    network = Sequential(network, nn.Linear(C, 2)).double()
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(T, 6, 2, dtype=torch.float64)
    target = torch.tensor([0, 1, 0, 1, 1, 0])
    rule = OTTT(leak=0.5, update="sum")
    for step in rule(network, x, target, rule.schedule(T, None)):
        step.loss.backward()
    layer = network.get_submodule("0.1")
    seen = layer.synapse.weight.grad.clone()
    # the same by hand: each step's loss alone, with what it remembers as constants
    first, last = network.get_submodule("0.0"), network.get_submodule("1")
    half = torch.tensor(0.5, dtype=torch.float64)
    potential, spike, trace = torch.zeros(6, C).double(), torch.zeros(6, C).double(), torch.zeros(6, C).double()
    expected = torch.zeros_like(seen)
    for t in range(T):
        current = (first(x[t]) + spike @ layer.synapse.weight.T).detach().requires_grad_()
        trace = 0.5 * trace + spike
        spike, potential = hd_lif_step(current, potential, half, half)
        # the sum of the steps has weight 1/T each
        loss = rule.criterion(last(spike), target) / T
        (grad,) = torch.autograd.grad(loss, current)
        expected += grad.T @ trace
        spike, potential = spike.detach(), potential.detach()
    torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-12)


def test_states_and_shapes_that_do_not_fit_are_refused() -> None:
    layer, x = linear(), torch.randn(1, 5, C).double()
    _, state = layer(x, None, range(1))
    assert set(state) == {"neuron", "spike"}
    with pytest.raises(ShapeError, match=r"spike has shape \[5, 3\], but the input of this step \[4, 3\]"):
        layer(x[:, :4], state, range(1, 2))
    with pytest.raises(StateError, match="'other'"):
        layer(x, {**state, "other": {"x": torch.zeros(1)}}, range(1, 2))
    for lacking in ({"neuron": state["neuron"]}, {**state, "spike": None}, {**state, "spike": {}}):
        with pytest.raises(StateError, match="lacks 'spike'"):
            layer(x, lacking, range(1, 2))
    with pytest.raises(ShapeError, match="the recurrent synapse returns"):
        Recurrent(HDLIF(T), QuantConv2d(C, C, 3))(torch.randn(1, 2, C, 5, 5), None, range(1))


class Late(EquationNeuron):
    """Emits what it kept: its spike follows from the state alone."""

    threshold = Parameter(0.1)

    @staticmethod
    def step(current, potential, threshold):
        return torch.relu(potential - threshold), current


def residual(neuron: Callable[[], nn.Module], quantizer: Ternary | None = None) -> nn.Module:
    conv = partial(QuantConv2d, quantizer=quantizer)
    layer = lambda place: Recurrent(neuron(), conv(place.channels, place.channels, 3, padding=1))  # noqa: E731
    return resnet(neuron=layer, blocks=(1,), width=4, in_channels=1, classes=5, conv=conv)


def led_back(*inner: nn.Module) -> nn.Module:
    """Layers that lead back what the last of them gives, with a norm after them."""
    back = Recurrent(Sequential(*inner), QuantConv2d(4, 4, 1))
    body = nn.Conv2d(1, 4, 3, padding=1), back, BatchNorm2d(4)
    return Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def codes(bits: int = 4) -> nn.Module:
    return HDLIF(T, quantizer=SpikeQuantizer(bits=bits))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "codes": lambda: residual(codes, Ternary()),
    "graded": lambda: residual(lambda: HDLIF(T)),
    "binary, its size per step": lambda: residual(lambda: LIF(T, learned=True, leak=0.7, threshold=0.9), Ternary()),
    "parallel": lambda: residual(lambda: ParallelHDLIF(T, quantizer=SpikeQuantizer())),
    # Folding and joining leave the value alone that a delay reads.
    "norms": lambda: led_back(LIF(T), BatchNorm2d(4), BatchNorm2d(4)),
    "a convolution": lambda: led_back(LIF(T), nn.Conv2d(4, 4, 1, bias=False)),
    "a neuron that reads its state alone": lambda: led_back(Late(T)),
}


def deployed(make: Callable[[], nn.Module]) -> tuple[nn.Module, Graph, Tensor]:
    """A network like a trained one, its graph, and images."""
    torch.manual_seed(1)
    network = trained_like(make(), T)
    return network, lowered(network, time_steps=T), images()


@every(make=NETWORKS)
def test_a_recurrent_network_is_deployed(make: Callable[[], nn.Module]) -> None:
    """Its logits are the module's, the runtime's bits the oracle's, also beyond the trained steps and in a stream."""
    network, graph, x = deployed(make)
    layers = sum(isinstance(module, Recurrent) for module in network.modules())
    assert sum(node.op == "delay" for node in graph.nodes) == layers
    assert dumps(loads(dumps(graph), "x")) == dumps(graph)
    assert_same_bits(graph, x.numpy(), T + 2)
    # A code at a rounding boundary may differ, and all that follows from it.
    assert_runs_as_trained(network, graph, x, T + 2, share=0.75)
    session, state = Session(graph), None
    for expected in session.run(x.numpy(), T + 2):
        logits, state = session.step(x[0].numpy(), state)
        np.testing.assert_array_equal(logits, expected)


@pytest.mark.peers
@every(make=NETWORKS)
def test_the_onnx_forms_lead_back_the_same(make: Callable[[], nn.Module]) -> None:
    assert_equals_reference(deployed(make)[1])


def test_a_state_that_is_no_code_is_cut_to_one_alike_everywhere() -> None:
    _, graph, x = deployed(lambda: led_back(codes(bits=2)))
    session, frame = Session(graph), x[0].numpy()
    _, state = session.step(frame)
    odd = {key: value if key == "t" else np.full_like(value, 2.7) for key, value in state.items()}
    expected, _ = reference.step(graph, frame, odd)
    assert session.step(frame, odd)[0].tobytes() == expected.tobytes()
    of_nodes: dict[str, dict[str, Tensor]] = {}
    for node, _, own in (key.rpartition(".") for key in odd if key != "t"):
        of_nodes.setdefault(node, {})[own] = torch.from_numpy(odd[f"{node}.{own}"])
    logits, _ = deploy.GraphModule(graph)(x, of_nodes, steps=range(1, 2))
    torch.testing.assert_close(logits[0], torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
