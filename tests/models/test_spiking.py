"""Ordinary networks made spiking: what they compute, how they train and deploy, and what is refused."""

import itertools
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, naming
from hdlif import deploy
from hdlif.errors import ConversionError
from hdlif.graph.artefact import InputRecord
from hdlif.learning import OTTT, STBP, StochasticStep
from hdlif.models import OwnNetwork, spiking
from hdlif.nn import HDLIF, BatchNorm2d, Neuron, QuantConv2d, QuantLayer, QuantLinear, Ternary
from hdlif.report.accounting import profile
from hdlif.runtime import Session
from torch_networks import Dense, Residual, Taking

T = 3
NETWORKS: dict[str, Callable[[], nn.Module]] = {"residual": Residual, "dense": Dense}
OF_LIBRARIES: dict[str, dict[str, Any]] = {
    "torchvision.models.resnet18": {},
    "torchvision.models.mobilenet_v2": {"dropout": 0.0},
    "timm.models.mobilenetv2_035": {},
    "torchvision.models.densenet121": {},
    "torchvision.models.resnet50": {},
    "timm.models.resnet10t": {},
}
RULES = [StochasticStep(k=1), STBP(), OTTT()]
# Each rule with every small network, and with two of the libraries.
LEARNING = [
    *itertools.product(NETWORKS, RULES),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in zip(OF_LIBRARIES, 2 * RULES, strict=True)),
]


def neuron(channels: int) -> nn.Module:
    return HDLIF(T)


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network and images that it takes."""
    torch.manual_seed(0)
    if name in NETWORKS:
        return NETWORKS[name](), torch.randn(8, 3, 8, 8)
    make = pkgutil.resolve_name(name)
    return make(num_classes=5, **OF_LIBRARIES[name]), torch.randn(4, 3, 64, 64)


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in OF_LIBRARIES)])
def test_with_relu_for_its_neurons_it_computes_what_the_network_does(name: str) -> None:
    network, x = made(name)
    with torch.no_grad():
        network.train()(x)
        before = {key: value.clone() for key, value in network.eval().state_dict().items()}
        like = nn.ReLU6 if "mobilenet" in name else nn.ReLU
        turned = spiking(network, lambda channels: like())
        y, _ = turned(torch.stack([x, -x]))
        # The same sums in the same order.
        torch.testing.assert_close(y[0], network(x))
        torch.testing.assert_close(y[1], network(-x))
    assert not turned.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(("name", "rule"), LEARNING)
def test_it_trains_in_chunks_of_one_step_and_runs_without_torch(name: str, rule: Any) -> None:
    network, x = made(name)
    network = OwnNetwork(spiking(network, neuron, quantizer=Ternary()))
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    # Where a last batch norm starts at zero, what is before it learns from the second update on.
    for seed in range(2):
        plan = rule.schedule(T, torch.Generator().manual_seed(seed))
        for step in rule(network, x[None], torch.arange(len(x)) % 5, plan):
            step.loss.backward()
        optimizer.step()
    weights = {name: value for name, value in network.named_parameters() if value.ndim > 1}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []
    assert all(value.isfinite().all() for value in weights.values())
    steps = torch.randn(T, *x.shape)
    with torch.no_grad():
        network(steps, None, range(T))
        expected, _ = network.eval()(steps, None, range(T))
        state, parts = None, []
        for t in range(T):
            part, state = network(steps[t : t + 1], state, range(t, t + 1))
            parts.append(part)
    # Sums of floats in another order, through all layers; so have the logits of the runtime.
    torch.testing.assert_close(torch.cat(parts), expected, atol=1e-3, rtol=1e-3)
    record = InputRecord(tuple(x.shape[1:]), (0.0,) * 3, (1.0,) * 3)
    graph = deploy.lower(network, input=record, labels=tuple("abcde"), time_steps=T)
    logits = torch.from_numpy(Session(graph).run(steps.numpy()))
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    counted = profile(graph, steps)
    assert {layer.name for layer in counted.layers} >= {node.name for node in graph.nodes if node.op == "conv2d"}


def test_each_place_where_an_activation_runs_has_a_neuron_with_a_state_of_its_own() -> None:
    channels: list[int] = []

    def noting(count: int) -> nn.Module:
        channels.append(count)
        return neuron(count)

    made = spiking(Residual(width=4), noting)
    assert channels == [4] * 5
    names = [name for name, module in made.named_modules() if isinstance(module, Neuron)]
    assert names == ["relu", "blocks.0.relu", "blocks.0.relu_2", "blocks.1.relu", "blocks.1.relu_2"]
    _, state = made(torch.randn(T, 2, 3, 8, 8))
    assert state is not None
    assert set(state["blocks"]["0"]) == {"relu", "relu_2"}


def test_layers_keep_their_values_and_the_body_is_quantised() -> None:
    network = Residual()
    network(torch.randn(4, 3, 8, 8))
    network.eval()
    made = spiking(network, neuron, quantizer=Ternary())
    modules, before = dict(made.named_modules()), dict(network.named_modules())
    quantised = [name for name, one in modules.items() if isinstance(one, QuantLayer) and one.quantizer == Ternary()]
    assert quantised == [f"blocks.{n}.conv{m}" for n in range(2) for m in (1, 2)]
    assert (type(modules["stem"]), type(modules["fc"])) == (nn.Conv2d, nn.Linear)
    for name in ("blocks.0.conv2", "stem", "fc"):
        assert torch.equal(modules[name].weight, before[name].weight)
        assert torch.equal(modules[name].bias, before[name].bias)
    norm = modules["blocks.1.bn2"]
    assert isinstance(norm, BatchNorm2d)
    assert (norm.eps, norm.momentum) == (1e-3, 0.1)
    assert torch.equal(norm.running_var, before["blocks.1.bn2"].running_var)


def test_layers_stay_fp32_by_name() -> None:
    made = spiking(Residual(), neuron, quantizer=Ternary(), keep_float=("blocks.0.*", "first"))
    kinds = {name: one for name, one in made.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    assert type(kinds["stem"]) is nn.Conv2d
    assert isinstance(kinds["fc"], QuantLinear)
    assert isinstance(kinds["blocks.0.conv1"], QuantConv2d)
    low_bit = [name for name, one in kinds.items() if getattr(one, "quantizer", None) is not None]
    assert low_bit == ["blocks.1.conv1", "blocks.1.conv2", "fc"]
    with pytest.raises(ConversionError, match=r"keep_float: 'stm' is not a layer; .*did you mean \"stem\""):
        spiking(Residual(), neuron, keep_float=["stm"])


class Same(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class StochasticDepth(nn.Module):
    """A layer of another library, known by the name of its class."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, x, x)[0]


