"""NDOT: traces that follow the neurons' own dynamics (after Jiang et al., ICML 2024; a reconstruction)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.online import online_steps
from hdlif.learning.rule import Criterion, Plan, Step
from hdlif.learning.sltt import Update, check_update, every_step
from hdlif.nn.traces import traced


@dataclass(frozen=True)
class NDOT:
    """OTTT whose traces decay by the ratio of their neurons' movements: a_t = r_t·a_{t-1} + s_t.

    r_t = clip(u̇_t/u̇_{t-1}, -1, 1) with u̇_t = I_t - (1 - λ)·v_t of the presynaptic neuron, and r_t = λ where u̇_{t-1} is
    about 0 or no neuron with a potential stands directly before the synapse; with r = λ everywhere it is OTTT.

    This is a reconstruction from the method's idea, that du_{t+1}/du_t is the ratio of the time derivatives of u. Exact
    back-propagation has that factor at the postsynaptic neuron, which would take a trace for each synapse; the
    presynaptic ratio is the form that stays linear in the neurons. It was not compared with the authors' code.

    Args:
        update: "sum" makes one update with the gradient of all T steps, "each" one after every step.
        leak: λ of the movements, and of the traces where there is no ratio.
    Memory is that of one step, and of a trace and a movement for every synapse's input.
    """

    update: Update = "sum"
    leak: float = 0.5
    criterion: Criterion = F.cross_entropy

    def __post_init__(self) -> None:
        check_update(self.update)
        if not 0 <= self.leak <= 1:
            raise ValueError(f"leak = {self.leak}; it must lie in 0..1")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return every_step(time_steps, self.update)

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        weight = 1.0 if self.update == "each" else 1 / plan.time_steps
        with traced(model, leak=self.leak, dynamic=True):
            yield from online_steps(model, x, target, plan, criterion=self.criterion, weight=lambda t: weight)
