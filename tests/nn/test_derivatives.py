"""Neurons and networks under PyTorch's ways to differentiate beyond one backward pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from cases import every
from hdlif.errors import EquationError
from hdlif.functional import Triangle, heaviside
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    BatchNorm2d,
    EquationNeuron,
    MemBN,
    ParallelHDLIF,
    Parameter,
    QuantConv2d,
    Sequential,
    SpikeQuantizer,
    chain,
)
from hdlif.nn.step_neuron import WORTH_ENTRIES, WORTH_STEPS

T = 4
NEURONS: dict[str, Callable[..., nn.Module]] = {
    "hdlif": lambda **given: HDLIF(T, **given),
    "lif": lambda **given: LIF(T, learned=True, **given),
}


def network(neuron: Callable[..., nn.Module], *, norm: bool = True, **given: str) -> Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [QuantConv2d(2, 4, 3, padding=1), *([BatchNorm2d(4)] if norm else []), neuron(**given)]
    layers += [QuantConv2d(4, 4, 3, padding=1), neuron(**given)]
    return Sequential(*layers)


def frames() -> Tensor:
    return 3 * torch.randn(T, 5, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def test_gradients_of_single_samples() -> None:
    net = network(NEURONS["hdlif"], norm=False)
    parameters = {name: one.detach() for name, one in net.named_parameters()}

    def loss(given: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(net, given, (x[:, None], None, range(T)))[0].square().sum()

    found = vmap(grad(loss), in_dims=(None, 1))(parameters, frames())
    for i in range(5):
        net.zero_grad()
        net(frames()[:, i : i + 1], None, range(T))[0].square().sum().backward()
        for name, one in net.named_parameters():
            torch.testing.assert_close(found[name][i], one.grad, rtol=1e-4, atol=1e-4)


@every(norm=[True, False], neuron=NEURONS)
def test_a_second_derivative_is_that_of_the_steps_or_an_error(neuron: Callable[..., nn.Module], norm: bool) -> None:
    x = frames()

    def product(net: nn.Module) -> Tensor:
        loss = lambda x: net(x, None, range(T))[0].square().sum()  # noqa: E731
        return torch.autograd.functional.hvp(loss, x, torch.ones_like(x))[1]

    found = product(network(neuron, norm=norm, path="steps"))
    assert torch.isfinite(found).all()
    assert found.any()
    with pytest.raises(RuntimeError, match=r'has no second derivative; .* \(path="steps", neuron.path=steps'):
        product(network(neuron, norm=norm))
    # Of what is linear in the output, too, where no gradient that arrives has a graph.
    (gradient,) = torch.autograd.grad(
        network(neuron, norm=norm)(x.requires_grad_(), None, range(T))[0].sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="has no second derivative"):
        gradient.square().sum().backward()


class Stopping(EquationNeuron):
    leak = Parameter(0.5)

    @staticmethod
    def step(current, potential, leak):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            doubled = 2 * (1 - leak)
            carried = doubled * potential
        membrane = leak * current + carried
        spike = heaviside(membrane - 1, Triangle())
        return spike, membrane - spike


def test_what_a_step_does_without_a_graph_has_no_gradient() -> None:
    found = []
    for path in ("steps", None):
        neuron, x = Stopping(T, path=path), frames().requires_grad_()
        # Where no graph is made nothing is traced differently.
        with torch.no_grad():
            neuron(x, None, range(T))
        y, state = neuron(x, None, range(T))
        (y.sum() + state["potential"].square().sum()).backward()
        found.append([y.detach(), x.grad, neuron.leak.logit.grad])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


class Unwritten(HDLIF):
    """Its step looks at a value, which no program does."""

    def equation(self):  # type: ignore[no-untyped-def]
        def step(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
            membrane = leak * potential + current
            if bool((membrane > 1e6).any()):
                membrane = membrane / 2
            spike = torch.relu(membrane - threshold)
            return spike, membrane - spike

        return step


@every(quantizer=[None, SpikeQuantizer()])
def test_a_step_without_a_program_is_run_step_by_step_where_no_path_was_asked_for(quantizer: object) -> None:
    x = frames()
    net = Sequential(BatchNorm2d(2), Unwritten(T, quantizer=quantizer))  # type: ignore[arg-type]
    plain = Sequential(BatchNorm2d(2), HDLIF(T, quantizer=quantizer, path="steps"))  # type: ignore[arg-type]
    torch.testing.assert_close(net(x, None, range(T))[0], plain(x, None, range(T))[0])
    with torch.no_grad():
        torch.testing.assert_close(net(x, None, range(T))[0], plain(x, None, range(T))[0])
    with pytest.raises(EquationError, match="any is not an operation of a neuron"):
        Unwritten(T, path="fused")(x, None, range(T))


@every(
    "path",
    "device",
    "steps",
    "entries",
    "is_fused",
    of=[
        (None, "cpu", WORTH_STEPS, 1, True),
        (None, "cpu", WORTH_STEPS - 1, WORTH_ENTRIES // 8, False),
        (None, "cpu", 1, WORTH_ENTRIES, True),
        (None, "cuda", 100, WORTH_ENTRIES, False),
        ("fused", "cpu", 1, 1, True),
        ("fused", "cuda", 1, 1, False),
        ("steps", "cpu", 100, WORTH_ENTRIES, False),
    ],
)
def test_where_a_chunk_is_one_function(path: Any, device: str, steps: int, entries: int, is_fused: bool) -> None:
    for neuron in (HDLIF(T, path=path), LIF(T, path=path), ParallelHDLIF(T, path=path), GLIF(T, path=path)):
        assert (neuron.fused_step(torch.device(device), steps, entries) is not None) == is_fused
    assert HDLIF(T, norm=MemBN(T, 3)).fused_step(torch.device("cpu"), 100, 10**6) is None


class Reading(EquationNeuron):
    """Its step reads what its module has, of which no program follows a mapping."""

    def __init__(self, time_steps: int, *, has_settings: bool, **given: Any) -> None:
        self.surrogate, self.settings = Triangle(1.0), {"threshold": 1.0} if has_settings else None
        super().__init__(time_steps, **given)
        self.gain = nn.Parameter(torch.tensor(1.5))

    def step(self, current, potential):  # type: ignore[no-untyped-def]
        threshold = 1.0 if self.settings is None else self.settings["threshold"]
        membrane = 0.5 * potential + getattr(self, "gain", 1.0) * current
        spike = heaviside(membrane - threshold, self.surrogate)
        return spike, membrane - spike


@every(has_settings=[True, False])
def test_what_a_step_reads_of_its_module_is_as_it_is_now(has_settings: bool) -> None:
    neurons = [Reading(T, has_settings=has_settings, path=path) for path in (None, "steps")]
    assert (neurons[0].fused_step(torch.device("cpu"), T, 1) is None) == has_settings
    changes: list[Callable[[Any], object]] = [
        lambda one: None,
        lambda one: setattr(one, "surrogate", Triangle(0.3)),
        lambda one: setattr(one, "gain", nn.Parameter(torch.tensor(0.7))),
        lambda one: setattr(one, "settings", {"threshold": 0.2}),
    ]
    for change in changes[: 4 if has_settings else 3]:
        found = []
        for one in neurons:
            change(one)
            x = frames().requires_grad_()
            y, _ = one(x, None, range(T))
            y.square().sum().backward()
            found.append((y.detach(), x.grad))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_norm_in_a_pass_of_its_own_is_differentiated_again_and_takes_several_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    norm = BatchNorm2d(4)
    alone = Sequential({"conv": nn.Conv2d(3, 4, 3), "norm": norm})
    x = torch.randn(T, 2, 3, 6, 5)

    def derivatives() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        y = alone(leaf, None, range(T))[0]
        (first,) = torch.autograd.grad(y.pow(3).sum(), leaf, create_graph=True)
        given = [leaf, norm.weight, norm.bias, alone.conv.weight]
        second = torch.autograd.grad(first.square().sum(), given, allow_unused=True)
        y = alone(leaf, None, range(T))[0]
        several = torch.autograd.grad(y, given, torch.stack([y.detach(), y.detach().exp()]), is_grads_batched=True)
        return [first, *(torch.zeros(()) if one is None else one for one in second), *several]

    found = []
    for least in (0, 2**30):
        monkeypatch.setattr(chain, "WORTH_NORMALISING", least)
        found.append(derivatives())
    # Entries of up to 10,000, among which some add up to almost nothing.
    torch.testing.assert_close(*found, rtol=1e-5, atol=2e-3)
