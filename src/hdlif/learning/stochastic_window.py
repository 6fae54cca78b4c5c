"""Random-window BPTT, which back-propagates through w consecutive steps of T and stops after the window."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, StepWeights, first_step, loss_of_steps, step_weights
from hdlif.learning.draws import fitting, in_proportion
from hdlif.learning.mean_loss import check_loss, criterion_of
from hdlif.learning.online import without_graph
from hdlif.learning.rule import Carry, Plan, Step, chunk, standing
from hdlif.nn import HeldWeights, carrying, detach


@dataclass(frozen=True)
class StochasticWindow:
    """A rule that back-propagates through a random window of w consecutive time steps and makes one update.

    The rule draws the first step `a` of the window and detaches the state at this step. Steps before the window run
    without a graph, and steps after the window do not run. Memory covers w steps. A batch takes w + (T - w)/2 forward
    passes on average, and w backward passes. The rule is equivalent to single-step random training for w = 1 and to
    `STBP(loss="each")` for w = T.

    With `loss = "each"`, every step of the window has a loss. The factor of step t is w_t/P(t is in the window), where
    w_t is the criterion's weight. The expected gradient is Σ_t w_t·g_t, where g_t is the gradient of step t's loss,
    truncated at the window's start. For equal weights, `a` is uniform in 0..T - w. If c_t windows contain t, the factor
    of step t is (T - w + 1)/(T·c_t). For unequal weights, the probability of a window is proportional to the total
    weight of its steps. With `loss = "last"`, only the last step of the window has a loss, and the probability of a
    step is proportional to the step's weight. With "last", the gradient of every loss is truncated at w steps, or at
    the start of the sequence. With `loss = "reduced"`, the loss is criterion(mean of the logits of all T steps,
    target), as in `SLTT`. To compute the mean of the logits, all steps first run without a graph. The steps of the
    window have the same factors as with "each", so w = T gives `STBP()`.

    >>> import torch
    >>> from hdlif.learning import StochasticWindow
    >>> plan = StochasticWindow(2).schedule(4, torch.Generator())
    >>> len(plan.steps), plan.updates
    (2, (True,))

    See `SLTT` for an example of an update.

    Args:
        length: w, at most T.
        chunk: most steps to run together without a graph, which takes the memory of so many steps of one layer.
        loss: "each", "last" or "reduced".
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    Raises:
        ValueError: w is less than 1 or, in `schedule`, more than T.
    """

    length: int
    criterion: Criterion = F.cross_entropy
    chunk: int = 4
    loss: Literal["each", "last", "reduced"] = "each"

    def __post_init__(self) -> None:
        if self.length < 1 or self.chunk < 1:
            raise ValueError(f"length = {self.length}, chunk = {self.chunk}; both must be at least 1")
        check_loss(self.loss, choices=("each", "last", "reduced"))

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        drawn = self._drawn(time_steps)
        (place,) = fitting(drawn)(drawn, 1, generator)
        return self._plan(time_steps, self._ends(time_steps)[place])

    def plans(self, time_steps: int) -> tuple[tuple[Plan, float], ...]:
        """Return all possible plans, each with its probability."""
        drawn = self._drawn(time_steps)
        return tuple((self._plan(time_steps, end), drawn[place]) for place, end in enumerate(self._ends(time_steps)))

    def window(self, plan: Plan) -> range:
        """Return the steps of the window, which have a graph."""
        stop = plan.steps[-1] + 1
        return range(max(0, stop - self.length), stop)

    def _ends(self, time_steps: int) -> range:
        """Return the last step of every window that contains a step with a loss."""
        if self.length > time_steps:
            raise ValueError(f"length = {self.length}; it must be at most time_steps = {time_steps}")
        first = first_step(self.criterion)
        return range(first if self.loss == "last" else max(first, self.length - 1), time_steps)

    def _plan(self, time_steps: int, end: int) -> Plan:
        start = end if self.loss == "last" else max(first_step(self.criterion), end + 1 - self.length)
        return Plan(time_steps, tuple(range(start, end + 1)), (True,))

    def _drawn(self, time_steps: int) -> StepWeights:
        """Return the probability of each window, which is proportional to the total weight of the window's losses."""
        ends, first = self._ends(time_steps), first_step(self.criterion)
        weights = step_weights(self.criterion, time_steps)
        if self.loss == "last":
            return weights
        return in_proportion([weights.mass(max(0, end + 1 - self.length - first), end + 1 - first) for end in ends])

    def _factors(self, plan: Plan) -> list[float]:
        """Return the factor of each loss in the plan."""
        if self.loss == "last":
            return [1.0]
        first, ends = first_step(self.criterion), self._ends(plan.time_steps)
        weights, drawn = step_weights(self.criterion, plan.time_steps), self._drawn(plan.time_steps)
        found = []
        for t in plan.steps:
            # The windows that contain t.
            start, stop = max(t, ends.start) - ends.start, min(t + self.length, ends.stop) - ends.start
            if drawn.weights is None:
                # weights[t]/mass, without its rounding: 1 for w = 1, and the weight itself for w = T.
                found.append(weights.beside_even(t - first) * drawn.count / (weights.count * (stop - start)))
            else:
                found.append(weights[t - first] / drawn.mass(start, stop))
        return found

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        criterion = criterion_of(self.loss, self.criterion, model, x, target, plan, span=self.chunk, carry=carry)
        window, held = self.window(plan), HeldWeights(model)
        state, before = standing(carry)

        def run(first: int, stop: int) -> range:
            return carrying(range(before + first, before + stop), weights=held.weights or None)

        state = without_graph(model, x, state, run(0, window.start), self.chunk, before=before)
        held.last()
        logits, state = model(chunk(x, window), detach(state), steps=run(window.start, window.stop))
        if carry is not None:
            rest = run(window.stop, plan.time_steps)
            carry.after(without_graph(model, x, detach(state), rest, self.chunk, before=before), plan.time_steps)
        # Free the state: the backward pass needs the memory.
        del state
        counted = logits[-len(plan.steps) :]
        loss = loss_of_steps(criterion, counted, target, plan.steps, self._factors(plan))
        yield Step(loss, counted.detach(), update=True)
