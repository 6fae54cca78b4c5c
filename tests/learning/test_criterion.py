"""Which steps have a loss, and which part of a target is whose, by every rule; distillation; the mean output."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, sampled
from hdlif.errors import ShapeError
from hdlif.learning import (
    OTTT,
    SLTT,
    STBP,
    Carry,
    Distillation,
    ForwardMode,
    OTTTCriterion,
    Rule,
    StochasticStep,
    StochasticWindow,
    Stratified,
    Timed,
    Uniform,
    late_weights,
    loss_over,
    mean_logits,
    probabilities,
    step_weights,
)
from hdlif.nn import HDLIF, ParallelHDLIF, QuantLinear, Sequential, Ternary
from learning.rule_runs import CLASSES, INPUTS, WIDTH, drawn, layers, learn
from small_networks import assert_close, gradients

T, B, N = 6, 5, 4
TARGET = torch.arange(B) % CLASSES
TARGETS = torch.randint(N, (B, T), generator=torch.Generator().manual_seed(1))


def mean(rule: Rule, net: nn.Module, x: Tensor, target: Tensor = TARGET) -> tuple[dict[str, Tensor], float]:
    """The mean gradient and loss over all plans, the loss weighed as the rule weighs it."""
    net.zero_grad()
    value, made = 0.0, cast("Any", rule)
    plans = made.plans(T) if hasattr(made, "plans") else ((rule.schedule(T, torch.Generator()), 1.0),)
    for plan, probability in plans:
        for step in rule(net, x, target, plan):
            (step.loss * probability).backward()
            value += float(step.loss.detach()) * probability
    return gradients(net), value


class Fixed(nn.Module):
    """Outputs that are parameters, [T, B, N], so that a loss's gradient shows which of them it has."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Parameter(drawn(T, B, N, seed=0))

    def forward(self, x: Tensor, state: object = None, *, steps: range) -> tuple[Tensor, object]:
        return self.outputs[steps.start : steps.stop], state


def gradient(rule: Rule) -> Tensor:
    return mean(rule, Fixed(), torch.zeros(T, B, 1), TARGETS)[0]["outputs"]


def expected(delay: int, weights: Sequence[float] | None = None) -> Tensor:
    """By hand: the (weighted) mean over the steps that count of each one's loss with its own target."""
    model = Fixed()
    losses = [F.cross_entropy(model.outputs[t], TARGETS[:, t - delay]) for t in range(delay, T)]
    shares = torch.tensor(weights or [1 / len(losses)] * len(losses))
    (torch.stack(losses) * shares).sum().backward()
    assert model.outputs.grad is not None
    return model.outputs.grad


@every(
    rule=[
        STBP(),
        STBP(loss="each"),
        SLTT(),
        OTTT(),
        *(StochasticStep(k, draw=draw) for k in (1, 2, 3) for draw in (Uniform(), Stratified())),
        *(StochasticWindow(length) for length in range(1, T + 1)),
        *(StochasticWindow(length, loss="last") for length in (2, T)),
    ],
    delay=[0, 2, T - 1],
    is_late=[True, False],
)
def test_late_steps_weigh_more_by_every_rule(rule: Rule, delay: int, is_late: bool) -> None:
    """Or all alike, and none before the first that counts."""
    if isinstance(rule, StochasticStep) and rule.k > T - delay:
        return
    weights = late_weights(T - delay) if is_late else None
    timed = replace(rule, criterion=Timed(F.cross_entropy, delay, True, delay, weights))  # type: ignore[type-var]
    torch.testing.assert_close(gradient(timed), expected(delay, weights))


def test_each_update_of_an_online_rule_has_the_weight_over_that_of_all_alike() -> None:
    weights = late_weights(T)
    found = gradient(SLTT("each", criterion=Timed(F.cross_entropy, 0, True, 0, weights)))
    torch.testing.assert_close(found, T * expected(0, weights))


def test_logits_of_a_reduced_loss_are_weighted_before_they_are_reduced() -> None:
    outputs, target, weights = Fixed().outputs.detach(), TARGETS[:, 0], late_weights(T)
    found = loss_over(Timed(F.cross_entropy, weights=weights), outputs, target, mean_logits)
    whole = F.cross_entropy((outputs * torch.tensor(weights)[:, None, None]).sum(0), target)
    torch.testing.assert_close(found, whole)


LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], dtype=torch.float64)
TAUGHT = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def test_distillation_is_the_weighted_sum_of_criterion_and_divergence() -> None:
    target = torch.cat([probabilities(LABELS, LOGITS), TAUGHT], 1)
    p, q = (TAUGHT / 3).softmax(1), (LOGITS / 3).softmax(1)
    divergence = (p * (p / q).log()).sum() / 2
    loss = 0.75 * F.cross_entropy(LOGITS, LABELS) + 0.25 * 9 * divergence
    torch.testing.assert_close(Distillation(F.cross_entropy, 3.0, 0.25)(LOGITS, target), loss)


