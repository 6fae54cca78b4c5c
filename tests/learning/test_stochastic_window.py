"""The random window beside the rules that it lies between, and beside a plain loop."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cases import every
from hdlif.learning import STBP, Plan, Rule, StochasticStep, StochasticWindow, Timed, late_weights
from hdlif.models import Network
from hdlif.nn import HDLIF, LIF, Ternary, detach
from small_networks import assert_close, gradients, tiny_resnet

STEPS = 6
TARGET = torch.tensor([0, 1, 2, 0])
NETWORKS: dict[str, Callable[[], Network]] = {
    "hdlif": lambda: tiny_resnet(lambda place: HDLIF(STEPS)),
    "lif": lambda: tiny_resnet(lambda place: LIF(STEPS)),
    "ternary": lambda: tiny_resnet(lambda place: HDLIF(STEPS), quantizer=Ternary()),
}
each_network = partial(every, network=NETWORKS)


def frames(steps: int = STEPS) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(steps, len(TARGET), 2, 6, 6, generator=g, dtype=torch.float64)


def drawn(rule: Rule, seed: int = 0) -> Plan:
    return rule.schedule(STEPS, torch.Generator().manual_seed(seed))


def learn(rule: Rule, net: Network, x: Tensor, plan: Plan) -> dict[str, Tensor]:
    net.zero_grad()
    for step in rule(net, x, TARGET, plan):
        step.loss.backward()
    return gradients(net)


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


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@each_network(constant=[False, True])
def test_a_window_of_all_steps_is_stbp_of_the_mean_of_the_losses_bit_for_bit(
    network: Callable[[], Network], constant: bool
) -> None:
    x, whole, each = frames(1 if constant else STEPS), StochasticWindow(STEPS), STBP(loss="each")
    assert same(learn(whole, network(), x, drawn(whole)), learn(each, network(), x, drawn(each)))


@each_network(seed=range(2))
def test_a_window_of_one_step_is_the_random_step_bit_for_bit(network: Callable[[], Network], seed: int) -> None:
    window, step = StochasticWindow(1), StochasticStep()
    assert drawn(window, seed) == drawn(step, seed)
    assert same(
        learn(window, network(), frames(), drawn(window, seed)), learn(step, network(), frames(), drawn(step, seed))
    )


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


@every(length=range(1, STEPS + 1), first=[0, 3, STEPS - 1], weighted=[False, True])
def test_every_step_has_its_weight_on_average(length: int, first: int, weighted: bool) -> None:
    weights = late_weights(STEPS - first) if weighted else None
    for loss in ("each", "last"):
        rule = StochasticWindow(length, Timed(F.cross_entropy, first, weights=weights), loss=loss)  # type: ignore[arg-type]
        plans = rule.plans(STEPS)
        assert math.isclose(sum(probability for _, probability in plans), 1)
        totals = dict.fromkeys(range(first, STEPS), 0.0)
        for plan, probability in plans:
            assert max(plan.steps) < STEPS
            assert len(rule.window(plan)) <= length
            for t, factor in zip(plan.steps, rule._factors(plan), strict=True):
                totals[t] += probability * factor
        expected = weights or [1 / (STEPS - first)] * (STEPS - first)
        assert list(totals.values()) == pytest.approx(expected)


def test_windows_are_drawn_as_often_as_they_are_likely() -> None:
    generator, draws = torch.Generator().manual_seed(0), 4000
    for rule in (StochasticWindow(3), StochasticWindow(3, Timed(F.cross_entropy, 1, weights=late_weights(STEPS - 1)))):
        plans = dict(rule.plans(STEPS))
        counts = dict.fromkeys(plans, 0)
        for _ in range(draws):
            counts[rule.schedule(STEPS, generator)] += 1
        for plan, probability in plans.items():
            assert abs(counts[plan] / draws - probability) < 5 * 0.5 / draws**0.5


@every(end=[1, 4])
def test_where_the_windows_last_step_alone_has_a_loss_it_is_truncated_at_the_windows_start(end: int) -> None:
    rule, network = StochasticWindow(3, loss="last"), NETWORKS["hdlif"]
    plan = Plan(STEPS, (end,), (True,))
    window = range(max(0, end - 2), end + 1)
    assert rule.window(plan) == window
    assert plan in dict(rule.plans(STEPS))
    assert_close(learn(rule, network(), frames(), plan), truncated(network(), frames(), window, {end: 1.0}))
