"""The loss of the mean output, learned by rules that see a part of the steps at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, sampled
from hdlif.learning import (
    OTTT,
    SLTT,
    STBP,
    Carry,
    ForwardMode,
    Rule,
    StochasticStep,
    StochasticWindow,
    Timed,
    late_weights,
)
from hdlif.nn import HDLIF, BatchNorm1d, ParallelHDLIF, QuantLinear, Sequential, Ternary
from small_networks import assert_close, gradients

T, B, INPUTS, WIDTH, CLASSES = 6, 5, 3, 4, 3
TARGET = torch.tensor([0, 1, 2, 0, 1])
SHARED: dict[str, Any] = {"per_step": False, "channels": WIDTH}


def frames(steps: int = T) -> Tensor:
    return torch.randn(steps, B, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def layers(*neurons: nn.Module, first: type[nn.Module] = nn.Linear, **options: Any) -> Sequential:
    """Layers of a synapse, a batch norm and neurons, and a classifier."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for number, neuron in enumerate(neurons):
        modules += [first(WIDTH if number else INPUTS, WIDTH, **options), BatchNorm1d(WIDTH), neuron]
    net = Sequential(*modules, nn.Linear(WIDTH, CLASSES)).double().train()
    for module in net.modules():
        if isinstance(module, BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def hd_lif(**options: Any) -> HDLIF:
    return HDLIF(T, leak=0.9, threshold=0.3, **SHARED, **options)


def without_memory() -> Sequential:
    return layers(ParallelHDLIF(T, **SHARED), ParallelHDLIF(T, **SHARED))


def with_memory() -> Sequential:
    return layers(hd_lif(), hd_lif())


def quantised() -> Sequential:
    return layers(hd_lif(), hd_lif(), first=QuantLinear, quantizer=Ternary())


def plans_of(rule: Rule) -> Any:
    """Every plan that the rule may draw, with its probability."""
    made: Any = rule
    return made.plans(T) if hasattr(made, "plans") else ((rule.schedule(T, torch.Generator()), 1.0),)


def learn(rule: Rule, net: nn.Module, x: Tensor, target: Tensor = TARGET) -> tuple[dict[str, Tensor], float]:
    """The mean gradient and loss over all plans, the loss weighed as the rule weighs it."""
    net.zero_grad()
    value = 0.0
    for plan, probability in plans_of(rule):
        for step in rule(net, x, target, plan):
            (step.loss * probability).backward()
            value += float(step.loss.detach()) * probability
    return gradients(net), value


# By them a network without memory learns as by STBP: nothing of the past is theirs to be cut.
RULES = (
    lambda **options: SLTT(**options),
    lambda **options: SLTT(chunk=4, **options),
    lambda **options: OTTT(leak=0.0, **options),
    lambda **options: OTTT(leak=0.0, chunk=4, **options),
    lambda **options: ForwardMode(**options),
    lambda **options: StochasticStep(**options),
    lambda **options: StochasticStep(2, chunk=4, complete=True, **options),
    lambda **options: StochasticWindow(3, chunk=2, **options),
)


CRITERIA = {
    "all steps": F.cross_entropy,
    "late ones more, from the third on": Timed(F.cross_entropy, first=2, weights=late_weights(T - 2)),
}


@sampled(2 * len(RULES), make=RULES, criterion=CRITERIA, steps=[T, 1])
def test_without_memory_it_is_stbp(make: Callable[..., Rule], criterion: Any, steps: int) -> None:
    """One frame is an input constant in time."""
    found, value = learn(make(loss="reduced", criterion=criterion), without_memory(), frames(steps))
    expected, whole = learn(STBP(criterion), without_memory(), frames(steps))
    assert_close(found, expected)
    assert value == pytest.approx(whole, rel=1e-12)


@every(
    "rule",
    "network",
    of=[
        *((ForwardMode(loss="reduced", chunk=chunk), lambda: layers(hd_lif())) for chunk in (1, 4)),
        (StochasticWindow(T, loss="reduced"), with_memory),
        (StochasticWindow(T, loss="reduced"), quantised),
    ],
)
def test_rules_that_cut_nothing_are_stbp(rule: Rule, network: Callable[[], Sequential]) -> None:
    assert_close(learn(rule, network(), frames())[0], learn(STBP(), network(), frames())[0])


@sampled(len(RULES), make=RULES, network=[with_memory, quantised])
def test_the_loss_is_that_of_stbp_whatever_is_cut(make: Callable[..., Rule], network: Any) -> None:
    """And the outer layer's bias, which no time comes between, has its gradient."""
    found, value = learn(make(loss="reduced"), network(), frames())
    expected, whole = learn(STBP(), network(), frames())
    assert value == pytest.approx(whole, rel=1e-12)
    torch.testing.assert_close(found["6.bias"], expected["6.bias"])
    apart = learn(make(), network(), frames())[0]["6.bias"]
    assert not torch.allclose(apart, expected["6.bias"], rtol=1e-3)


@every(make=RULES)
def test_targets_of_each_step_have_the_mean_of_their_losses(make: Callable[..., Rule]) -> None:
    criterion = Timed(F.cross_entropy, first=1, each=True, delay=1)
    target = torch.randint(CLASSES, (B, T), generator=torch.Generator().manual_seed(2))
    found, value = learn(make(loss="reduced", criterion=criterion), with_memory(), frames(), target)
    expected, other = learn(make(criterion=criterion), with_memory(), frames(), target)
    assert_close(found, expected, atol=0.0)
    assert value == other


class Noisy(nn.Module):
    """Noise on what it is given, and a count of passes that nobody restores by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x + torch.randn_like(x)


def test_the_first_run_leaves_the_model_and_the_random_numbers_as_they_were() -> None:
    found = []
    for loss in ("reduced", "each"):
        net = Sequential(Noisy(), *with_memory())
        torch.manual_seed(3)
        learn(SLTT(loss=loss), net, frames())  # type: ignore[arg-type]
        assert net[0].passes == T
        found.append({**dict(net.named_buffers()), "numbers": torch.rand(4)})
    assert_close(*found, atol=0.0)


def test_a_network_without_values_is_run_too() -> None:
    rule, net = SLTT(loss="reduced"), with_memory().to("meta")
    for step in rule(net, frames().to("meta"), TARGET.to("meta"), rule.schedule(T, torch.Generator())):
        step.loss.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_part_of_a_stream_has_the_mean_of_its_own_outputs() -> None:
    """Each from where the part before it ended, and the first run does not go on for it."""
    found = []
    for rule in (StochasticWindow(3, loss="reduced"), STBP()):
        net, carry = with_memory(), Carry()
        for x in frames().split(3):
            net.zero_grad()
            for step in rule(net, x, TARGET, rule.schedule(3, torch.Generator()), carry=carry):
                step.loss.backward()
            found.append(gradients(net))
        assert carry.step == T
    for one, whole in zip(found[:2], found[2:], strict=True):
        assert_close(one, whole)
