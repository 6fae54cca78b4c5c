"""Which steps have a loss, and which part of a target is whose: the same for every rule."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError
from hdlif.learning import OTTT, SLTT, STBP, Rule, StochasticStep, Stratified, Timed, loss_at, loss_over, mean_logits
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


TARGETS = torch.randint(N, (B, T), generator=torch.Generator().manual_seed(1))


def expected(delay: int) -> Tensor:
    """By hand: the mean over the steps that count of each one's loss with its own target."""
    model = Fixed()
    losses = [F.cross_entropy(model.outputs[t], TARGETS[:, t - delay]) for t in range(delay, T)]
    torch.stack(losses).mean().backward()
    assert model.outputs.grad is not None
    return model.outputs.grad


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("rule", [STBP, SLTT], ids=["stbp", "sltt"])
def test_a_target_at_each_step_is_learned_at_its_own(rule: type[Rule], delay: int) -> None:
    torch.testing.assert_close(gradient(rule(criterion=each(delay)), TARGETS), expected(delay))


@pytest.mark.parametrize("draw", [StochasticStep(), StochasticStep(2), StochasticStep(2, draw=Stratified())])
@pytest.mark.parametrize("delay", [0, 2])
def test_random_steps_have_that_gradient_on_average_and_draw_no_step_that_does_not_count(
    draw: StochasticStep, delay: int
) -> None:
    rule = StochasticStep(draw.k, criterion=each(delay), draw=draw.draw)
    gradients = []
    for plan in rule.plans(T):
        assert min(plan.steps) >= delay
        model = Fixed()
        for step in rule(model, torch.zeros(T, B, 1), TARGETS, plan):
            step.loss.backward()
        gradients.append(model.outputs.grad)
    torch.testing.assert_close(torch.stack(gradients).mean(0), expected(delay))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [STBP, SLTT, StochasticStep], ids=["stbp", "sltt", "random step"])
def test_where_the_last_step_counts_alone_it_is_learned_from_alone(rule: type[Rule]) -> None:
    target = TARGETS[:, 0]
    found = gradient(rule(criterion=Timed(F.cross_entropy, T - 1)), target)
    model = Fixed()
    F.cross_entropy(model.outputs[-1], target).backward()
    torch.testing.assert_close(found, model.outputs.grad)


def test_more_steps_than_count_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="k = 2 steps cannot be drawn from time_steps = 5, of which 1 count"):
        StochasticStep(2, criterion=Timed(F.cross_entropy, T - 1)).schedule(T, torch.Generator())


def test_traces_follow_the_steps_before_the_first_that_counts() -> None:
    torch.manual_seed(0)
    network = Sequential(nn.Linear(3, 4), HDLIF(T), nn.Linear(4, N)).double()
    rule = OTTT(criterion=each(2))
    plan = rule.schedule(T, torch.Generator())
    assert plan.steps == (2, 3, 4)
    steps = list(rule(network, torch.randn(T, B, 3).double(), TARGETS, plan))
    assert [len(step.logits) for step in steps] == [1, 1, 1]


def test_a_rule_that_knows_one_target_alone_gets_an_error_that_names_the_other_call() -> None:
    with pytest.raises(ShapeError, match=r"call hdlif.learning.loss_at\(criterion, outputs, target, t\)"):
        each()(torch.zeros(B, N), TARGETS)


def test_a_plain_criterion_is_called_as_it_is() -> None:
    outputs, target = Fixed().outputs.detach(), TARGETS[:, 0]
    assert torch.equal(loss_at(F.cross_entropy, outputs[1], target, 1), F.cross_entropy(outputs[1], target))
    whole = loss_over(F.cross_entropy, outputs, target, mean_logits)
    assert torch.equal(whole, F.cross_entropy(outputs.mean(0), target))


def test_no_target_comes_before_it_is_known() -> None:
    with pytest.raises(ValueError, match="delay = 2, first = 1; no step before 2 has a target"):
        Timed(F.cross_entropy, 1, each=True, delay=2)
