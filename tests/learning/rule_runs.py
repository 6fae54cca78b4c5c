"""Input at random, layers of neurons, and the gradient that one run of a rule gathers."""

from typing import Any

import torch
from torch import Tensor, nn

from hdlif.learning import Plan, Rule
from hdlif.nn import BatchNorm1d, Sequential
from small_networks import gradients

INPUTS, WIDTH, CLASSES = 3, 4, 3


def drawn(*shape: int, seed: int = 1) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layers(*neurons: nn.Module, first: type[nn.Module] = nn.Linear, **options: Any) -> Sequential:
    """Layers of a synapse, a batch norm and neurons, and a classifier."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for number, neuron in enumerate(neurons):
        norm = BatchNorm1d(WIDTH)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        modules += [first(WIDTH if number else INPUTS, WIDTH, **options), norm, neuron]
    return Sequential(*modules, nn.Linear(WIDTH, CLASSES)).double().train()


def learn(
    rule: Rule, net: nn.Module, x: Tensor, plan: Plan | None = None, *, target: Tensor | None = None, **given: Any
) -> dict[str, Tensor]:
    """Return the gradient of one run, by default over the steps of x [T, B, ...] and with three classes."""
    if plan is None:
        plan = rule.schedule(len(x), torch.Generator().manual_seed(0))
    net.zero_grad()
    for step in rule(net, x, torch.arange(x.shape[1]) % 3 if target is None else target, plan, **given):
        step.loss.backward()
    return gradients(net)
