"""From one batch to optimiser updates: the rule's losses, back-propagated in the precision of a Fabric."""

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hdlif.learning import Plan, Rule
from hdlif.training.activity import Penalty, Watch, watching
from hdlif.training.ranks import Ranks


class InPrecision(nn.Module):
    """A model whose every call runs in the precision of `fabric`.

    Fabric's own wrapper takes sequences among the arguments apart, and cannot put a `range` together again.
    """

    def __init__(self, model: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.model, self._fabric = model, fabric

    def forward(self, x: Tensor, state: Any = None, *, steps: range) -> tuple[Tensor, Any]:
        x = self._fabric.strategy.precision.convert_input(x)
        with self._fabric.autocast():
            output: tuple[Tensor, Any] = self.model(x, state, steps=steps)
        return output


class Updater:
    """Carries out the plans of `rule` on `model`; `network` is the model in the precision of `fabric`.

    On several ranks gradients are averaged once an update, in the backward pass of its last loss.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        rule: Rule,
        *,
        penalty: Penalty | None = None,
    ) -> None:
        self._fabric, self._rule, self._penalty = fabric, rule, penalty
        self._wrapped, self._optimizer = fabric.setup(model, optimizer)
        self.network = InPrecision(model, fabric)
        # What losses are computed with: behind it, where there are several ranks, stand the hooks that average.
        self._learner = InPrecision(self._wrapped._forward_module, fabric)
        self._ranks = Ranks(fabric)

    def __call__(self, x: Tensor, target: Tensor, plan: Plan) -> tuple[float, Tensor]:
        """The loss per update (without penalty) and the mean logits [B, classes] of a batch [T or 1, B, ...].

        x and target are this rank's share of the batch, and so are the logits; the loss is that of all ranks. An
        update whose loss is not finite, on whatever rank, is the last and not made.
        """
        if self._penalty is None:
            return self._carry_out(x, target, plan, None)
        with watching(self.network, self._penalty, mean=self._ranks.mean) as watch:
            return self._carry_out(x, target, plan, watch)

    def _carry_out(self, x: Tensor, target: Tensor, plan: Plan, watch: Watch | None) -> tuple[float, Tensor]:
        steps = self._rule(self._learner, x, target, plan)
        # An update of several losses has the mean of their penalties.
        share = sum(plan.updates) / len(plan.updates)
        total, of_update, logits = 0.0, 0.0, []
        for update in plan.updates:
            with self._fabric.no_backward_sync(self._wrapped, enabled=not update):
                step = next(steps)
                of_update += step.loss.item()
                logits.append(step.logits)
                if update:
                    # Before the backward pass in which ranks meet: all go into it, or none.
                    of_update = self._ranks.mean_value(of_update)
                    if not math.isfinite(of_update):
                        return of_update, step.logits[-1]
                penalised = step.loss if watch is None else step.loss + share * watch.penalty()
                self._fabric.backward(penalised)
            if update:
                self._optimizer.step()
                self._optimizer.zero_grad()
                total, of_update = total + of_update, 0.0
        assert next(steps, None) is None, "a plan names every step that its rule yields"
        return total / sum(plan.updates), torch.cat(logits).mean(0)
