"""Learning rules against plain loops, each other, and their own promises about what they run.

`test_truncation.py` has the gradient of every rule that cuts time, for every neuron; `test_random_rules.py` the draws.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from cases import every
from hdlif.learning import (
    NDOT,
    OTTT,
    SLTT,
    STBP,
    ForwardMode,
    Plan,
    Rule,
    StochasticStep,
    StochasticWindow,
    Stratified,
    sum_logits,
)
from hdlif.models import Network
from hdlif.nn import HDLIF, LIF, BatchNorm2d, SpikeQuantizer, State, Ternary
from learning.rule_runs import drawn, learn
from small_networks import assert_close, gradients, tensors_of, tiny_resnet

STEPS = 4
TARGET = torch.tensor([0, 1, 2, 0])

NETWORKS: dict[str, Callable[[], Network]] = {
    "lif": lambda: tiny_resnet(lambda place: LIF(STEPS)),
    "hdlif_ternary_quantised": lambda: tiny_resnet(
        lambda place: HDLIF(STEPS, quantizer=SpikeQuantizer()), quantizer=Ternary()
    ),
}
each_network = partial(every, network=NETWORKS)


def frames(steps: int = STEPS) -> Tensor:
    return drawn(steps, 4, 2, 6, 6, seed=0)


def plan_of(rule: Rule, steps: int = STEPS) -> Plan:
    return rule.schedule(steps, torch.Generator().manual_seed(1))


def count_forwards(net: Network) -> list[range]:
    """The steps of each forward pass from now on."""
    seen: list[range] = []
    net.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["steps"]), with_kwargs=True)
    return seen


@each_network(reduce=["mean", "sum"])
def test_stbp_is_one_backward_pass_through_all_steps(network: Callable[[], Network], reduce: str) -> None:
    rule = STBP(reduce=sum_logits) if reduce == "sum" else STBP()
    x, net = frames(), network()
    found = learn(rule, net, x, plan_of(rule))
    net.zero_grad()
    state, logits = None, []
    for t in range(STEPS):
        y, state = net(x[t : t + 1], state, steps=range(t, t + 1))
        logits.append(y[0])
    total = torch.stack(logits).sum(0)
    F.cross_entropy(total if reduce == "sum" else total / STEPS, TARGET).backward()
    assert_close(found, gradients(net))


@each_network()
def test_with_one_time_step_all_rules_are_equal(network: Callable[[], Network]) -> None:
    x = frames(1)
    rules: list[Rule] = [
        STBP(),
        STBP(reduce=sum_logits),
        STBP(loss="each"),
        SLTT(),
        SLTT("each"),
        OTTT(),
        OTTT("each"),
        NDOT(),
        StochasticStep(),
        StochasticStep(draw=Stratified(), complete=True),
        StochasticWindow(1),
    ]
    first, *others = (learn(rule, network(), x, plan_of(rule, 1)) for rule in rules)
    for other in others:
        assert_close(other, first)


@every(rule=[STBP(), SLTT(), SLTT("each"), OTTT(), OTTT("each"), NDOT(), StochasticStep(1), StochasticStep(3)])
def test_a_plan_says_which_losses_end_an_update_and_batch_norm_counts_the_steps_that_ran(rule: Rule) -> None:
    net, plan = NETWORKS["lif"](), plan_of(rule)
    steps = list(rule(net, frames(), TARGET, plan))
    assert tuple(step.update for step in steps) == plan.updates
    assert plan.updates[-1]
    assert sum(plan.updates) == (STEPS if rule in (SLTT("each"), OTTT("each")) else 1)
    assert not any(step.logits.requires_grad for step in steps)
    assert all(step.logits.shape[1:] == (len(TARGET), 3) for step in steps)
    assert list(plan.steps) == sorted(set(plan.steps))
    counts = {int(m.num_batches_tracked) for m in net.modules() if isinstance(m, BatchNorm2d)}
    assert counts == {max(plan.steps) + 1}


@every(
    "make",
    "words",
    of=[
        (lambda: SLTT("all"), "choose one of each, sum"),
        (lambda: NDOT("all"), "choose one of each, sum"),
        (lambda: ForwardMode("all"), "choose one of each, sum"),
        (lambda: ForwardMode(recurrent="none"), "choose one of diagonal, eprop"),
        (lambda: ForwardMode(budget=-1), "budget = -1; it must be at least 0 bytes"),
        (lambda: StochasticStep(0), "k = 0"),
        (lambda: StochasticStep(chunk=0), "chunk = 0"),
        (lambda: SLTT(chunk=0), "chunk = 0; it must be at least 1"),
        (lambda: NDOT(chunk=2), "chunk = 2; it must be 1, because these traces are computed one step at a time"),
        (lambda: plan_of(StochasticStep(5)), "k = 5 steps cannot be drawn from time_steps = 4"),
        (lambda: plan_of(StochasticWindow(5)), "length = 5; it must be at most time_steps = 4"),
        (lambda: StochasticWindow(0), "length = 0, chunk = 4; both must be at least 1"),
        (lambda: StochasticWindow(2, loss="first"), "loss = 'first'; choose one of each, last"),
        (lambda: STBP(loss="mean"), "loss = 'mean'; choose one of each, reduced"),
        (lambda: STBP(loss="each", reduce=sum_logits), "remove reduce"),
        (lambda: StochasticStep(loss="last"), "choose one of each, reduced"),
        *((partial(rule, leak=leak), r"it must lie in 0\.\.1") for rule in (OTTT, NDOT) for leak in (-0.1, 1.5)),
        *((partial(rule, loss="mean"), r"choose one of each, reduced") for rule in (SLTT, OTTT, NDOT, ForwardMode)),
        *(
            (partial(rule, update="each", chunk=2), "cannot be combined with update")
            for rule in (SLTT, OTTT, ForwardMode)
        ),
        *(
            (partial(rule, "each", loss="reduced"), "cannot be combined with update")
            for rule in (SLTT, OTTT, ForwardMode)
        ),
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
    plan = plan_of(rule)
    steps = iter(rule(network, frames(), TARGET, plan))
    for _ in plan.updates:
        step = next(steps)
        assert states
    assert all(state.expired() for state in states)
    step.loss.backward()
