"""What all online rules share: one pass through time, with a graph at the steps that have a loss alone."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, loss_at
from hdlif.learning.rule import Plan, Step, chunk
from hdlif.nn import HeldWeights, State, carrying, detach
from hdlif.nn.eligibility import Eligibility
from hdlif.nn.traces import Traces


def online_steps(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    criterion: Criterion,
    weight: Callable[[int], float],
    span: int = 1,
    complete: bool = False,
    traces: Traces | None = None,
    eligibility: Eligibility | None = None,
) -> Iterator[Step]:
    """Run through time and yield weight(t)·criterion(logits_t, target) at each step t of the plan, in order.

    The state that a step starts from is detached. Steps before and between those of the plan run without a graph.

    Args:
        weight: the factor of the loss of step t.
        span: most steps run at once without a graph.
        traces: of the synapses that learn from them.
        eligibility: of the layers that learn in forward mode.
        complete: also run the steps after the plan's last one, so that batch norm sees all T.
    """
    one_update = sum(plan.updates) == 1
    state: State | None = None
    start = 0
    held = HeldWeights(model) if one_update else None
    # Nothing to carry leaves a plain range, which is the fastest.
    weights = (held.weights or None) if held is not None else None
    for t, update in zip(plan.steps, plan.updates, strict=True):
        state = without_graph(
            model, x, state, carrying(range(start, t), weights=weights, traces=traces, eligibility=eligibility), span
        )
        if held is not None and update:
            held.last()
            weights = held.weights or None
        steps = range(t, t + 1)
        logits, state = model(
            chunk(x, steps), state, steps=carrying(steps, weights=weights, traces=traces, eligibility=eligibility)
        )
        if traces is not None:
            traces.check_kept(state)
        if eligibility is not None:
            eligibility.check()
        state, start = detach(state), t + 1
        if complete and t == plan.steps[-1]:
            # Before the loss is given away, after which the weights change.
            rest = carrying(range(start, plan.time_steps), weights=weights, traces=traces, eligibility=eligibility)
            without_graph(model, x, state, rest, span)
        yield Step(loss_at(criterion, logits[0], target, t) * weight(t), logits.detach(), update)


def without_graph(model: nn.Module, x: Tensor, state: State | None, steps: range, span: int) -> State | None:
    """The state after a run through `steps`, at most `span` of them at once."""
    with torch.no_grad():
        for first in range(0, len(steps), span):
            part = steps[first : first + span]
            _, state = model(chunk(x, part), state, steps=part)
    return state
