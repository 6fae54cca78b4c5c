"""Loss functions for outputs, given labels or a teacher's outputs, and weights for the loss of each time step."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.errors import ShapeError

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Function (outputs [B, n], target) -> scalar loss, a mean over the batch. A target of classes is int64 [B], or
probabilities [B, classes]. A `Timed` criterion also defines the steps that count, and their parts of the target."""


@dataclass(frozen=True)
class Timed:
    """A criterion that uses the outputs of only some steps.

    In this example, the last two of four steps have a loss, with weights ¼ and ¾:

    >>> import torch
    >>> import torch.nn.functional as F
    >>> from hdlif.learning import STBP, Timed
    >>> rule = STBP(criterion=Timed(F.cross_entropy, first=2, weights=(0.25, 0.75)), loss="each")

    Args:
        criterion: compares the outputs [N, n] of one step, or of several concatenated, with their target [N, ...].
        first: the first step that counts; all later steps count too.
        each: whether the target is [B, T, ...], with one entry per step; otherwise it is [B, ...], the same for all
            steps.
        delay: the target at step t is the one of step t - delay; `first` is at least `delay`.
        weights: weights of the losses from step `first` on, each above 0, with sum 1; None for equal weights.
        own: whether the target is int64 [B, 2], a class and the sample's number of steps. Only a sample's own steps
            then count: a loss over all steps uses the outputs of `after_own`, and a loss of a single step is (1/B)·Σ_b
            over the samples that have this step.
    """

    criterion: Criterion
    first: int = 0
    each: bool = False
    delay: int = 0
    weights: tuple[float, ...] | None = None
    own: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= self.first:
            raise ValueError(f"delay = {self.delay}, first = {self.first}; no step before {self.delay} has a target")
        if self.weights is not None and not (
            all(0 < weight < math.inf for weight in self.weights) and math.isclose(sum(self.weights), 1)
        ):
            raise ValueError(f"weights = {list(self.weights)[:5]}; each must be above 0, and their sum 1")

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the outputs of one step, if all steps have the same target.

        Raises:
            ShapeError: each step has its own target; call `loss_at` instead.
        """
        if self.each or self.own:
            raise ShapeError(
                "the target differs between steps, but a direct call of the criterion takes one target for all; the "
                "rule must call hdlif.learning.loss_at(criterion, outputs, target, t)"
            )
        return self.criterion(outputs, target)


def first_step(criterion: Criterion) -> int:
    """Return the first step whose outputs enter the loss.

    See `step_weights` for an example.

    Args:
        criterion: a `Timed`, or any other criterion, for which all steps count.
    """
    return criterion.first if isinstance(criterion, Timed) else 0


@dataclass(frozen=True)
class StepWeights:
    """The weights of `count` losses in a sum, where `weights` is None if all weights are 1/count.

    See `step_weights` for an example.

    Attributes:
        count: number of steps with a loss.
        weights: their weights, in order.
    """

    count: int
    weights: tuple[float, ...] | None = None

    def __getitem__(self, place: int) -> float:
        return 1 / self.count if self.weights is None else self.weights[place]

    def mass(self, start: int, stop: int) -> float:
        """Return the total weight of positions `start` to `stop` - 1."""
        return (stop - start) / self.count if self.weights is None else math.fsum(self.weights[start:stop])

    def beside_even(self, place: int) -> float:
        """Return a position's weight divided by 1/count, the weight of each position if all weights are equal."""
        return 1.0 if self.weights is None else self.weights[place] * self.count