class Several(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x


def branching(net: Any, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


REFUSED: list[tuple[nn.Module, str]] = [
    (Taking(lambda net, x: torch.sigmoid(x)), r"sigmoid \(Sigmoid\) has no spiking"),
    (Taking(lambda net, x: net.gelu(x), gelu=nn.GELU()), r"gelu \(GELU\) has no spiking"),
    (Taking(lambda net, x: net.att(x), att=Attention()), r"att.attend \(MultiheadAttention\) has no spiking"),
    (Taking(lambda net, x: x * x), "uses a product of two values"),
    (Taking(branching), r"test_spiking.py:\d+: return x if x.sum\(\) > 0 else -x: what runs there dep"),
    (Taking(lambda net, x: (x, x)), "its forward pass returns a tuple"),
    (Taking(lambda net, x: x @ net.conv.weight), "uses its own tensor 'conv.weight'"),
    (Taking(lambda net, x: torch.cat([x, x], 2)), "uses torch.cat along dimension 2"),
    (Taking(lambda net, x: x[..., 1:]), "a slice of channels"),
    (Taking(lambda net, x: x.permute(0, 2, 3, 1)), r"uses permute\(\)"),
    (Taking(lambda net, x: x.view(x.shape[1], -1)), r"uses view\(\) to a shape other than"),
    (Taking(lambda net, x: F.relu_(x) + x), "uses relu_ in place on a value that is read again"),
    (Taking(lambda net, x: net.relu(x) + x, relu=nn.ReLU(True)), "uses relu in place on a value that is read again"),
    (Taking(lambda net, x: x.detach()), r"uses detach\(\)"),
    (Taking(lambda net, x: torch.div(x, 2, rounding_mode="floor")), "a rounded division"),
    (Several(), "it also takes mask"),
    (spiking(Residual(), neuron), r"the network \(Wired\) already runs over time"),
    (Taking(lambda net, x: F.relu(x.flatten(1))), "relu is an activation whose channels are not known"),
    (Taking(lambda net, x: net.c(net.c(x)), c=nn.Conv2d(4, 4, 1)), r"c_2 runs more than once \(also as c\)"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), "it has no activation"),
    (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "0 pads by 'reflect'"),
    (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), "0 is a batch norm without running statistics"),
    (nn.Sequential(nn.Hardtanh()), "0 is a Hardtanh from -1.0"),
    (nn.Sequential(Same(3, 4, 2), nn.ReLU()), r"0 is a Conv2d with a computation of its own \(Same\)"),
    (nn.Sequential(nn.Conv2d(3, 4, 2), StochasticDepth(0.5), nn.ReLU()), "1 drops branches at random"),
]


def test_what_cannot_be_turned_is_named_in_one_line() -> None:
    for network, words in REFUSED:
        with naming(words), pytest.raises(ConversionError, match=f"cannot be made spiking: .*{words}") as caught:
            spiking(network, neuron)
        assert "\n" not in str(caught.value)
    made = spiking(nn.Sequential(nn.Conv2d(3, 4, 2), StochasticDepth(0.0), nn.ReLU()), neuron)
    assert isinstance(made[1], nn.Identity)


@every(
    flat=[
        lambda x: x.view(-1, 4 * 64),
        lambda x: x.reshape((x.size(0), -1)),
        lambda x: torch.reshape(x, (x.shape[0], x.shape[1] * 64)),
        lambda x: torch.flatten(input=x, start_dim=1),
    ]
)
def test_ways_of_flattening(flat: Callable[[Tensor], Tensor]) -> None:
    network, x = Taking(lambda net, x: net.out(flat(x)), out=nn.Linear(256, 5)), torch.randn(2, 3, 8, 8)
    y, _ = spiking(network, lambda channels: nn.ReLU())(x[None], None, range(1))
    torch.testing.assert_close(y[0], network(x))


def test_it_states_what_each_child_reads() -> None:
    children = {"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 1), "relu": nn.ReLU()}
    network = Taking(lambda net, x: net.a(x) + net.relu(net.b(x)) * 2, **children)
    ways = {"conv": ("",), "act": ("conv",), "a": ("act",), "b": ("act",), "relu": ("b",), "": ("a", "relu")}
    assert spiking(network, neuron).reads == ways
