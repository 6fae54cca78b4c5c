"""From one batch to optimiser updates: losses, back-propagated in an accelerator's precision, and clipping."""

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
"""Most graphs of one network that torch.compile keeps, for chunks of so many lengths; beyond, it runs as it is."""


Agree = Callable[[float], float]
"""From an update's loss on this rank to the mean loss of all ranks."""


class InPrecision(nn.Module):
    """A model whose every call runs in the precision of an accelerator, on the batch of all its ranks.

    Args:
        layout: of each frame in memory.
        compiled: torch.compile's backend; None runs the model as it is.
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
    """Carries out the plans of `rule` on `model`; `network` is the model in the precision of `accelerator`.

    On several ranks gradients are averaged once an update, in the backward pass of its last loss.

    In float16, gradients are those of the scaled loss: they are unscaled once, before clipping, and where one of them
    is not finite the step of the optimiser is skipped and the scale lowered.

    Args:
        accelerator: device, processes and precision.
        model: the network that learns.
        optimizer: of its parameters.
        rule: a learning rule.
        penalty: on the activity of the layers, added to every loss.
        after: called after each update that is not skipped.
        clip_norm, channels_last: as in `config.TrainingConfig`.
        compiled: torch.compile's backend for what losses are computed with; None runs the model as it is.
    Attributes:
        skipped: steps of the optimiser skipped so far.
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
        # Module that computes losses; with several ranks, its hooks average gradients.
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
        """Learn from a batch [T or 1, B, ...]; the loss per update, without penalty.

        x and target are this rank's share of the batch; the loss is that of all ranks. An update whose loss is not
        finite, on whatever rank, is the last and not made.

        Args:
            share: of this batch in its update; less than 1 where several batches make one.
            last: whether the update ends with it; otherwise gradients stay for the next batch to add to, which asks
                for a plan of one update.
            agree: asks all ranks, once an update.
            hear: gets the outputs [K, B, n] of the steps of each loss, in their order.
            carry: state of the stream that x belongs to; batch norms then normalise by their running statistics.
        """
        assert last or sum(plan.updates) == 1, "several batches make one update"
        agree = agree or self._ranks.mean_value
        mean = self._ranks.mean if self._ranks.count > 1 else None
        watch = None if self._penalty is None else Watch(self.network.model, self._penalty, mean=mean)
        network = self._with_hooks if watch is None else Carrying(self._with_hooks, measures=watch.measures)
        steps = run(self._rule, network, x, target, plan, carry)
        # An update of several losses has the mean of their penalties.
        of_penalty = sum(plan.updates) / len(plan.updates)
        total, of_update = 0.0, 0.0
        for update in plan.updates:
            with self._accelerator.without_averaging(self._wrapped, enabled=not (update and last)):
                step = self._checked(next(iter(steps), None), plan)
                hear(step.logits)
                penalised = step.loss if watch is None else step.loss + of_penalty * watch.penalty()
                # A penalty that is not finite spoils the update as such a loss does.
                of_update += step.loss.item() if watch is None or penalised.isfinite() else math.nan
                # Ranks meet in the backward pass: all go into it, whatever their losses are.
                self._accelerator.backward(penalised if share == 1.0 else share * penalised)
            if update:
                of_update = agree(of_update)
                if not math.isfinite(of_update):
                    return of_update
                if last:
                    self._step_optimizer()
                total, of_update = total + of_update, 0.0
        if next(iter(steps), None) is not None:
            raise TrainingError(f"{self._name} yields more steps than the {len(plan.updates)} of its plan's updates")
        return total / sum(plan.updates)

    def _step_optimizer(self) -> None:
        """Step the optimiser on the gradients that have gathered, and clear them."""
        scaler, optimizer = self._accelerator.scaler, self._optimizer
        if self._clip_norm is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            # A gradient that is not finite is float16's to skip, or the loop's to find in the weights.
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
        """Return a rule's step. Raises `TrainingError` if it is not one."""
        if not isinstance(step, Step):
            seen = "nothing more" if step is None else f"a {type(step).__name__}"
            raise TrainingError(
                f"{self._name} yields {seen}; it yields a hdlif.learning.Step for each of the {len(plan.updates)} "
                "entries of its plan's updates"
            )
        return step


def compiled_once(model: nn.Module, backend: str) -> Callable[..., tuple[Tensor, Any]]:
    """`model` through torch.compile, once for all time steps.

    A graph has the number of its steps for a constant, and which they are for an input: steps that are run one by one
    take four graphs, the first of a sequence and the others, with and without gradients. So steps without gradients,
    which rules run several at a time, are run one by one. Names, parameters and hooks are the model's own.
    """

    # A function, since a compiled module would be a second child of whoever holds it.
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
