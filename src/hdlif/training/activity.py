"""Penalties on activity: what the user pays of accuracy for fewer spikes, hence operations, energy and time.

A penalty sees the spikes of the steps that have a graph, and adds to their loss. The number of spikes has no
derivative; H(s) of a spike s >= 0 is counted as 1 where s > 0, and differentiated as the triangle (1 - s)+ there, so
that the spikes nearest to silence are silenced first. Silent neurons get no gradient.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.nn import Neuron, QuantConv2d, QuantLinear


def _alone(values: Tensor) -> Tensor:
    return values


@dataclass
class Seen:
    """What the layers did since the last `Watch.penalty`: emitted spikes, and inputs of synapses, by layer name.

    `mean` is that over the ranks of the training; their own share of the batch is all that is in the rest.
    """

    spikes: dict[str, list[Tensor]] = field(default_factory=dict)
    inputs: dict[str, list[tuple[nn.Module, Tensor, Tensor]]] = field(default_factory=dict)
    mean: Callable[[Tensor], Tensor] = _alone

    def of_batch(self, means: Tensor) -> Tensor:
        """Means over this rank's share with the value of those over the batch, and their own gradient.

        Gradients are averaged over ranks, and the average of the shares' is the batch's.
        """
        return means + (self.mean(means) - means).detach()


Penalty = Callable[[Seen], Tensor]
"""From what was seen to a number to be added to the loss."""


@dataclass(frozen=True)
class Surplus:
    """weight·Σ over layers of the mean spike: presses all spikes down alike."""

    weight: float

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def __call__(self, seen: Seen) -> Tensor:
        return self.weight * _sum(torch.stack([s.mean() for s in spikes]).mean() for spikes in seen.spikes.values())


@dataclass(frozen=True)
class Density:
    """weight·Σ over layers of (density - target)+, or of the network's mean density where `per_layer` is False."""

    target: float
    weight: float = 1.0
    per_layer: bool = True

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if not 0 <= self.target < 1:
            raise ValueError(f"target = {self.target}; a spike density lies in 0..1")

    def __call__(self, seen: Seen) -> Tensor:
        layers = seen.spikes.values()
        densities = [torch.stack([count(s).mean() for s in spikes]).mean() for spikes in layers]
        if densities:
            densities = list(seen.of_batch(torch.stack(densities)).unbind())
        if self.per_layer:
            return self.weight * _sum((density - self.target).clamp_min(0) for density in densities)
        neurons = torch.tensor([float(spikes[0][0].numel()) for spikes in layers])
        mean = (torch.stack(densities) * (neurons / neurons.sum()).to(densities[0])).sum()
        return self.weight * (mean - self.target).clamp_min(0)


@dataclass(frozen=True)
class Budget:
    """weight·(SOPs/budget - 1)+, with the synaptic operations per image summed over T steps.

    SOPs are estimated as (non-zero inputs) · (fan-out of an input) · (share of non-zero weights) of the body's layers.
    """

    sops: float
    time_steps: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if self.sops <= 0:
            raise ValueError(f"sops = {self.sops}; a budget is above 0")

    def __call__(self, seen: Seen) -> Tensor:
        total = seen.of_batch(_sum(torch.stack([_sops(*run) for run in runs]).mean() for runs in seen.inputs.values()))
        return self.weight * (total * self.time_steps / self.sops - 1).clamp_min(0)


def _check_weight(weight: float) -> None:
    if weight <= 0:
        raise ValueError(f"weight = {weight}; a penalty's weight is above 0, or it rewards what it should punish")


def _sum(terms: Iterable[Tensor]) -> Tensor:
    total = list(terms)
    return torch.stack(total).sum() if total else torch.zeros(())


def _sops(module: nn.Module, x: Tensor, output: Tensor) -> Tensor:
    """Synaptic operations per image and step of a synapse with input x [N, ...] and `output` [N, ...]."""
    assert isinstance(module, QuantConv2d | QuantLinear)
    weight = module.weight_q()
    fan_out = output[0].numel() * weight[0].numel() / x[0].numel() * (weight != 0).float().mean()
    # Currents (a shortcut's input) may be negative: they are counted, and cannot be silenced.
    return (count(x) + (x < 0)).sum() / len(x) * fan_out


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        ctx.save_for_backward(spikes)
        return (spikes > 0).to(spikes.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (spikes,) = ctx.saved_tensors
        return grads[0] * torch.where(spikes > 0, (1 - spikes).clamp_min(0), 0)


def count(spikes: Tensor) -> Tensor:
    """1 where a spike is above 0, else 0, with the derivative (1 - s)+ above 0."""
    counted: Tensor = _Count.apply(spikes)  # type: ignore[no-untyped-call]
    return counted


class Watch:
    """Collects what the layers of a model do where a graph is built; see `watching`."""

    def __init__(self, penalty: Penalty, mean: Callable[[Tensor], Tensor]) -> None:
        self._penalty, self._mean, self.seen = penalty, mean, Seen(mean=mean)

    def penalty(self) -> Tensor:
        """The penalty on what was seen since it was last asked for."""
        seen, self.seen = self.seen, Seen(mean=self._mean)
        return self._penalty(seen)


@contextmanager
def watching(model: nn.Module, penalty: Penalty, *, mean: Callable[[Tensor], Tensor] = _alone) -> Iterator[Watch]:
    """Watch the layers of `model` inside the context; `mean` as in `Seen`."""
    watch = Watch(penalty, mean)
    hooks = []

    def emitted(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: tuple[Tensor, Any]) -> None:
            if torch.is_grad_enabled():
                watch.seen.spikes.setdefault(name, []).append(output[0])

        return hook

    def entered(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if torch.is_grad_enabled():
                watch.seen.inputs.setdefault(name, []).append((module, args[0], output))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            hooks.append(module.register_forward_hook(emitted(name)))
        elif isinstance(module, QuantConv2d | QuantLinear):
            hooks.append(module.register_forward_hook(entered(name)))
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
