"""Update a network from one batch, in an accelerator's precision and with gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.learning import Carry, Plan, Rule, Step
from hdlif.learning.rule import chunk, run
from hdlif.nn import Carrying, carrying
from hdlif.nn.layout import laid_out, lay_out
from hdlif.training.accelerator import Accelerator
from hdlif.training.activity import Penalty, Watch
from hdlif.training.optimization import OnePass
from hdlif.training.ranks import Ranks

GRAPHS = 64
"""Number of graphs per network that torch.compile keeps, one per chunk length; other lengths run uncompiled."""


Agree = Callable[[float], float]
"""Function that turns an update's loss on this rank into the mean loss of all ranks."""


class InPrecision(nn.Module):
    """A wrapper that runs a model in an accelerator's precision, with batch-norm statistics from all ranks.

    Args:
        layout: memory format of each frame.
        compiled: backend of torch.compile; None does not compile.
    """

    def __init__(
        self,
        model: nn.Module,
        accelerator: Accelerator,
        *,
        layout: torch.memory_format = torch.contiguous_format,
        compiled: str | None = None,
    ) -> None:
        super().__init__()
        self.model, self._accelerator, self._layout = model, accelerator, layout
        self._gather = Ranks(accelerator).gather
        self._compiled = None if compiled is None else compiled_once(model, compiled)

    def forward(self, x: Tensor, state: Any = None, *, steps: range) -> tuple[Tensor, Any]:
        x = self._accelerator.convert(x)
        if self._layout != torch.contiguous_format:
            x = laid_out(x, self._layout)
        if self._gather is not None:
            steps = carrying(steps, gather=self._gather)
        run = self.model if self._compiled is None else self._compiled
        with self._accelerator.autocast():
            output: tuple[Tensor, Any] = run(x, state, steps=steps)
        return output


