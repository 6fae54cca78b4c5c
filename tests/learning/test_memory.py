"""Training memory and time: what a rule saves for its backward passes and runs, as the number of time steps grows."""

import pytest
import torch
from torch import nn

from cases import every, sampled
from hdlif.learning import NDOT, OTTT, SLTT, STBP, ForwardMode, Plan, Rule, StochasticStep, StochasticWindow, Stratified
from hdlif.nn import HDLIF, LIF, QuantLinear, Sequential
from hdlif.report.accounting import UpdateCost, saved_bytes, update_cost
from learning.rule_runs import learn

BATCH, WIDTH = 8, 32


def mlp(neuron: type[HDLIF | LIF], time_steps: int) -> Sequential:
    """Three layers of neurons of equal width, and a readout."""
    layers: list[nn.Module] = []
    for _ in range(3):
        # Of one path, whatever the length of a chunk.
        layers += [QuantLinear(WIDTH, WIDTH), neuron(time_steps, path="fused")]
    return Sequential(*layers, nn.Linear(WIDTH, 4))


def costs(rule: Rule, neuron: type[HDLIF | LIF], time_steps: int) -> dict[Plan, UpdateCost]:
    """What an update of each plan runs and saves, on fresh weights."""
    if isinstance(rule, StochasticStep | StochasticWindow):
        return {plan: cost(rule, neuron, plan) for plan, _ in rule.plans(time_steps)}
    plan = rule.schedule(time_steps, torch.Generator())
    return {plan: cost(rule, neuron, plan)}


def cost(rule: Rule, neuron: type[HDLIF | LIF], plan: Plan) -> UpdateCost:
    torch.manual_seed(0)
    net = mlp(neuron, plan.time_steps)
    x = torch.rand(plan.time_steps, BATCH, WIDTH)
    return update_cost(net, lambda: learn(rule, net, x, plan), batch=[x])


def peak_bytes(rule: Rule, neuron: type[HDLIF | LIF], time_steps: int) -> int:
    """Most bytes saved at once during an update, over all plans."""
    return max(found.saved_bytes for found in costs(rule, neuron, time_steps).values())


@every(neuron=[HDLIF, LIF])
def test_stbp_saves_bytes_linear_in_the_time_steps(neuron: type[HDLIF | LIF]) -> None:
    one, two, four, eight = (peak_bytes(STBP(), neuron, steps) for steps in (1, 2, 4, 8))
    per_step = (eight - four) / 4
    assert eight > 7 * one
    # each step adds the same, but for a few scalars of leak and threshold and the first step's zero potential
    assert (four - two) / 2 == pytest.approx(per_step, rel=0.02)


ONLINE: list[Rule] = [
    SLTT(),
    SLTT("each"),
    SLTT(chunk=2),
    OTTT(),
    OTTT("each"),
    NDOT(),
    StochasticStep(),
    StochasticStep(2),
    StochasticStep(2, draw=Stratified()),
    StochasticStep(2, complete=True),
    StochasticWindow(1),
    ForwardMode(),
    ForwardMode("each"),
]


@sampled(len(ONLINE), rule=ONLINE, neuron=[HDLIF, LIF])
def test_online_rules_save_the_bytes_of_one_step_whatever_the_time_steps(rule: Rule, neuron: type[HDLIF | LIF]) -> None:
    two, four = (peak_bytes(rule, neuron, steps) for steps in (2, 4))
    # 3 layers × (leak and threshold), logits and values, of one float32 per step, and one more
    scalars = (3 * 2 * 2 + 1) * 4
    assert 0 <= four - two <= 2 * scalars


@every(rule=[STBP(), *ONLINE])
def test_each_plan_runs_the_steps_of_its_law_and_no_other(rule: Rule) -> None:
    # Counted from 0, so that a step t has t + 1 steps up to it.
    found = costs(rule, HDLIF, 4)
    for plan, one in found.items():
        stops = isinstance(rule, StochasticWindow) or (isinstance(rule, StochasticStep) and not rule.complete)
        assert one.forward_steps == (max(plan.steps) + 1 if stops else 4)
        assert one.backward_steps == len(plan.steps)
    if rule == StochasticStep():
        # On average it runs half of the steps.
        assert sum(one.forward_steps for one in found.values()) / len(found) == (4 + 1) / 2


@every(length=[1, 4])
def test_a_window_saves_the_bytes_of_its_steps(length: int) -> None:
    # Beside them the rows of the leaks and thresholds of all T steps, of which each kind of a layer saves a few copies.
    rows, found = 3 * 2 * 4, costs(StochasticWindow(length), HDLIF, 8).values()
    of_window = peak_bytes(STBP(loss="each"), HDLIF, length)
    assert 0 <= max(one.saved_bytes for one in found) - of_window <= 2 * rows * 8
    assert sum(one.forward_steps for one in found) / len(found) == length + (8 - length) / 2


def test_traces_save_one_tensor_more_a_synapse_that_a_neuron_feeds() -> None:
    # The first step's trace is the input itself.
    at_two, at_one = (peak_bytes(OTTT(), HDLIF, steps) - peak_bytes(SLTT(), HDLIF, steps) for steps in (2, 1))
    assert at_one <= 0
    assert at_two > 0
    assert peak_bytes(NDOT(), HDLIF, 4) == peak_bytes(OTTT(), HDLIF, 4)


def neuron_bytes(path: str, *, learned: bool, time_steps: int = 8) -> int:
    """Bytes that STBP saves in one HD-LIF layer, whose input is a leaf of its own."""
    neuron = HDLIF(time_steps, learned=learned, path=path)  # type: ignore[arg-type]
    x = torch.rand(time_steps, BATCH, WIDTH, requires_grad=True)
    return saved_bytes(lambda: neuron(x, None, range(time_steps))[0], model=neuron)


@every(learned=[True, False])
def test_neuron_saves_a_bit_a_step_and_the_potential_where_the_leak_is_learned(learned: bool) -> None:
    time_steps, neurons = 8, BATCH * WIDTH
    bits = time_steps * neurons // 8
    potentials = 4 * time_steps * neurons if learned else 0
    # Beside them leak and threshold of each step. The first potential is 0, and not saved.
    first, more = (4 * neurons if learned else 0), 4 * 4 * time_steps
    assert bits + potentials - first <= neuron_bytes("fused", learned=learned) <= bits + potentials + more
    assert neuron_bytes("steps", learned=learned) > 8 * time_steps * neurons * (0.9 if learned else 0.45)
