"""Forward mode, which computes the exact temporal gradient within each layer in constant memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, first_step
from hdlif.learning.eligibility import Eligibility, WayBack
from hdlif.learning.mean_loss import Loss, check_loss, criterion_of
from hdlif.learning.online import at_once
from hdlif.learning.rule import Carry, Plan, Step, chunk
from hdlif.learning.sltt import Update, check_update, every_step, weight_of_step
from hdlif.nn import carrying, evaluation_mode
from hdlif.nn.modes import dtype_of

BUDGET = 2**30


@dataclass(frozen=True)
class ForwardMode:
    """SLTT plus the temporal gradient within each layer, dL/dW = Σ_t G_t·ds_t/dW, with ds_t/dW updated step by step.

    A layer consists of weights (fully connected or with kernel size 1), an optional batch norm or gain and shift, and
    neurons. Within a layer, the gradient of weights and of parameters that all steps share equals the gradient of STBP.
    The gradient G_t = dL/ds_t reaches the layers below only through step t (see `learning.eligibility`). A single layer
    of neurons receives STBP's gradient of (1/T)·Σ_t criterion(logits_t, target). In deeper networks, lower layers
    receive an approximate gradient, as with OTTT. A per-step leak or threshold (`per_step`) receives only the gradient
    of its own step.

    The memory holds one step (or `chunk` steps) and traces with one number per sample, weight and neuron state. For a
    batch of B samples, the traces of an HD-LIF layer with M inputs and N neurons contain B·N·M numbers.

    In this example, the traces for a batch of 5, with 2·8 weights and 8 biases, take 480 bytes:

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.learning import ForwardMode
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> ForwardMode().traces_of(model, torch.rand(4, 1, 2), batch=5)
    {'1': 480}

    See `SLTT` for an example of an update.

    Args:
        update: "sum" makes one update with the gradient of all T steps; "each" makes one after every step; traces go
            on.
        chunk: steps to run and back-propagate together, each cut from the others as in `SLTT`: the same gradient up to
            rounding, in much less time, because the traces are read and written once per chunk. Use 1 if layers are
            recurrent.
        recurrent: for layers that read their own outputs (`nn.Recurrent`), whose neurons are coupled through U:
            "diagonal" carries each neuron's connection to itself (SnAp-1; one more trace per weight), "eprop" none.
        budget: largest allowed number of bytes of traces.
        loss: "each" or "reduced", as in `SLTT`; with "reduced", one layer of neurons gets the gradient of `STBP()`.
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    Raises:
        TrainingError: a layer of the network is not supported, or the traces exceed the budget; raised after the first
            step has run, before any update.
    """

    update: Update = "sum"
    criterion: Criterion = F.cross_entropy
    recurrent: WayBack = "diagonal"
    budget: int = BUDGET
    chunk: int = 1
    loss: Loss = "each"

    def __post_init__(self) -> None:
        check_update(self.update, self.chunk)
        check_loss(self.loss, self.update)
        if self.recurrent not in ("diagonal", "eprop"):
            raise ValueError(f"recurrent = {self.recurrent!r}; choose one of diagonal, eprop")
        if self.budget < 0:
            raise ValueError(f"budget = {self.budget}; it must be at least 0 bytes")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return every_step(time_steps, self.update, self.chunk, first=first_step(self.criterion))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        weight = weight_of_step(self.update, self.criterion, plan)
        criterion = criterion_of(self.loss, self.criterion, model, x, target, plan, span=self.chunk, carry=carry)
        kept = None if carry is None else carry.kept
        eligibility = kept if isinstance(kept, Eligibility) else self.eligibility(model)
        if carry is not None and eligibility is not kept:
            eligibility.restore(carry.restored)
            carry.kept, carry.restored = eligibility, {}
        run = at_once(self.chunk)
        return run(model, x, target, plan, criterion=criterion, weight=weight, observers=[eligibility], carry=carry)

    def eligibility(self, model: nn.Module) -> Eligibility:
        """Return new traces of a network, for the first step of a sequence."""
        return Eligibility(model, way_back=self.recurrent, budget=self.budget)

    def traces_of(self, model: nn.Module, x: Tensor, batch: int) -> dict[str, int]:
        """Return the size in bytes of each neuron layer's traces, for `batch` samples like x [T or 1, 1, ...].

        The function runs one step of one sample to compute the sizes before training.

        Raises:
            TrainingError: a layer has no eligibility, or the traces exceed the budget.
        """
        found = self.eligibility(model)
        one = range(1)
        steps = carrying(one, observers=[found], cut=self.chunk > 1)
        with evaluation_mode(model), torch.no_grad():
            model(chunk(x, one)[:, :1].to(dtype_of(model, x)), None, steps=steps)
        found.check_budget(batch)
        return {name: size * batch for name, size in found.bytes.items()}
