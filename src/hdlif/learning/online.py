"""Functions for online rules, which make one pass through time and record a graph only at steps with a loss."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, loss_at, loss_of_steps
from hdlif.learning.paths import unwrapped
from hdlif.learning.rule import Carry, Plan, Step, chunk, standing
from hdlif.nn import HeldWeights, State, carrying, detach
from hdlif.nn.scope import check_cuts
from hdlif.nn.steps import Observer


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
    observers: Sequence[Observer] = (),
    carry: Carry | None = None,
) -> Iterator[Step]:
    """Run through time, and yield weight(t)·criterion(logits_t, target) at each step t of the plan, in order.

    Each step starts from a detached state. Steps before and between the planned steps run without a graph.

    Args:
        weight: the factor of the loss of step t.
        span: most steps to run together without a graph.
        observers: observers of every pass, such as traces of synapses or eligibilities of layers.
        complete: also run the steps after the plan's last one, so batch norm covers all T.
        carry: state of a sequence to continue; all steps then run.
    """
    one_update = sum(plan.updates) == 1
    state, before = standing(carry)
    start = 0
    held = HeldWeights(model) if one_update else None
    # Without state, keep a plain range, which is the fastest.
    weights = (held.weights or None) if held is not None else None

    def run(first: int, stop: int) -> range:
        steps = range(before + first, before + stop)
        return carrying(steps, weights=weights, observers=observers)

    for t, update in zip(plan.steps, plan.updates, strict=True):
        state = without_graph(model, x, state, run(start, t), span, before=before)
        if held is not None and update:
            held.last()
            weights = held.weights or None
        logits, state = model(chunk(x, range(t, t + 1)), state, steps=run(t, t + 1))
        for observer in observers:
            observer.check(state)
        state, start = detach(state), t + 1
        if t == plan.steps[-1]:
            if complete or carry is not None:
                # Before yielding the loss, after which the weights change.
                state = without_graph(model, x, state, run(start, plan.time_steps), span, before=before)
            if carry is not None:
                carry.after(state, plan.time_steps)
            # Free the state: the backward pass needs the memory.
            state = None
        yield Step(loss_at(criterion, logits[0], target, t) * weight(t), logits.detach(), update)


def cut_chunks(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    criterion: Criterion,
    weight: Callable[[int], float],
    span: int,
    observers: Sequence[Observer] = (),
    carry: Carry | None = None,
) -> Iterator[Step]:
    """Run consecutive steps with one update, like `online_steps`, but in chunks of `span` steps, using more memory.

    The losses of a chunk form one `Step`. Each step of a chunk also starts from a detached state (`Temporal.cuts`).

    Raises:
        TrainingError: a module with a state does not cut time within a chunk; raised before any update.
    """
    held = HeldWeights(model)
    state, before = standing(carry)
    first, last = plan.steps[0], plan.time_steps

    def run(start: int, stop: int) -> range:
        steps = range(before + start, before + stop)
        return carrying(steps, weights=held.weights or None, observers=observers, cut=True)

    if first:
        state = without_graph(model, x, state, run(0, first), span, before=before)
    for start, update in zip(range(first, last, span), plan.updates, strict=True):
        if update:
            held.last()
        steps = range(start, min(start + span, last))
        logits, state = model(chunk(x, steps), state, steps=run(steps.start, steps.stop))
        for observer in observers:
            observer.check(state)
        if state and span > 1:
            check_cuts(unwrapped(model), "", state)
        state = detach(state)
        if steps.stop == last:
            if carry is not None:
                carry.after(state, last)
            # Free the state.
            state = None
        loss = loss_of_steps(criterion, logits, target, steps, map(weight, steps))
        yield Step(loss, logits.detach(), update)


def at_once(chunk: int) -> Callable[..., Iterator[Step]]:
    """Return the function that trains on `chunk` steps at a time."""
    return partial(cut_chunks, span=chunk) if chunk > 1 else online_steps


def without_graph(
    model: nn.Module, x: Tensor, state: State | None, steps: range, span: int, *, before: int = 0
) -> State | None:
    """Run `steps` without a graph, `span` at a time, and return the final state.

    The input `x` starts at step `before`.
    """
    for _, _, after in outputs_without_graph(model, x, state, steps, span, before=before):
        state = after
    return state


def outputs_without_graph(
    model: nn.Module, x: Tensor, state: State | None, steps: range, span: int, *, before: int = 0
) -> Iterator[tuple[range, Tensor, State | None]]:
    """Run `steps` without a graph, and yield each range of steps, its outputs [K, B, n] and the state afterwards."""
    for first in range(0, len(steps), span):
        part = steps[first : first + span]
        with torch.no_grad():
            outputs, state = model(chunk(x, range(part.start - before, part.stop - before)), state, steps=part)
        yield part, outputs, state
