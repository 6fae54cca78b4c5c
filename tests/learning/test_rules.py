"""Learning rules against plain loops, each other, and their own promises about what they run."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from cases import every, sampled
from hdlif.learning import (
    NDOT,
    OTTT,
    SLTT,
    STBP,
    ForwardMode,
    Plan,
    Rule,
    StepWeights,
    StochasticStep,
    StochasticWindow,
    Stratified,
    Uniform,
    sum_logits,
)
from hdlif.learning.draws import strata
from hdlif.learning.stbp import mean_logits
from hdlif.models import Network
from hdlif.nn import HDLIF, LIF, BatchNorm2d, Binary, SpikeQuantizer, State, Ternary, detach
from small_networks import assert_close, gradients, tensors_of, tiny_resnet

STEPS = 4
TARGET = torch.tensor([0, 1, 2, 0])

NETWORKS: dict[str, Callable[[], Network]] = {
    "hdlif": lambda: tiny_resnet(lambda place: HDLIF(STEPS)),
    "lif": lambda: tiny_resnet(lambda place: LIF(STEPS)),
    "hdlif_ternary_quantised": lambda: tiny_resnet(
        lambda place: HDLIF(STEPS, quantizer=SpikeQuantizer()), quantizer=Ternary()
    ),
    "hdlif_binary": lambda: tiny_resnet(lambda place: HDLIF(STEPS), quantizer=Binary()),
}
each_network = partial(every, network=NETWORKS)


def frames(steps: int = STEPS, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(steps, len(TARGET), 2, 6, 6, generator=g, dtype=torch.float64)


def drawn(rule: Rule, seed: int = 0, steps: int = STEPS) -> Plan:
    return rule.schedule(steps, torch.Generator().manual_seed(seed))


def learn(rule: Rule, net: Network, x: Tensor, plan: Plan) -> dict[str, Tensor]:
    """The gradient that one run of the rule gathers."""
    net.zero_grad()
    for step in rule(net, x, TARGET, plan):
        step.loss.backward()
    return gradients(net)


def online_loop(net: Network, x: Tensor, losses: dict[int, float]) -> dict[str, Tensor]:
    """Back-propagate the weighted loss of each step named, every potential detached between steps."""
    net.zero_grad()
    state = None
    for t in range(max(losses) + 1):
        logits, state = net(x if len(x) == 1 else x[t : t + 1], state, steps=range(t, t + 1))
        if t in losses:
            (F.cross_entropy(logits[0], TARGET) * losses[t]).backward()
        state = detach(state)
    return gradients(net)


def count_forwards(net: Network) -> list[range]:
    """The steps of each forward pass from now on."""
    seen: list[range] = []
    net.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["steps"]), with_kwargs=True)
    return seen


# Against plain loops


@each_network(reduce=["mean", "sum"])
def test_stbp_is_one_backward_pass_through_all_steps(network: Callable[[], Network], reduce: str) -> None:
    rule = STBP(reduce=sum_logits) if reduce == "sum" else STBP()
    x, net = frames(), network()
    found = learn(rule, net, x, drawn(rule))
    net.zero_grad()
    state, logits = None, []
    for t in range(STEPS):
        y, state = net(x[t : t + 1], state, steps=range(t, t + 1))
        logits.append(y[0])
    total = torch.stack(logits).sum(0)
    F.cross_entropy(total if reduce == "sum" else total / STEPS, TARGET).backward()
    assert_close(found, gradients(net))


def test_gradient_of_the_mean_logits_is_the_same_at_every_step() -> None:
    logits = torch.randn(STEPS, len(TARGET), 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits.requires_grad_()
    F.cross_entropy(mean_logits(logits), TARGET).backward()
    each = logits.detach().mean(0).softmax(-1) - F.one_hot(TARGET, 3)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, (each / (STEPS * len(TARGET))).expand(STEPS, -1, -1), atol=1e-12, rtol=0)


@each_network()
def test_sltt_equals_back_propagation_with_the_potential_detached(network: Callable[[], Network]) -> None:
    x = frames()
    found = learn(SLTT(), network(), x, drawn(SLTT()))
    assert_close(found, online_loop(network(), x, dict.fromkeys(range(STEPS), 1 / STEPS)))


@each_network()
def test_sltt_each_steps_losses_are_those_of_sltt_times_the_number_of_steps(network: Callable[[], Network]) -> None:
    x = frames()
    each = learn(SLTT("each"), network(), x, drawn(SLTT("each")))
    mean = learn(SLTT(), network(), x, drawn(SLTT()))
    assert_close({k: v / STEPS for k, v in each.items()}, mean)


@sampled(4, network=NETWORKS, chosen=[(0,), (2,), (0, 3), (0, 1, 2, 3)])
def test_stochastic_step_learns_from_the_chosen_steps_only(
    network: Callable[[], Network], chosen: tuple[int, ...]
) -> None:
    x, k = frames(), len(chosen)
    found = learn(StochasticStep(k), network(), x, Plan(STEPS, chosen, (False,) * (k - 1) + (True,)))
    assert_close(found, online_loop(network(), x, dict.fromkeys(chosen, 1 / k)))


# Against each other


@each_network()
def test_with_one_time_step_all_rules_are_equal(network: Callable[[], Network]) -> None:
    x = frames(1)
    rules: list[Rule] = [
        STBP(),
        STBP(reduce=sum_logits),
        SLTT(),
        SLTT("each"),
        OTTT(),
        OTTT("each"),
        NDOT(),
        StochasticStep(),
        StochasticStep(draw=Stratified(), complete=True),
        STBP(loss="each"),
        StochasticWindow(1),
    ]
    first, *others = (learn(rule, network(), x, drawn(rule, steps=1)) for rule in rules)
    for other in others:
        assert_close(other, first)


@every(draw=[Uniform(), Stratified()], k=[1, 2, 3])
def test_random_steps_averaged_over_all_draws_are_sltt(draw: Uniform | Stratified, k: int) -> None:
    x, net = frames(), NETWORKS["hdlif_ternary_quantised"]()
    edges = [i * STEPS // k for i in range(k + 1)]
    strata = list(itertools.product(*(range(*pair) for pair in itertools.pairwise(edges))))
    draws = strata if isinstance(draw, Stratified) else list(itertools.combinations(range(STEPS), k))
    assert [steps for steps, _ in draw.every(StepWeights(STEPS), k)] == draws
    total = dict.fromkeys(gradients(net), torch.zeros((), dtype=torch.float64))
    for steps in draws:
        plan = Plan(STEPS, steps, (False,) * (k - 1) + (True,))
        found = learn(StochasticStep(k, draw=draw), net, x, plan)
        total = {name: total[name] + found[name] for name in total}
    mean = {name: value / len(draws) for name, value in total.items()}
    assert_close(mean, learn(SLTT(), net, x, drawn(SLTT())))


@every(k=[1, 2, 3])
def test_variance_of_the_random_step_is_that_of_drawing_without_replacement(k: int) -> None:
    x, net, name = frames(), NETWORKS["hdlif"](), "body.stage1.0.conv1.weight"
    per_step = torch.stack([learn(StochasticStep(), net, x, Plan(STEPS, (t,), (True,)))[name] for t in range(STEPS)])
    total = per_step.sum(0)
    estimates = torch.stack(
        [
            STEPS * learn(StochasticStep(k), net, x, Plan(STEPS, subset, (False,) * (k - 1) + (True,)))[name]
            for subset in itertools.combinations(range(STEPS), k)
        ]
    )
    variance = (per_step - total / STEPS).square().mean(0)
    expected = STEPS**2 / k * variance * (STEPS - k) / (STEPS - 1)
    torch.testing.assert_close((estimates - total).square().mean(0), expected, atol=1e-10, rtol=0)


@every(k=[1, 2, 3], draw=[Uniform(), Stratified()])
def test_drawn_steps_have_the_probability_that_their_weight_mends(draw: Uniform | Stratified, k: int) -> None:
    generator, draws = torch.Generator().manual_seed(0), 4000
    counts = [0] * STEPS
    for _ in range(draws):
        steps = draw(StepWeights(STEPS), k, generator)
        assert steps == sorted(set(steps))
        for step in steps:
            counts[step] += 1
    for step, count in enumerate(counts):
        # P(t in S)·w_t = 1/T; five standard deviations of a share of 4,000 draws.
        assert abs(count / draws * draw.factor(StepWeights(STEPS), k, step) - 1 / STEPS) < 5 * 0.5 / draws**0.5


def test_strata_of_weighted_steps_end_where_the_weight_is_nearest_to_its_share() -> None:
    # sums 0.1, 0.2, 0.6: half of the weight is nearer to 0.6; sums 0.1, 0.3, 0.8: nearer to 0.3
    for weights, edge in (((0.1, 0.1, 0.4, 0.4), 3), ((0.1, 0.2, 0.5, 0.2), 2)):
        assert strata(StepWeights(STEPS, weights), 2) == [(0, edge), (edge, STEPS)]


def test_complete_random_step_shows_batch_norm_all_steps_and_learns_the_same() -> None:
    x, plan = frames(), Plan(STEPS, (1,), (True,))
    net, cut = NETWORKS["hdlif_binary"](), NETWORKS["hdlif_binary"]()
    seen = count_forwards(net)
    found = learn(StochasticStep(complete=True, chunk=2), net, x, plan)
    assert_close(found, learn(StochasticStep(), cut, x, plan))
    assert seen == [range(1), range(1, 2), range(2, 4)]
    counts = {int(m.num_batches_tracked) for m in net.modules() if isinstance(m, BatchNorm2d)}
    assert counts == {STEPS}


# What runs, and what is said beforehand


@every(k=[1, 2, 4], seed=range(2))
def test_stochastic_step_runs_no_step_after_its_last_one(k: int, seed: int) -> None:
    rule, net = StochasticStep(k, chunk=1), NETWORKS["hdlif"]()
    plan, seen = drawn(rule, seed), count_forwards(net)
    learn(rule, net, frames(), plan)
    assert seen == [range(t, t + 1) for t in range(max(plan.steps) + 1)]


def test_steps_without_a_graph_are_run_four_at_a_time() -> None:
    net = NETWORKS["hdlif"]()
    seen = count_forwards(net)
    x = torch.cat([frames(), frames()])[:7]
    learn(StochasticStep(), net, x, Plan(7, (6,), (True,)))
    assert seen == [range(4), range(4, 6), range(6, 7)]


@every(rule=[STBP(), SLTT(), SLTT("each"), OTTT(), OTTT("each"), NDOT(), StochasticStep(1), StochasticStep(3)])
def test_a_plan_says_which_losses_end_an_update_and_batch_norm_counts_the_steps_that_ran(rule: Rule) -> None:
    net, plan = NETWORKS["hdlif_binary"](), drawn(rule, seed=1)
    steps = list(rule(net, frames(), TARGET, plan))
    assert tuple(step.update for step in steps) == plan.updates
    assert plan.updates[-1]
    assert sum(plan.updates) == (STEPS if rule in (SLTT("each"), OTTT("each")) else 1)
    assert not any(step.logits.requires_grad for step in steps)
    assert all(step.logits.shape[1:] == (len(TARGET), 3) for step in steps)
    assert list(plan.steps) == sorted(set(plan.steps))
    counts = {int(m.num_batches_tracked) for m in net.modules() if isinstance(m, BatchNorm2d)}
    assert counts == {max(plan.steps) + 1}


def test_stochastic_step_draws_every_subset_alike_and_the_same_from_the_same_generator() -> None:
    generator, draws, subsets = torch.Generator(), 3000, list(itertools.combinations(range(STEPS), 2))
    generator.manual_seed(0)
    found = [StochasticStep(2).schedule(STEPS, generator).steps for _ in range(draws)]
    # four standard deviations of a binomial count are below 0.04 of the draws
    assert all(abs(found.count(subset) / draws - 1 / len(subsets)) < 0.04 for subset in subsets)
    generator.manual_seed(0)
    assert [StochasticStep(2).schedule(STEPS, generator).steps for _ in range(8)] == found[:8]


@every(
    "make",
    "words",
    of=[
        (lambda: SLTT("all"), "choose one of each, sum"),
        (lambda: StochasticStep(0), "k = 0"),
        (lambda: StochasticStep(chunk=0), "chunk = 0"),
        (lambda: drawn(StochasticStep(5)), "k = 5 steps cannot be drawn from time_steps = 4"),
        (lambda: drawn(StochasticWindow(5)), "length = 5; it must be at most time_steps = 4"),
        (lambda: StochasticWindow(0), "length = 0, chunk = 4; both must be at least 1"),
        (lambda: StochasticWindow(2, loss="first"), "loss = 'first'; choose one of each, last"),
        (lambda: STBP(loss="mean"), "loss = 'mean'; choose one of each, reduced"),
        (lambda: STBP(loss="each", reduce=sum_logits), "leave reduce out"),
        *((partial(rule, leak=leak), r"it must lie in 0\.\.1") for rule in (OTTT, NDOT) for leak in (-0.1, 1.5)),
        (lambda: NDOT("all"), "choose one of each, sum"),
        *((partial(rule, update="each", chunk=2), "does not go with update") for rule in (SLTT, OTTT, ForwardMode)),
        (lambda: SLTT(chunk=0), "chunk = 0; it must be at least 1"),
        (lambda: NDOT(chunk=2), "chunk = 2; these traces follow the neurons, one step at a time"),
        *((partial(rule, loss="mean"), r"choose one of each, reduced") for rule in (SLTT, OTTT, NDOT, ForwardMode)),
        (lambda: StochasticStep(loss="last"), "choose one of each, reduced"),
        (lambda: StochasticWindow(3, loss="mean"), "choose one of each, last, reduced"),
        *((partial(rule, "each", loss="reduced"), "does not go with update") for rule in (SLTT, OTTT, ForwardMode)),
        (lambda: ForwardMode(recurrent="none"), "choose one of diagonal, eprop"),
        (lambda: ForwardMode("all"), "choose one of each, sum"),
        (lambda: ForwardMode(budget=-1), "budget = -1; it must be at least 0 bytes"),
    ],
)
def test_rules_refuse_arguments_without_meaning(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@every(rule=[STBP(), SLTT(), SLTT(chunk=2), StochasticStep(), StochasticWindow(2)])
def test_the_last_state_is_given_up_before_the_last_loss_is(rule: Rule) -> None:
    """Its memory is the backward pass's; of fixed parameters no derivative reads it."""
    network = tiny_resnet(lambda place: HDLIF(STEPS, learned=False))
    states: list[StorageWeakRef] = []

    def seen(_: nn.Module, args: object, output: tuple[Tensor, State]) -> None:
        states[:] = [StorageWeakRef(tensor.untyped_storage()) for _, tensor in tensors_of(output[1])]

    network.register_forward_hook(seen)
    plan = drawn(rule)
    steps = iter(rule(network, frames(), TARGET, plan))
    for _ in plan.updates:
        step = next(steps)
        assert states
    assert all(state.expired() for state in states)
    step.loss.backward()