def step_weights(criterion: Criterion, time_steps: int) -> StepWeights:
    """Return the weights of the steps from `first_step` to T - 1.

    >>> import torch.nn.functional as F
    >>> from hdlif.learning import Timed, first_step, step_weights
    >>> criterion = Timed(F.cross_entropy, first=2, weights=(0.25, 0.75))
    >>> first_step(criterion), step_weights(criterion, 4)
    (2, StepWeights(count=2, weights=(0.25, 0.75)))

    Args:
        criterion: as in `loss_over`.
        time_steps: T.
    Raises:
        ValueError: the criterion has weights for another number of steps.
    """
    count = time_steps - first_step(criterion)
    weights = criterion.weights if isinstance(criterion, Timed) else None
    if weights is not None and len(weights) != count:
        raise ValueError(f"the criterion has weights for {len(weights)} steps, but {count} of {time_steps} steps count")
    return StepWeights(count, weights)


def late_weights(count: int) -> tuple[float, ...]:
    """Return weights 2·(i + 1)/(n·(n + 1)) for steps i = 0, ..., n - 1, so the last weight is n times the first.

    >>> late_weights(3)
    (0.16666666666666666, 0.3333333333333333, 0.5)

    Args:
        count: n, at least 1.
    """
    return tuple(2 * (place + 1) / (count * (count + 1)) for place in range(count))


def loss_at(criterion: Criterion, outputs: Tensor, target: Tensor, step: int) -> Tensor:
    """Return the loss of the outputs [B, n] at a time step that has a loss.

    See `loss_over` for an example.

    Args:
        criterion: as in `STBP`, or a `Timed`.
        outputs: outputs of the step, [B, n].
        target: in the criterion's format.
        step: the step's number, from 0.
    """
    if isinstance(criterion, Timed) and criterion.each:
        return criterion.criterion(outputs, target[:, step - criterion.delay])
    if isinstance(criterion, Timed) and criterion.own:
        classes, lengths = target.unbind(1)
        has_step = lengths > step
        if not has_step.any():
            return outputs.sum() * 0
        return criterion.criterion(outputs[has_step], classes[has_step]) * has_step.float().mean()
    return criterion(outputs, target)


def loss_of_steps(
    criterion: Criterion, outputs: Tensor, target: Tensor, steps: Iterable[int], weights: Iterable[float]
) -> Tensor:
    """Return Σ_t weight_t·criterion(outputs_t, target_t) over K steps, given their outputs [K, B, n]."""
    losses = [
        loss_at(criterion, one, target, t) * weight for one, t, weight in zip(outputs, steps, weights, strict=True)
    ]
    return torch.stack(losses).sum()


def weighted_losses(criterion: Criterion, outputs: Tensor, target: Tensor) -> Tensor:
    """Return Σ_t w_t·criterion(outputs_t, target_t) over the steps with a loss, given all outputs [T, B, n]."""
    first, weights = first_step(criterion), step_weights(criterion, len(outputs))
    counted = range(first, len(outputs))
    return loss_of_steps(criterion, outputs[first:], target, counted, (weights[t - first] for t in counted))