class Updater:
    """An updater that trains `model` with plans of `rule`; `network` wraps it in `accelerator`'s precision.

    With several ranks, gradients are averaged over ranks once per update, in the backward pass of the update's last
    loss.

    In float16, gradients are computed from a scaled loss, and are unscaled once before clipping. If a gradient is not
    finite, the optimiser step is skipped and the scale is lowered.

    Args:
        accelerator: device, processes and precision.
        model: the network to train.
        optimizer: optimiser of its parameters.
        rule: a learning rule.
        penalty: penalty on the activity of the layers, added to every loss.
        after: called after each update that is not skipped.
        clip_norm, channels_last: as in `config.TrainingConfig`.
        compiled: backend of torch.compile for the module that computes losses; None does not compile.
    Attributes:
        skipped: number of optimiser steps skipped so far.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        rule: Rule,
        *,
        penalty: Penalty | None = None,
        clip_norm: float | None = None,
        channels_last: bool = False,
        compiled: str | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._accelerator, self._rule, self._penalty = accelerator, rule, penalty
        layout = torch.channels_last if channels_last else torch.contiguous_format
        lay_out(model, layout)
        self._wrapped = accelerator.setup(model)
        self.network = InPrecision(model, accelerator, layout=layout)
        # The module that computes losses; with several ranks, its hooks average gradients.
        self._with_hooks = InPrecision(self._wrapped, accelerator, layout=layout, compiled=compiled)
        self._optimizer, self._one_pass = optimizer, OnePass(optimizer)
        self._clip_norm, self._after = clip_norm, after
        self.skipped = 0
        self._ranks = Ranks(accelerator)

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        plan: Plan,
        *,
        share: float = 1.0,
        last: bool = True,
        agree: Agree | None = None,
        hear: Callable[[Tensor], None] = lambda outputs: None,
        carry: Carry | None = None,
    ) -> float:
        """Train on a batch [T or 1, B, ...] and return the loss of each update, without the penalty.

        Pass this rank's share of the batch as `x` and `target`; the returned loss covers all ranks. After a non-finite
        loss on any rank, this update and all later updates are skipped.

        Args:
            share: weight of this batch in its update; less than 1 if several batches make one update.
            last: whether the update ends with this batch; otherwise the next batch adds to the gradients, and the plan
                must have one update.
            agree: exchanges the loss with all ranks, once per update.
            hear: gets the outputs [K, B, n] of the steps of each loss, in order.
            carry: state of the stream that x belongs to; batch norms then normalise by their running statistics.
        """
        assert last or sum(plan.updates) == 1, "several batches make one update"
        agree = agree or self._ranks.mean_value
        mean = self._ranks.mean if self._ranks.count > 1 else None
        watch = None if self._penalty is None else Watch(self.network.model, self._penalty, mean=mean)
        network = self._with_hooks if watch is None else Carrying(self._with_hooks, measures=watch.measures)
        steps = run(self._rule, network, x, target, plan, carry)
        # An update with several losses has the mean of their penalties.
        of_penalty = sum(plan.updates) / len(plan.updates)
        total, of_update = 0.0, 0.0
        for update in plan.updates:
            with self._accelerator.without_averaging(self._wrapped, enabled=not (update and last)):
                step = self._checked(next(iter(steps), None), plan)
                hear(step.logits)
                penalised = step.loss if watch is None else step.loss + of_penalty * watch.penalty()
                # A non-finite penalty invalidates the update, as a non-finite loss does.
                of_update += step.loss.item() if watch is None or penalised.isfinite() else math.nan
                # Ranks meet in the backward pass, so all of them run it, whatever their losses are.
                self._accelerator.backward(penalised if share == 1.0 else share * penalised)
            if update:
                of_update = agree(of_update)
                if not math.isfinite(of_update):
                    return of_update
                if last:
                    self._step_optimizer()
                total, of_update = total + of_update, 0.0
        if next(iter(steps), None) is not None:
            raise TrainingError(f"{self._name} yields more steps than its plan's {len(plan.updates)} updates")
        return total / sum(plan.updates)

    def _step_optimizer(self) -> None:
        """Step the optimiser with the accumulated gradients, and then clear them."""
        scaler, optimizer = self._accelerator.scaler, self._optimizer
        if self._clip_norm is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            # A non-finite gradient is skipped in float16; otherwise the loop finds it in the weights.
            torch.nn.utils.clip_grad_norm_(parameters, self._clip_norm, error_if_nonfinite=False)
        if scaler is None:
            self._one_pass.prepare()
            optimizer.step()
            skipped = False
        else:
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped = scaler.get_scale() < before
        self.skipped += skipped
        optimizer.zero_grad()
        if not skipped:
            self._after()

    @property
    def _name(self) -> str:
        return f"the rule {type(self._rule).__name__}"

    def _checked(self, step: object, plan: Plan) -> Step:
        """Return a rule's step, or raise `TrainingError` if `step` is not a `Step`."""
        if not isinstance(step, Step):
            seen = "nothing more" if step is None else f"a {type(step).__name__}"
            raise TrainingError(
                f"{self._name} yields {seen}; it must yield one hdlif.learning.Step for each of its plan's "
                f"{len(plan.updates)} updates"
            )
        return step


def compiled_once(model: nn.Module, backend: str) -> Callable[..., tuple[Tensor, Any]]:
    """Compile `model` once for all time steps with torch.compile, and return the compiled function.

    In a compiled graph, the number of steps is a constant, while the step indices are an input. Running steps one by
    one requires four graphs: one with and one without gradients for the first step of a sequence, and the same for
    later steps. Steps without gradients also run one by one, even if a rule requests several in one call. The
    compiled function uses the model's own parameters, names and hooks.
    """

    # A function, because a compiled module would become a second child of its owner.
    def run(x: Tensor, state: Any, *, steps: range) -> tuple[Tensor, Any]:
        output: tuple[Tensor, Any] = model(x, state, steps=steps)
        return output

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    # Inductor of PyTorch 2.13 overwrites a buffer of GLIF's backward pass that is read later: wrong gradients.
    options: dict[str, Any] | None = {"inplace_buffers": False} if backend == "inductor" else None
    compiled = torch.compile(run, backend=backend, dynamic=False, options=options)

    def one_by_one(x: Tensor, state: Any, *, steps: range) -> tuple[Tensor, Any]:
        if torch.is_grad_enabled() or len(steps) == 1 or not isinstance(steps, range):
            whole: tuple[Tensor, Any] = compiled(x, state, steps=steps)
            return whole
        outputs = []
        for place, t in enumerate(steps):
            output, state = compiled(chunk(x, range(place, place + 1)), state, steps=range(t, t + 1))
            outputs.append(output)
        return torch.cat(outputs), state

    return one_by_one
