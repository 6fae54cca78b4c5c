"""OTTT (Xiao et al., NeurIPS 2022) and NDOT, which replace the temporal gradient with presynaptic traces."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, first_step, probabilities
from hdlif.learning.mean_loss import Loss, check_loss, criterion_of
from hdlif.learning.online import at_once
from hdlif.learning.paths import remembered
from hdlif.learning.rule import Carry, Plan, Step
from hdlif.learning.sltt import Update, check_update, every_step, weight_of_step
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces


@dataclass(frozen=True)
class OTTT:
    """SLTT with weight gradients from traces: dL/dW = Σ_t d_t ⊗ a_t, where a_t = λ·a_{t-1} + s_t.

    Here, d_t is the gradient of step t's loss with respect to the membrane potential, and the previous potential is
    detached. For the last spiking layer, the result equals the STBP gradient if the soft reset is detached, the leak λ
    is constant and the batch-norm statistics are frozen. For earlier layers, the gradient is an approximation.
    `OTTTCriterion` implements the published loss per step, ((1 - c)·CE + c·MSE(one-hot))/T.

    >>> import torch
    >>> from hdlif.learning import OTTT
    >>> OTTT("sum", leak=0.5).schedule(4, torch.Generator()).updates
    (False, False, False, True)

    See `SLTT` for an example of an update.

    Args:
        update: "sum" makes one update with the gradient of all T steps (OTTT-A); "each" one after every step (OTTT-O).
        leak: λ of the traces; the neurons' own leaks may differ or be learned.
        chunk: steps to run and back-propagate together, each cut from the others, as in `SLTT`.
        loss: "each" or "reduced", as in `SLTT`.
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    Memory covers one step (or `chunk` steps), plus a trace for the input of every synapse before a membrane, on the
    paths that the network's blocks declare (`nn.Temporal.paths`) or that are traced. A synapse that cannot have a trace
    raises an error.
    """

    update: Update = "sum"
    leak: float = 0.5
    criterion: Criterion = F.cross_entropy
    chunk: int = 1
    loss: Loss = "each"

    _dynamic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_update(self.update, self.chunk)
        check_loss(self.loss, self.update)
        if self._dynamic and self.chunk > 1:
            raise ValueError(
                f"chunk = {self.chunk}; it must be 1, because these traces are computed one step at a time"
            )
        if not 0 <= self.leak <= 1:
            raise ValueError(f"leak = {self.leak}; it must lie in 0..1")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return every_step(time_steps, self.update, self.chunk, first=first_step(self.criterion))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        weight = weight_of_step(self.update, self.criterion, plan)
        traces = Traces(remembered(model, x, plan.time_steps), TraceRule(self.leak, self._dynamic))
        criterion = criterion_of(self.loss, self.criterion, model, x, target, plan, span=self.chunk, carry=carry)
        run = at_once(self.chunk)
        return run(model, x, target, plan, criterion=criterion, weight=weight, observers=[traces], carry=carry)


@dataclass(frozen=True)
class OTTTCriterion:
    """The loss (1 - mse_share)·cross-entropy + mse_share·MSE(logits, target as probabilities).

    >>> import torch
    >>> from hdlif.learning import OTTT, OTTTCriterion
    >>> rule = OTTT("sum", criterion=OTTTCriterion(mse_share=0.05))
    >>> OTTTCriterion(mse_share=1.0)(torch.tensor([[1.0, 1.0]]), torch.tensor([0])).item()
    0.5

    Args:
        mse_share: weight of the mean squared error, 0 to 1.
        label_smoothing: label smoothing of the cross-entropy, 0 to 1.
    """

    mse_share: float = 0.05
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mse_share <= 1:
            raise ValueError(f"mse_share = {self.mse_share}; it must lie in 0..1")

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        distance = F.mse_loss(logits, probabilities(target, logits))
        return (1 - self.mse_share) * entropy + self.mse_share * distance


@dataclass(frozen=True)
class NDOT(OTTT):
    """OTTT with traces a_t = r_t·a_{t-1} + s_t, which decay by the ratio r_t of successive potential changes.

    For the presynaptic neuron, r_t = clip(u̇_t/u̇_{t-1}, -1, 1) with u̇_t = I_t - (1 - λ)·v_t. If u̇_{t-1} is about 0,
    or no neuron with a potential directly precedes the synapse, r_t = λ. With r = λ everywhere, NDOT is equivalent to
    OTTT.

    `NDOT` reconstructs the method of Jiang et al. (ICML 2024) from the idea that du_{t+1}/du_t is the ratio of the time
    derivatives of u. In exact back-propagation, the ratio belongs to the postsynaptic neuron, which would require a
    trace for each synapse. With the presynaptic ratio, memory is linear in the number of neurons. The reconstruction
    has not been compared with the authors' code.

    >>> import torch
    >>> from hdlif.learning import NDOT
    >>> NDOT("each", leak=0.5).schedule(4, torch.Generator()).updates
    (True, True, True, True)

    See `SLTT` for an example of an update.

    Args:
        update, loss: as in `OTTT`.
        leak: λ of the potential changes, and of traces without a ratio.
        criterion, chunk: as in `OTTT`.
    Memory covers one step, plus a trace and a potential change for the input of every synapse.
    """

    _dynamic: ClassVar[bool] = True
