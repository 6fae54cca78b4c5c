"""NDOT: traces that follow the neurons' own dynamics (after Jiang et al., ICML 2024; a reconstruction)."""

from dataclasses import dataclass
from typing import ClassVar

from hdlif.learning.ottt import OTTT


@dataclass(frozen=True)
class NDOT(OTTT):
    """OTTT whose traces decay by the ratio of their neurons' movements: a_t = r_t·a_{t-1} + s_t.

    r_t = clip(u̇_t/u̇_{t-1}, -1, 1) with u̇_t = I_t - (1 - λ)·v_t of the presynaptic neuron, and r_t = λ where u̇_{t-1} is
    about 0 or no neuron with a potential stands directly before the synapse; with r = λ everywhere it is OTTT.

    This is a reconstruction from the method's idea, that du_{t+1}/du_t is the ratio of the time derivatives of u. Exact
    back-propagation has that factor at the postsynaptic neuron, which would take a trace for each synapse; the
    presynaptic ratio is the form that stays linear in the neurons. It was not compared with the authors' code.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.learning import NDOT
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> rule, x, target = NDOT("sum"), torch.rand(4, 5, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> plan = rule.schedule(4, torch.Generator().manual_seed(0))
    >>> for step in rule(model, x, target, plan):
    ...     step.loss.backward()
    ...     if step.update:
    ...         optimizer.step()
    ...         optimizer.zero_grad()

    Args:
        update, loss: as in `OTTT`.
        leak: λ of the movements, and of the traces where there is no ratio.
        criterion, chunk: as of `OTTT`.
    Memory is that of one step, and of a trace and a movement for every synapse's input.
    """

    _dynamic: ClassVar[bool] = True
