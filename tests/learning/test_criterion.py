"""Which steps have a loss, and which part of a target is whose: the same for every rule; and a teacher's targets."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.errors import ShapeError
from hdlif.learning import (
    OTTT,
    SLTT,
    STBP,
    Distillation,
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
from hdlif.nn import HDLIF, Sequential

T, B, N = 5, 3, 4
TARGETS = torch.randint(N, (B, T), generator=torch.Generator().manual_seed(1))


class Fixed(nn.Module):
    """Outputs that are parameters, [T, B, N], so that a loss's gradient shows which of them it has."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.randn(T, B, N, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor, state: object = None, *, steps: range) -> tuple[Tensor, object]:
        return self.outputs[steps.start : steps.stop], state


def gradient(rule: Rule, target: Tensor = TARGETS) -> Tensor:
    """Its mean over all that the rule may draw."""
    total = torch.zeros(T, B, N)
    is_drawn = isinstance(rule, StochasticStep | StochasticWindow)
    for plan, probability in rule.plans(T) if is_drawn else [(rule.schedule(T, torch.Generator()), 1.0)]:
        model = Fixed()
        for step in rule(model, torch.zeros(T, B, 1), target, plan):
            step.loss.backward()
        assert model.outputs.grad is not None
        total += probability * model.outputs.grad
    return total


def expected(delay: int, weights: Sequence[float] | None = None) -> Tensor:
    """By hand: the (weighted) mean over the steps that count of each one's loss with its own target."""
    model = Fixed()
    losses = [F.cross_entropy(model.outputs[t], TARGETS[:, t - delay]) for t in range(delay, T)]
    shares = torch.tensor(weights or [1 / len(losses)] * len(losses))
    (torch.stack(losses) * shares).sum().backward()
    assert model.outputs.grad is not None
    return model.outputs.grad


@every(rule=[STBP, SLTT, StochasticStep])
def test_where_the_last_step_counts_alone_it_is_learned_from_alone(rule: type[Rule]) -> None:
    found = gradient(rule(criterion=Timed(F.cross_entropy, T - 1)), TARGETS[:, 0])
    model = Fixed()
    F.cross_entropy(model.outputs[-1], TARGETS[:, 0]).backward()
    torch.testing.assert_close(found, model.outputs.grad)


def test_traces_follow_the_steps_before_the_first_that_counts() -> None:
    torch.manual_seed(0)
    network = Sequential(nn.Linear(3, 4), HDLIF(T), nn.Linear(4, N)).double()
    rule = OTTT(criterion=Timed(F.cross_entropy, 2, each=True, delay=2))
    plan = rule.schedule(T, torch.Generator())
    assert plan.steps == (2, 3, 4)
    steps = list(rule(network, torch.randn(T, B, 3).double(), TARGETS, plan))
    assert [len(step.logits) for step in steps] == [1, 1, 1]


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
    with pytest.raises(ValueError, match="the criterion has weights of 3 steps, and 4 count of 5"):
        step_weights(Timed(F.cross_entropy, 1, weights=late_weights(3)), T)
    with pytest.raises(ValueError, match="delay = 2, first = 1; no step before 2 has a target"):
        Timed(F.cross_entropy, 1, each=True, delay=2)
    with pytest.raises(ValueError, match="k = 2 steps cannot be drawn from time_steps = 5, of which 1 count"):
        StochasticStep(2, criterion=Timed(F.cross_entropy, T - 1)).schedule(T, torch.Generator())
    with pytest.raises(ShapeError, match=r"call hdlif.learning.loss_at\(criterion, outputs, target, t\)"):
        Timed(F.cross_entropy, each=True)(torch.zeros(B, N), TARGETS)
    for temperature, weight in ((0.0, 0.5), (-1.0, 0.5), (1.0, -0.1), (1.0, 1.1)):
        with pytest.raises(ValueError, match=r"it must (be above 0|lie in 0\.\.1)"):
            Distillation(F.cross_entropy, temperature, weight)
