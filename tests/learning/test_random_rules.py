"""The random step and the random window: what they draw, beside a plain loop, and the rules that they lie between."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cases import every
from hdlif.learning import (
    STBP,
    Plan,
    Rule,
    StepWeights,
    StochasticStep,
    StochasticWindow,
    Stratified,
    Timed,
    Uniform,
    late_weights,
)
from hdlif.learning.draws import strata
from hdlif.models import Network
from hdlif.nn import HDLIF, LIF, BatchNorm2d, Binary, Ternary, detach
from learning.rule_runs import drawn, learn
from learning.test_rules import TARGET, count_forwards
from small_networks import assert_close, gradients, tiny_resnet

STEPS = 6
NETWORKS: dict[str, Callable[[], Network]] = {
    "hdlif": lambda: tiny_resnet(lambda place: HDLIF(STEPS)),
    "lif": lambda: tiny_resnet(lambda place: LIF(STEPS)),
    "ternary": lambda: tiny_resnet(lambda place: HDLIF(STEPS), quantizer=Ternary()),
}
each_network = partial(every, network=NETWORKS)


def frames(steps: int = STEPS) -> Tensor:
    return drawn(steps, 4, 2, 6, 6, seed=0)


def plan_of(rule: Rule, seed: int = 0) -> Plan:
    return rule.schedule(STEPS, torch.Generator().manual_seed(seed))


def truncated(net: Network, x: Tensor, window: range, losses: dict[int, float]) -> dict[str, Tensor]:
    """Step by step: the state is cut in front of the window, and each step in `losses` has its loss with its weight."""
    net.zero_grad()
    state, total = None, torch.zeros((), dtype=torch.float64)
    for t in range(window.stop):
        if t == window.start:
            state = detach(state)
        logits, state = net(x if len(x) == 1 else x[t : t + 1], state, steps=range(t, t + 1))
        if t in losses:
            total = total + losses[t] * F.cross_entropy(logits[0], TARGET)
    total.backward()
    return gradients(net)


# What is drawn


LATE = Timed(F.cross_entropy, 1, weights=late_weights(STEPS - 1))


@every(
    rule=[
        *(StochasticStep(k, draw=draw) for k in (1, 2, 3) for draw in (Uniform(), Stratified())),
        StochasticStep(criterion=LATE),
        StochasticWindow(3),
        StochasticWindow(3, LATE),
    ]
)
def test_plans_are_drawn_as_often_as_they_are_likely_and_the_same_from_the_same_generator(
    rule: StochasticStep | StochasticWindow,
) -> None:
    generator, draws, plans = torch.Generator().manual_seed(0), 2000, dict(rule.plans(STEPS))
    found = [rule.schedule(STEPS, generator) for _ in range(draws)]
    assert set(found) <= plans.keys()
    for plan, probability in plans.items():
        # Five standard deviations of a share of so many draws.
        assert abs(found.count(plan) / draws - probability) < 5 * (probability / draws) ** 0.5
    generator.manual_seed(0)
    assert [rule.schedule(STEPS, generator) for _ in range(8)] == found[:8]


def test_strata_of_weighted_steps_end_where_the_weight_is_nearest_to_its_share() -> None:
    # sums 0.1, 0.2, 0.6: half of the weight is nearer to 0.6; sums 0.1, 0.3, 0.8: nearer to 0.3
    for weights, edge in (((0.1, 0.1, 0.4, 0.4), 3), ((0.1, 0.2, 0.5, 0.2), 2)):
        assert strata(StepWeights(4, weights), 2) == [(0, edge), (edge, 4)]


# The random step


@every(k=[1, 2, 3])
def test_variance_of_the_random_step_is_that_of_drawing_without_replacement(k: int) -> None:
    x, net, name = frames(4), NETWORKS["hdlif"](), "body.stage1.0.conv1.weight"

    def estimate(steps: tuple[int, ...]) -> Tensor:
        plan = Plan(4, steps, (False,) * (len(steps) - 1) + (True,))
        return 4 * learn(StochasticStep(len(steps)), net, x, plan)[name]

    per_step = torch.stack([estimate((t,)) for t in range(4)]) / 4
    total = per_step.sum(0)
    estimates = torch.stack([estimate(steps) for steps in itertools.combinations(range(4), k)])
    variance = (per_step - total / 4).square().mean(0)
    expected = 4**2 / k * variance * (4 - k) / (4 - 1)
    torch.testing.assert_close((estimates - total).square().mean(0), expected, atol=1e-10, rtol=0)


def test_complete_random_step_shows_batch_norm_all_steps_and_learns_the_same() -> None:
    """Steps without a graph are run in chunks, of four by default."""
    net, cut = (tiny_resnet(lambda place: HDLIF(8), quantizer=Binary()) for _ in range(2))
    x, plan, seen, seen_cut = frames(8), Plan(8, (5,), (True,)), count_forwards(net), count_forwards(cut)
    found = learn(StochasticStep(complete=True, chunk=2), net, x, plan)
    assert_close(found, learn(StochasticStep(), cut, x, plan))
    assert seen == [range(2), range(2, 4), range(4, 5), range(5, 6), range(6, 8)]
    assert seen_cut == [range(4), range(4, 5), range(5, 6)]
    counts = {int(m.num_batches_tracked) for m in net.modules() if isinstance(m, BatchNorm2d)}
    assert counts == {8}


# The random window


@each_network(constant=[False, True])
def test_a_window_of_all_steps_is_stbp_of_the_mean_of_the_losses_bit_for_bit(
    network: Callable[[], Network], constant: bool
) -> None:
    x, whole, each = frames(1 if constant else STEPS), StochasticWindow(STEPS), STBP(loss="each")
    assert_close(learn(whole, network(), x, plan_of(whole)), learn(each, network(), x, plan_of(each)), atol=0.0)


@each_network(seed=range(2))
def test_a_window_of_one_step_is_the_random_step_bit_for_bit(network: Callable[[], Network], seed: int) -> None:
    window, step = StochasticWindow(1), StochasticStep()
    plan = plan_of(window, seed)
    assert plan == plan_of(step, seed)
    assert_close(learn(window, network(), frames(), plan), learn(step, network(), frames(), plan), atol=0.0)


@every("network", "chunk", of=zip(NETWORKS.values(), (1, 3, 3), strict=True))
def test_a_window_is_back_propagation_through_its_steps_alone(network: Callable[[], Network], chunk: int) -> None:
    rule, x = StochasticWindow(3, chunk=chunk), frames()
    for start, (plan, probability) in enumerate(rule.plans(STEPS)):
        window = range(start, start + 3)
        assert (plan.steps, probability) == (tuple(window), 1 / 4)
        # c_t: how many of the four windows hold step t.
        counts = {t: min(t, 3) - max(0, t - 2) + 1 for t in window}
        losses = {t: 4 / (STEPS * counts[t]) for t in window}
        assert_close(learn(rule, network(), x, plan), truncated(network(), x, window, losses))


@every(end=[1, 4])
def test_where_the_windows_last_step_alone_has_a_loss_it_is_truncated_at_the_windows_start(end: int) -> None:
    rule, network = StochasticWindow(3, loss="last"), NETWORKS["hdlif"]
    plan = Plan(STEPS, (end,), (True,))
    window = range(max(0, end - 2), end + 1)
    assert rule.window(plan) == window
    assert dict(rule.plans(STEPS))[plan] == pytest.approx(1 / STEPS)
    assert_close(learn(rule, network(), frames(), plan), truncated(network(), frames(), window, {end: 1.0}))
