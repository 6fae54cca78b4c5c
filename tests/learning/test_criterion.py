"""Which steps have a loss, and which part of a target is whose: the same for every rule."""

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
    Rule,
    StochasticStep,
    StochasticWindow,
    Stratified,
    Timed,
    Uniform,
    late_weights,
    loss_over,
    mean_logits,
    step_weights,
)
from hdlif.nn import HDLIF, Sequential

T, B, N = 5, 3, 4


class Fixed(nn.Module):
    """Outputs that are parameters, [T, B, N], so that a loss's gradient shows which of them it has."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.randn(T, B, N, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor, state: object = None, *, steps: range) -> tuple[Tensor, object]:
        return self.outputs[steps.start : steps.stop], state


def gradient(rule: Rule, target: Tensor, *, seed: int = 0) -> Tensor:
    model = Fixed()
    plan = rule.schedule(T, torch.Generator().manual_seed(seed))
    for step in rule(model, torch.zeros(T, B, 1), target, plan):
        step.loss.backward()
    assert model.outputs.grad is not None
    return model.outputs.grad


def each(delay: int = 0) -> Timed:
    return Timed(F.cross_entropy, delay, each=True, delay=delay)


def mean_gradient(rule: StochasticStep | StochasticWindow) -> Tensor:
    """Over all that the rule may draw."""
    total = torch.zeros(T, B, N)
    for plan, probability in rule.plans(T):
        model = Fixed()
        for step in rule(model, torch.zeros(T, B, 1), TARGETS, plan):
            step.loss.backward()
        assert model.outputs.grad is not None
        total += probability * model.outputs.grad
    return total


TARGETS = torch.randint(N, (B, T), generator=torch.Generator().manual_seed(1))


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
    target = TARGETS[:, 0]
    found = gradient(rule(criterion=Timed(F.cross_entropy, T - 1)), target)
    model = Fixed()
    F.cross_entropy(model.outputs[-1], target).backward()
    torch.testing.assert_close(found, model.outputs.grad)


def test_traces_follow_the_steps_before_the_first_that_counts() -> None:
    torch.manual_seed(0)
    network = Sequential(nn.Linear(3, 4), HDLIF(T), nn.Linear(4, N)).double()
    rule = OTTT(criterion=each(2))
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
        *(StochasticStep(k) for k in (1, 2, 3)),
        StochasticStep(2, draw=Uniform()),
        StochasticStep(2, draw=Stratified()),
        *(StochasticWindow(length) for length in (1, 2, T)),
        StochasticWindow(2, loss="last"),
    ],
    delay=[0, 2],
    is_late=[True, False],
)
def test_late_steps_weigh_more_by_every_rule(rule: Rule, delay: int, is_late: bool) -> None:
    """Or all alike, and none before the first that counts."""
    weights = late_weights(T - delay) if is_late else None
    timed = replace(rule, criterion=Timed(F.cross_entropy, delay, True, delay, weights))  # type: ignore[type-var]
    drawn = isinstance(timed, StochasticStep | StochasticWindow)
    found = mean_gradient(timed) if drawn else gradient(timed, TARGETS)
    torch.testing.assert_close(found, expected(delay, weights))


def test_each_update_of_an_online_rule_has_the_weight_over_that_of_all_alike() -> None:
    weights = late_weights(T)
    found = gradient(SLTT("each", criterion=Timed(F.cross_entropy, 0, True, 0, weights)), TARGETS)
    torch.testing.assert_close(found, T * expected(0, weights))


def test_late_steps_are_drawn_more_often() -> None:
    rule = StochasticStep(criterion=Timed(F.cross_entropy, 1, weights=late_weights(T - 1)))
    generator, draws = torch.Generator().manual_seed(0), 4000
    counts = torch.zeros(T)
    for _ in range(draws):
        (step,) = rule.schedule(T, generator).steps
        counts[step] += 1
    # Five standard deviations of a share of 4,000 draws.
    torch.testing.assert_close(
        counts / draws, torch.tensor([0, *late_weights(T - 1)]), atol=5 * 0.5 / draws**0.5, rtol=0
    )


def test_logits_of_a_reduced_loss_are_weighted_before_they_are_reduced() -> None:
    outputs, target, weights = Fixed().outputs.detach(), TARGETS[:, 0], late_weights(T)
    found = loss_over(Timed(F.cross_entropy, weights=weights), outputs, target, mean_logits)
    whole = F.cross_entropy((outputs * torch.tensor(weights)[:, None, None]).sum(0), target)
    torch.testing.assert_close(found, whole)


def test_times_and_weights_that_do_not_fit_are_refused() -> None:
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
        each()(torch.zeros(B, N), TARGETS)
