"""Penalties on spike activity. They reduce compute, energy and run time at some cost in accuracy.

A penalty covers the time steps that have an autograd graph. Spikes s >= 0 are counted with H(s), which is 1 for s > 0
and otherwise 0. H has no useful derivative, so training uses the triangle (1 - s)+ as its derivative and silences the
smallest spikes first. Silent neurons receive no gradient.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, get_args

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.nn import Measure, Neuron, QuantLayer
from hdlif.training.callback import Callback

Seen = Mapping[str, list[Tensor]]
"""Measures of each pass since they were last read, by layer name."""


class Penalty(Protocol):
    """A penalty term of the loss, computed from a measure of each layer's activity."""

    watches: ClassVar[tuple[type[nn.Module], ...]]
    """Types of layers to measure."""

    def measure(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Return a layer's measures, averaged over the batch of one pass, without keeping feature maps in memory."""

    def __call__(self, seen: Seen) -> Tensor:
        """Return the penalty."""


@dataclass(frozen=True)
class Surplus:
    """The penalty weight·(mean spike), summed over layers, which pushes all spikes down equally."""

    weight: float

    watches: ClassVar[tuple[type[nn.Module], ...]] = (Neuron,)

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def measure(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Return the mean spike."""
        return _wide(output).mean()

    def __call__(self, seen: Seen) -> Tensor:
        return self.weight * _sum(torch.stack(means).mean() for means in seen.values())


@dataclass(frozen=True)
class Density:
    """The penalty weight·(density - target)+, summed over layers, or for all neurons if `per_layer` is False."""

    target: float
    weight: float = 1.0
    per_layer: bool = True

    watches: ClassVar[tuple[type[nn.Module], ...]] = (Neuron,)

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if not 0 <= self.target < 1:
            raise ValueError(f"target = {self.target}; a spike density must lie in 0..1")

    def measure(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Return the density over the whole batch, and the number of neurons."""
        density = count(_wide(output)).mean()
        return torch.stack([density, torch.full_like(density, output[0].numel())])

    def __call__(self, seen: Seen) -> Tensor:
        densities = [torch.stack(passes)[:, 0].mean() for passes in seen.values()]
        if self.per_layer:
            return self.weight * _sum((density - self.target).clamp_min(0) for density in densities)
        neurons = torch.stack([passes[0][1] for passes in seen.values()])
        mean = (torch.stack(densities) * (neurons / neurons.sum())).sum()
        return self.weight * (mean - self.target).clamp_min(0)


@dataclass(frozen=True)
class Budget:
    """The penalty weight·(SOPs/budget - 1)+, with the synaptic operations (SOPs) per image summed over T steps.

    For body layers, SOPs are estimated as (non-zero inputs) · (fan-out of an input) · (fraction of non-zero weights).
    A budget is one number for the whole network, or a mapping from layer names to numbers.
    """

    sops: float | Mapping[str, float]
    time_steps: int
    weight: float = 1.0

    watches: ClassVar[tuple[type[nn.Module], ...]] = get_args(QuantLayer)

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        budgets = self.sops.values() if isinstance(self.sops, Mapping) else [self.sops]
        if not budgets or min(budgets) <= 0:
            raise ValueError(f"sops = {self.sops}; a budget must be above 0")

    def measure(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Return the synaptic operations per image and step, for `x` [N, ...] and `output` [N, ...]."""
        assert isinstance(layer, QuantLayer)
        with torch.no_grad():
            weight = layer.weight_q()
        fan_out = output[0].numel() * weight[0].numel() / x[0].numel() * (weight != 0).float().mean()
        # Currents (a shortcut's input) may be negative: they count, but cannot be silenced.
        x = _wide(x)
        return (count(x) + (x < 0)).sum() / len(x) * fan_out

    def __call__(self, seen: Seen) -> Tensor:
        sops = {name: torch.stack(passes).mean() * self.time_steps for name, passes in seen.items()}
        if isinstance(self.sops, Mapping):
            return self.weight * _sum((sops[name] / budget - 1).clamp_min(0) for name, budget in self.sops.items())
        return self.weight * (_sum(sops.values()) / self.sops - 1).clamp_min(0)


def _check_weight(weight: float) -> None:
    if weight <= 0:
        raise ValueError(f"weight = {weight}; it must be above 0, otherwise the penalty is a reward")


def _sum(terms: Iterable[Tensor]) -> Tensor:
    total = list(terms)
    return torch.stack(total).sum() if total else torch.zeros(())


def _wide(x: Tensor) -> Tensor:
    """Return `x` in float32 or wider, because sums over a batch can overflow float16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


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
    """Return 1 where a spike s is above 0, otherwise 0; the derivative for s > 0 is (1 - s)+."""
    counted: Tensor = _Count.apply(spikes)  # type: ignore[no-untyped-call]
    return counted


class Watch:
    """A recorder of a penalty's measures during forward passes that build an autograd graph.

    `nn.carrying` passes `measures` along with the steps of each forward pass.

    Args:
        mean: averages over ranks, if each has a share of the batch: the penalty then has the value of the whole batch.
            Its gradient covers only this rank's own measures; averaging over ranks turns it into the batch's gradient.
    """

    def __init__(self, model: nn.Module, penalty: Penalty, *, mean: Callable[[Tensor], Tensor] | None = None) -> None:
        self._penalty, self._mean = penalty, mean
        self.seen: dict[str, list[Tensor]] = {}
        self.measures = {
            module: Measure(of=partial(penalty.measure, module), give=partial(self.add, name))
            for name, module in model.named_modules()
            if isinstance(module, penalty.watches) and getattr(module, "fires", True)
        }
        self._watched = [name for name, module in model.named_modules() if module in self.measures]

    def add(self, name: str, measured: Tensor) -> None:
        """Record the measures of one pass through the layer `name`."""
        self.seen.setdefault(name, []).append(measured)

    def penalty(self) -> Tensor:
        """Return the penalty on all passes since the last call.

        Raises:
            TrainingError: a layer was not measured, for example because it was called directly.
        """
        seen, self.seen = self.seen, {}
        if missing := [name for name in self._watched if name not in seen]:
            raise TrainingError(
                f"the activity penalty cannot measure {', '.join(missing)}; run it in hdlif.nn.Sequential, or by its "
                "name with hdlif.nn.Scope"
            )
        return self._penalty(seen if self._mean is None else _of_batch(seen, self._mean))


def _of_batch(seen: Seen, mean: Callable[[Tensor], Tensor]) -> Seen:
    """Give this rank's measures the values of the whole batch, but keep this rank's gradients."""
    measures = [measure for passes in seen.values() for measure in passes]
    if not measures:
        return seen
    own = torch.cat([measure.detach().flatten() for measure in measures])
    missing = iter(torch.split(mean(own) - own, [measure.numel() for measure in measures]))
    return {name: [m + next(missing).view_as(m) for m in passes] for name, passes in seen.items()}


class ActivityPenalty(Callback):
    """A callback that adds a penalty on the layers' activity to every loss.

    A training run supports at most one `ActivityPenalty`.

    >>> from hdlif.training import ActivityPenalty
    >>> from hdlif.training.activity import Density
    >>> penalty = ActivityPenalty(Density(target=0.1, weight=1.0))

    Args:
        penalty: the penalty to add, such as `hdlif.training.activity.Density`.
    """

    def __init__(self, penalty: Penalty) -> None:
        self.penalty = penalty
