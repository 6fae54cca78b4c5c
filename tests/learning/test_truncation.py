"""A rule that cuts time learns from each step alone: all of the state is a constant there, and nothing else is.

What is asked here holds for every kind of neuron that a recipe may choose, under every such rule. Steps that are run in
chunks learn as the steps one by one.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import own_neurons
from cases import every, sampled
from chunks import CASES
from hdlif.errors import TrainingError
from hdlif.learning import OTTT, SLTT, Plan, Rule, StepWeights, StochasticStep, StochasticWindow, Uniform
from hdlif.learning.paths import remembered
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces
from hdlif.models import Network, Place, conv1d, recurrent
from hdlif.nn import HDLIF, MemBN, PerStep, QuantConv2d, SpikeQuantizer, State, Temporal, Ternary, carrying
from hdlif.recipe import builders
from hdlif.training.tasks import Classify, LabelSequence, Task
from learning.rule_runs import drawn, learn
from small_networks import assert_close, gradients, scatter_norms, tensors_of, tiny_resnet
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
    return 2 * drawn(STEPS, len(TARGET), 1, 8, 8)


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
    plan, found = plan_of(cut), learn(cut, net, frames(), plan_of(cut))
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


# SLTT and OTTT in chunks of several steps, against the same step by step

T, B, C, CLASSES = 7, 3, 2, 3
SERIES = T, B, C, 1, 1

NEURONS: dict[str, Callable[..., Temporal]] = {
    **{name: lambda place, make=make: make(time_steps=T) for name, make in CASES.items()},
    "shared": lambda place: HDLIF(T, channels=place.channels, per_step=False),
    "quantised": lambda place: HDLIF(T, quantizer=SpikeQuantizer(learned=True)),
    "steps": lambda place: HDLIF(T, path="steps"),
    "fused": lambda place: HDLIF(T, path="fused"),
    "own, without a state": lambda place: own_neurons.Parallel(T),
}


def scattered(network: Temporal) -> Temporal:
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if name.endswith("logit"):
            nn.init.normal_(parameter, std=0.7)
    return scatter_norms(network.double())


def series(neuron: Callable[..., Temporal], **options: Any) -> Temporal:
    torch.manual_seed(0)
    sizes: Any = {"classes": CLASSES, "in_channels": C, "widths": (6, 5), "kernel": 3, "dilations": (1, 2)}
    return scattered(conv1d(neuron=neuron, conv=partial(QuantConv2d, quantizer=Ternary()), **sizes, **options))


def led_back(name: str) -> Temporal:
    torch.manual_seed(0)
    return scattered(recurrent(neuron=NEURONS[name], classes=CLASSES, in_channels=C, widths=(6, 5)))


def sample(*shape: int) -> Tensor:
    return 2 * drawn(*shape, seed=2)


def trained(rule: Rule, network: Temporal, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What an update leaves: its outputs, gradients and buffers."""
    network = copy.deepcopy(network).train()
    plan = rule.schedule(T, torch.Generator())
    outputs = []
    for step, update in zip(rule(network, x, target, plan), plan.updates, strict=True):
        step.loss.backward()
        outputs.append(step.logits)
        assert step.update == update
    # Counts as floats beside the others.
    buffers = {name: buffer.double() for name, buffer in network.named_buffers()}
    return {"outputs": torch.cat(outputs), **gradients(network), **buffers}


def classes(*shape: int) -> Tensor:
    return torch.randint(CLASSES, shape, generator=torch.Generator().manual_seed(3))


@sampled(2 * len(NEURONS), neuron=NEURONS, chunk=[2, 3, 2 * T], rule=[SLTT, partial(OTTT, leak=0.8)])
def test_a_chunk_of_steps_learns_as_the_steps_one_by_one(
    neuron: Callable[..., Temporal], chunk: int, rule: Callable[..., Rule]
) -> None:
    network, x, target = series(neuron), sample(*SERIES), classes(B)
    found = trained(rule(chunk=chunk), network, x, target)
    assert_close(found, trained(rule(), network, x, target))
    assert sum(bool(value.any()) for value in found.values()) > len(found) / 2


NAMES = ("a", "b", "c")


@every(
    "make",
    "shape",
    "task",
    of=[
        (lambda: tiny_resnet(lambda place: HDLIF(T)), (1, B, 2, 6, 6), Classify(NAMES, T)),
        (lambda: tiny_resnet(lambda place: HDLIF(T)), (T, B, 2, 6, 6), Classify(NAMES, T)),
        (lambda: series(NEURONS["hdlif"], companded=(1,), changes=True), SERIES, Classify(NAMES, T)),
        (lambda: series(NEURONS["hdlif"]), SERIES, LabelSequence(NAMES, T, delay=2)),
        (lambda: series(NEURONS["hdlif"]), SERIES, Classify(NAMES, T, learn_from="late")),
        (lambda: series(NEURONS["hdlif"]), SERIES, Classify(NAMES, T, learn_from="last")),
        *((partial(led_back, name), SERIES, Classify(NAMES, T)) for name in ("hdlif", "learned lif", "adaptive_hdlif")),
    ],
)
def test_so_do_maps_constant_inputs_recurrent_layers_and_other_losses(
    make: Callable[[], Temporal], shape: tuple[int, ...], task: Task
) -> None:
    network, x = make(), sample(*shape)
    target = classes(B, T) if isinstance(task, LabelSequence) else classes(B)
    several, one = (SLTT(criterion=task.criterion(), chunk=chunk) for chunk in (3, 1))
    assert_close(trained(several, network, x, target), trained(one, network, x, target))


class Own(Temporal):
    """A neuron layer with a scan of its own, which knows of no cut."""

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State]:
        level: Any = torch.zeros_like(x[0]) if state is None else state["level"]
        levels = []
        for current in x.expand(len(steps), *x.shape[1:]):
            level = level / 2 + current
            levels.append(level)
        return torch.stack(levels), {"level": level}


class Knowing(Own):
    def cuts(self) -> bool:
        return True


class Overriding(HDLIF):
    """One that scans by itself may know of no cut, whatever it is derived from."""

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        return super().forward(x, state, steps)


Overriding.forward.__module__ = "elsewhere"


@every(
    "make",
    "seen",
    of=[
        (lambda place: Own(), "act1 \\(Own\\) keeps 'level'"),
        (lambda place: Overriding(T), "act1 \\(Overriding\\) keeps 'potential'"),
        (lambda place: HDLIF(T, norm=MemBN(T, place.channels)), "act1 \\(HDLIF\\) keeps 'potential'"),
    ],
)
def test_what_does_not_say_that_it_cuts_is_refused(make: Callable[[Place], Temporal], seen: str) -> None:
    network, x, target = series(make), sample(*SERIES), classes(B)
    with pytest.raises(TrainingError, match=seen + ".* set chunk to 1"):
        trained(SLTT(chunk=2), network, x, target)
    trained(SLTT(chunk=1), network, x, target)
    with pytest.raises(TrainingError, match=r"the network \(Own\) keeps 'level'"):
        trained(SLTT(chunk=2), Own(), sample(T, B, CLASSES), target)
    # What says so is taken at its word.
    trained(SLTT(chunk=2), series(lambda place: Knowing()), x, target)