def loss_over(criterion: Criterion, outputs: Tensor, target: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the loss for the outputs [T, B, n] of all steps.

    If all steps have the same target, the loss is criterion(reduce(outputs of the steps with a loss), target). If the
    steps share one target and have weights, each output is first multiplied by the ratio of its step's weight to the
    mean weight. If each step has its own target, the loss is the mean, or weighted mean, of criterion(outputs_t,
    target_t) over the steps with a loss.

    >>> import torch
    >>> import torch.nn.functional as F
    >>> from hdlif.learning import Timed, loss_at, loss_over, mean_logits
    >>> outputs, target = torch.tensor([[[1.0]], [[2.0]], [[4.0]]]), torch.tensor([[3.0]])
    >>> loss_over(Timed(F.mse_loss, first=1), outputs, target, mean_logits).item()
    0.0
    >>> loss_at(Timed(F.mse_loss, first=1), outputs[1], target, 1).item()
    1.0

    Args:
        criterion: as in `STBP`, or a `Timed`.
        outputs: outputs of all steps, [T, B, n].
        target: in the criterion's format.
        reduce: maps outputs [K, B, n] to [B, n], such as `mean_logits`.
    """
    if not isinstance(criterion, Timed):
        return criterion(reduce(outputs), target)
    if criterion.own:
        classes, lengths = target.unbind(1)
        outputs, target = after_own(outputs, lengths), classes
    counted = outputs[criterion.first :]
    if criterion.weights is not None:
        if criterion.each:
            return weighted_losses(criterion, outputs, target)
        weights = step_weights(criterion, len(outputs))
        factors = outputs.new_tensor([weights.beside_even(place) for place in range(weights.count)])
        counted = counted * factors.view(-1, *[1] * (outputs.ndim - 1))
    if not criterion.each:
        return criterion.criterion(reduce(counted), target)
    # Reorder [B, T, ...] like the outputs; the mean over all entries is the mean of the steps' means, each over B.
    begin = criterion.first - criterion.delay
    targets = target[:, begin : begin + len(counted)].transpose(0, 1)
    return criterion.criterion(counted.flatten(0, 1), targets.flatten(0, 1))


def after_own(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Replace outputs [T, B, n] beyond the end of each sample with the mean output over the sample's own steps.

    The mean of the replaced outputs over all T steps equals the mean over each sample's own steps.

    >>> import torch
    >>> from hdlif.learning import after_own
    >>> outputs = torch.tensor([[[1.0], [1.0]], [[3.0], [3.0]], [[9.0], [5.0]]])
    >>> after_own(outputs, torch.tensor([2, 3])).squeeze().tolist()
    [[1.0, 1.0], [3.0, 3.0], [2.0, 5.0]]

    Args:
        outputs: outputs of all steps.
        lengths: each sample's number of steps, int64 [B], in 1..T.
    """
    is_own = (torch.arange(len(outputs), device=outputs.device)[:, None] < lengths)[..., None]
    mean = torch.where(is_own, outputs, 0).sum(0) / lengths[:, None]
    return torch.where(is_own, outputs, mean)


def probabilities(target: Tensor, logits: Tensor) -> Tensor:
    """Return a target as class probabilities [B, classes] in the dtype of the logits.

    >>> import torch
    >>> from hdlif.learning import probabilities
    >>> probabilities(torch.tensor([2, 0]), torch.zeros(2, 3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]

    Args:
        target: classes, int64 [B], or probabilities [B, classes].
        logits: [B, classes].
    """
    return (F.one_hot(target, logits.shape[-1]) if target.ndim == 1 else target).to(logits.dtype)


@dataclass(frozen=True)
class Distillation:
    """A distillation loss: (1 - w)·criterion(z, y) + w·τ²·KL(softmax(u/τ) ‖ softmax(z/τ)).

    Here, z are the student's logits, and u are the teacher's logits. All learning rules support `Distillation`. The
    target [B, 2·classes] contains the labels y as probabilities, followed by u. The factor τ² makes the scale of the
    gradient independent of τ (Hinton et al. 2015).

    >>> import torch
    >>> import torch.nn.functional as F
    >>> from hdlif.learning import Distillation
    >>> criterion = Distillation(F.cross_entropy, temperature=2.0, weight=1.0)
    >>> logits = torch.tensor([[1.0, -1.0]])
    >>> teacher = torch.cat([torch.tensor([[1.0, 0.0]]), logits], 1)
    >>> criterion(logits, teacher).item()
    0.0

    Args:
        criterion: the loss with the labels.
        temperature: τ, above 0.
        weight: w, in 0..1.
    """

    criterion: Criterion
    temperature: float
    weight: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature}; it must be above 0")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight = {self.weight}; it must lie in 0..1")

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        labels, taught = target.to(logits.dtype).chunk(2, dim=1)
        soft, soft_taught = (F.log_softmax(z / self.temperature, dim=1) for z in (logits, taught))
        divergence = F.kl_div(soft, soft_taught, log_target=True, reduction="batchmean")
        return (1 - self.weight) * self.criterion(logits, labels) + self.weight * self.temperature**2 * divergence