@every(criterion=[F.cross_entropy, OTTTCriterion(0.3), OTTTCriterion(0.3, label_smoothing=0.1)])
def test_certain_probabilities_are_labels(criterion: object) -> None:
    soft = probabilities(LABELS, LOGITS)
    assert soft.dtype == LOGITS.dtype
    torch.testing.assert_close(criterion(LOGITS, soft), criterion(LOGITS, LABELS))  # type: ignore[operator]
    assert torch.equal(probabilities(soft, LOGITS), soft)


def test_criterion_of_ottt_mixes_cross_entropy_and_squared_distance() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.5, -0.5]])
    target = torch.tensor([0, 1])
    squared = (1.0 + 0.0 + 0.25 + 2.25) / 4
    mixed = 0.9 * F.cross_entropy(logits, target) + 0.1 * squared
    torch.testing.assert_close(OTTTCriterion(mse_share=0.1)(logits, target), mixed)


def test_times_weights_and_arguments_that_do_not_fit_are_refused() -> None:
    for weights in ((0.5, 0.6), (0.0, 1.0), (2.0, -1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="each must be above 0, and their sum 1"):
            Timed(F.cross_entropy, weights=weights)
    with pytest.raises(ValueError, match="the criterion has weights for 3 steps, but 5 of 6 steps count"):
        step_weights(Timed(F.cross_entropy, 1, weights=late_weights(3)), T)
    with pytest.raises(ValueError, match="delay = 2, first = 1; no step before 2 has a target"):
        Timed(F.cross_entropy, 1, each=True, delay=2)
    with pytest.raises(ValueError, match="k = 2 steps cannot be drawn from time_steps = 6, of which 1 count"):
        StochasticStep(2, criterion=Timed(F.cross_entropy, T - 1)).schedule(T, torch.Generator())
    with pytest.raises(ShapeError, match=r"call hdlif.learning.loss_at\(criterion, outputs, target, t\)"):
        Timed(F.cross_entropy, each=True)(torch.zeros(B, N), TARGETS)
    for temperature, weight in ((0.0, 0.5), (-1.0, 0.5), (1.0, -0.1), (1.0, 1.1)):
        with pytest.raises(ValueError, match=r"it must (be above 0|lie in 0\.\.1)"):
            Distillation(F.cross_entropy, temperature, weight)


# The loss of the mean output, by rules that run a part of the steps at a time

SHARED: dict[str, Any] = {"per_step": False, "channels": WIDTH}


def frames(steps: int = T) -> Tensor:
    return drawn(steps, B, INPUTS)


def hd_lif(**options: Any) -> HDLIF:
    return HDLIF(T, leak=0.9, threshold=0.3, **SHARED, **options)


def without_memory() -> Sequential:
    return layers(ParallelHDLIF(T, **SHARED), ParallelHDLIF(T, **SHARED))


def with_memory() -> Sequential:
    return layers(hd_lif(), hd_lif())


def quantised() -> Sequential:
    return layers(hd_lif(), hd_lif(), first=QuantLinear, quantizer=Ternary())


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
def test_a_reduced_loss_without_memory_is_that_of_stbp(make: Callable[..., Rule], criterion: Any, steps: int) -> None:
    """One frame is an input constant in time."""
    found, value = mean(make(loss="reduced", criterion=criterion), without_memory(), frames(steps))
    expected, whole = mean(STBP(criterion), without_memory(), frames(steps))
    assert_close(found, expected)
    assert value == pytest.approx(whole, rel=1e-12)


@sampled(len(RULES), make=RULES, network=[with_memory, quantised])
def test_a_reduced_loss_is_that_of_stbp_whatever_is_cut(make: Callable[..., Rule], network: Any) -> None:
    """And the outer layer's bias, which no time comes between, has its gradient."""
    found, value = mean(make(loss="reduced"), network(), frames())
    expected, whole = mean(STBP(), network(), frames())
    assert value == pytest.approx(whole, rel=1e-12)
    torch.testing.assert_close(found["6.bias"], expected["6.bias"])
    apart = mean(make(), network(), frames())[0]["6.bias"]
    assert not torch.allclose(apart, expected["6.bias"], rtol=1e-3)


@every(make=RULES)
def test_targets_of_each_step_have_the_mean_of_their_losses(make: Callable[..., Rule]) -> None:
    criterion = Timed(F.cross_entropy, first=1, each=True, delay=1)
    target = torch.randint(CLASSES, (B, T), generator=torch.Generator().manual_seed(2))
    found, value = mean(make(loss="reduced", criterion=criterion), with_memory(), frames(), target)
    expected, other = mean(make(criterion=criterion), with_memory(), frames(), target)
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
        mean(SLTT(loss=loss), net, frames())  # type: ignore[arg-type]
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
            found.append(learn(rule, net, x, carry=carry))
        assert carry.step == T
    for one, whole in zip(found[:2], found[2:], strict=True):
        assert_close(one, whole)
