"""A rule that cuts time learns from each step alone: all of the state is a constant there, and nothing else is.

What is asked here holds for every kind of neuron that a recipe may choose, under every such rule.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, sampled
from hdlif.learning import OTTT, Plan, Rule, StepWeights, StochasticStep, StochasticWindow, Uniform
from hdlif.learning.paths import remembered
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces
from hdlif.models import Network
from hdlif.nn import PerStep, State, carrying
from hdlif.recipe import builders
from small_networks import assert_close, gradients, tensors_of
from small_recipes import built, recipe

STEPS = 3
TARGET = torch.tensor([0, 1, 2])

OPTIONS = dict.fromkeys(builders.NEURONS, "") | {"lif": ", learned: true"}
KINDS = [f"kind: {kind}{options}" for kind, options in OPTIONS.items()] + [
    "kind: glif, granularity: channel",
    "kind: hdlif, mem_bn: true",
    "kind: hdlif, recurrent: true",
    "kind: glif, path: fused",
    "kind: hdlif, parallel: alternate, threshold_form: softplus",
    'kind: "own_neurons:AdaptiveHDLIF"',
    'kind: "own_neurons:Keeping"',
]
# The others carry gradients from step to step.
CUT = [
    *(f"kind: {kind}" for kind in ("sltt", "sltt_k", "ottt", "ndot", "stochastic_step")),
    *(f"kind: {kind}, update: each" for kind in ("sltt", "ottt")),
    "kind: stochastic_window, length: 1",
    "kind: stochastic_step, k: 2, draw: stratified",
]


def network(kind: str) -> Network:
    """In float64, with values of its neurons that differ by step, and spikes from all of its layers."""
    net = built(f"neuron={{{kind}, per_step: true}}", f"time_steps={STEPS}", "model.blocks=[1]").double()
    scatter(net, seed=0)
    return net


def scatter(net: Network, seed: int, *, but: int | None = None) -> None:
    """Move each step's values of every neuron, those of step `but` excepted."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in per_step_values(net).values():
            moved = values + 0.4 * torch.randn(values.shape, generator=generator, dtype=values.dtype)
            for t in range(len(values)):
                if t != but:
                    values[t] = moved[t]


def per_step_values(net: Network) -> dict[str, nn.Parameter]:
    """The parameters that hold a row for each step."""
    of_steps = {id(p) for m in net.modules() if isinstance(m, PerStep) for p in m.parameters() if len(p) == STEPS}
    return {name: parameter for name, parameter in net.named_parameters() if id(parameter) in of_steps}


def frames() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(STEPS, len(TARGET), 1, 8, 8, generator=generator, dtype=torch.float64)


def built_rule(words: str, kind: str) -> Rule:
    """The rule, but NDOT, which follows a potential, as OTTT for neurons without one."""
    chosen = "kind: ottt" if "Keeping" in kind and words == "kind: ndot" else words
    return builders.build_rule(recipe(f"rule={{{chosen}}}"))


def weight_of(rule: Rule, t: int) -> float:
    """The factor of the loss of step t."""
    if isinstance(rule, StochasticStep):
        return (rule.draw or Uniform()).factor(StepWeights(STEPS), rule.k, t)
    if isinstance(rule, StochasticWindow):
        return 1.0
    return 1.0 if rule.update == "each" else 1 / STEPS


def plan_of(rule: Rule) -> Plan:
    return rule.schedule(STEPS, torch.Generator().manual_seed(2))


def learn(rule: Rule, net: Network) -> dict[str, Tensor]:
    net.zero_grad()
    for step in rule(net, frames(), TARGET, plan_of(rule)):
        step.loss.backward()
    return gradients(net)


def traces_of(rule: Rule, net: Network) -> Traces | None:
    return Traces(remembered(net), TraceRule(rule.leak, rule._dynamic)) if isinstance(rule, OTTT) else None


def run(net: Network, t: int, state: State | None, traces: Traces | None = None) -> tuple[Tensor, State | None]:
    steps = carrying(range(t, t + 1), observers=[traces] if traces else [])
    logits, after = net(frames()[t : t + 1], state, steps=steps)
    return logits[0], after


def states_before(net: Network, traces: Traces | None = None) -> list[State | None]:
    """The state that each step starts from, without graph."""
    states: list[State | None] = [None]
    with torch.no_grad():
        for t in range(STEPS - 1):
            states.append(run(net, t, states[-1], traces)[1])
    return states


def leaves(state: State | None) -> State | None:
    """The same values as tensors that nothing else reads."""
    if state is None:
        return None
    return {k: v.clone().requires_grad_() if isinstance(v, Tensor) else leaves(v) or {} for k, v in state.items()}


@sampled(len(KINDS), kind=KINDS, rule=CUT)
def test_gradient_is_that_of_steps_whose_state_is_given_as_a_constant(kind: str, rule: str) -> None:
    cut, net = built_rule(rule, kind), network(kind)
    plan, found = plan_of(cut), learn(cut, net)
    net.zero_grad()
    traces = traces_of(cut, net)
    states = states_before(net, traces)
    for t in plan.steps:
        logits, _ = run(net, t, leaves(states[t]), traces)
        (F.cross_entropy(logits, TARGET) * weight_of(cut, t)).backward()
    assert_close(found, gradients(net))


@every(kind=KINDS)
def test_a_step_follows_from_its_state_its_input_and_its_own_values(kind: str) -> None:
    """Whatever the values of other steps have become meanwhile, in an update after every step for one."""
    net = network(kind).eval()
    for t, state in enumerate(states_before(net)):
        expected, after = run(net, t, state)
        scatter(net, seed=t + 1, but=t)
        found, after_too = run(net, t, state)
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
        assert_close(dict(tensors_of(after_too)), dict(tensors_of(after)), atol=0)
