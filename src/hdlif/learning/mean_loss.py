"""The loss of the mean output, for rules that back-propagate through only some of the steps at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, Timed, first_step, step_weights
from hdlif.learning.online import outputs_without_graph
from hdlif.learning.rule import Carry, Plan, standing
from hdlif.nn import HeldWeights, carrying
from hdlif.nn.modes import left_as_it_was

Loss = Literal["each", "reduced"]


@dataclass(frozen=True)
class Tangent:
    """A first-order approximation of the loss around a sequence's mean output ō: L(ō) + <dL/dō, o - ō> for outputs o.

    The loss L depends on outputs only through ō, so dL/do_t is dL/dō times the weight of step t in ō. As a criterion,
    `Tangent` gives each step the exact gradient dL/do_t, and the mean of `Tangent` over the steps is L(ō).

    Attributes:
        value: L(ō).
        mean: ō, [B, n].
        slope: dL/dō, [B, n].
    """

    value: Tensor
    mean: Tensor
    slope: Tensor

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self.value + ((outputs.to(self.mean.dtype) - self.mean) * self.slope).sum()


def check_loss(loss: str, update: str = "sum", *, choices: Sequence[str] = get_args(Loss)) -> None:
    """Raise `ValueError` unless `loss` is one of `choices` and compatible with `update`."""
    if loss not in choices:
        raise ValueError(f"loss = {loss!r}; choose one of {', '.join(choices)}")
    if loss == "reduced" and update == "each":
        raise ValueError(
            'loss = "reduced" cannot be combined with update = "each", which changes the outputs; choose "sum"'
        )


def criterion_of(
    loss: str,
    criterion: Criterion,
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    plan: Plan,
    *,
    span: int = 1,
    carry: Carry | None = None,
) -> Criterion:
    """Return the criterion for the steps of a batch, which is based on the mean output if `loss` is "reduced".

    If `loss` is "reduced", all T steps first run `span` steps at a time, without a graph and without changes to the
    model. If each step has its own target, the loss is the mean of the steps' losses, as in `STBP`.
    """
    if loss != "reduced" or (isinstance(criterion, Timed) and criterion.each):
        return criterion
    mean = _mean_output(model, x, plan, criterion, span, carry)
    with torch.enable_grad():
        mean.requires_grad_()
        value = criterion(mean, target)
        (slope,) = torch.autograd.grad(value, mean)
    return Tangent(value.detach(), mean.detach(), slope)


def _mean_output(
    model: nn.Module, x: Tensor, plan: Plan, criterion: Criterion, span: int, carry: Carry | None
) -> Tensor:
    """Return ō = Σ_t w_t·o_t over the steps with a loss, [B, n], in float32 or wider."""
    first, weights = first_step(criterion), step_weights(criterion, plan.time_steps)
    state, before = standing(carry)
    mean: Tensor | None = None
    with left_as_it_was(model, x.device), torch.no_grad():
        steps = carrying(range(before, before + plan.time_steps), weights=HeldWeights(model).weights or None)
        for part, outputs, _ in outputs_without_graph(model, x, state, steps, span, before=before):
            for t, one in zip(part, outputs.to(torch.promote_types(outputs.dtype, torch.float32)), strict=True):
                if t - before >= first:
                    own = one * weights[t - before - first]
                    mean = own if mean is None else mean.add_(own)
    assert mean is not None, "a step counts"
    return mean
