"""Spatial learning through time: the temporal gradient is cut between steps (Meng et al., ICCV 2023)."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.rule import Criterion, Plan, Step, chunk
from hdlif.nn import State, detach, hold_weights


@dataclass(frozen=True)
class SLTT:
    """Every step is run and back-propagated alone, with the potential it starts from detached.

    Args:
        update: "sum" makes one update with the gradient of (1/T)·Σ_t criterion(logits_t, target); "each" makes an
            update after every step with criterion(logits_t, target), HD-LIF's own online form.
    Memory is that of one step. With HD-LIF neurons the gradient of a step is that of STBP where the neuron fired
    and zero where it was silent (Theorem 4.2 of arXiv 2410.07547).
    """

    update: Literal["sum", "each"] = "sum"
    criterion: Criterion = F.cross_entropy

    def __post_init__(self) -> None:
        if self.update not in ("sum", "each"):
            raise ValueError(f"update = {self.update!r}; choose one of each, sum")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        each = self.update == "each"
        return Plan(
            time_steps,
            tuple(range(time_steps)),
            tuple(each or t == time_steps - 1 for t in range(time_steps)),
        )

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        weight = 1.0 if self.update == "each" else 1 / plan.time_steps
        state: State | None = None
        with hold_weights(model) if self.update == "sum" else nullcontext() as held:
            for t, update in zip(plan.steps, plan.updates, strict=True):
                if held is not None and update:
                    held.last()
                steps = range(t, t + 1)
                logits, state = model(chunk(x, steps), state, steps=steps)
                yield Step(self.criterion(logits[0], target) * weight, logits.detach(), update)
                state = detach(state)
