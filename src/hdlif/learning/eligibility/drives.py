"""The inputs of a neuron layer: synapses, norms after the synapses, and the factors of dI/dW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hdlif.nn.batch_statistics import Gather
from hdlif.nn.norm import Affine, BatchNorm2d
from hdlif.nn.steps import carried
from hdlif.nn.synapses import QuantLayer


@dataclass(frozen=True)
class Source:
    """A synapse that provides currents in this step, and the batch norm or gain and shift after the synapse, if any."""

    synapse: nn.Module
    x: Tensor
    y: Tensor
    norm: BatchNorm2d | Affine | None = None


@dataclass(frozen=True)
class Slope:
    """The slope dI/dy of the currents I = g·n + β [K, B, N], where n is the normalised output y of a synapse.

    The gain g is broadcast to the shape of the currents.
    """

    gain: Tensor | None = None
    normalised: Tensor | None = None
    coupled: bool = False


@dataclass(frozen=True)
class Drive:
    """The factors of dI/dW = gain·(x - n·product), [K, B, N, M], for K steps.

    If samples are coupled, x [K, B, M] is centred, and `product` is mean(n·x), [K, N, M]. Otherwise, `product` is None.
    """

    x: Tensor
    gain: Tensor | None = None
    normalised: Tensor | None = None
    product: Tensor | None = None

    def _factors(self, factor: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the multipliers of `x` and `product`, [K, B, N] each, in the expression factor·dI/dW."""
        scaled = factor if self.gain is None else factor * self.gain
        return scaled, None if self.normalised is None or self.product is None else scaled * self.normalised

    def add_to(self, trace: Tensor | None, factor: Tensor) -> Tensor:
        """Return trace + Σ_k factor_k·dI_k/dW, [B, N, M], and update the trace in place unless it is None."""
        of_x, of_product = self._factors(factor)
        if len(factor) > 1:
            # One matrix product per sample, and one per neuron.
            by_sample = of_x.permute(1, 2, 0), self.x.transpose(0, 1)
            trace = torch.bmm(*by_sample) if trace is None else trace.baddbmm_(*by_sample)
            if of_product is not None and self.product is not None:
                by_neuron = of_product.permute(2, 1, 0), self.product.transpose(0, 1)
                trace.transpose(0, 1).baddbmm_(*by_neuron, alpha=-1)
            return trace
        if trace is None:
            trace = of_x[0, :, :, None] * self.x[0, :, None, :]
        else:
            trace.addcmul_(of_x[0, :, :, None], self.x[0, :, None, :])
        if of_product is not None and self.product is not None:
            trace.addcmul_(of_product[0, :, :, None], self.product, value=-1)
        return trace

    def summed(self, factor: Tensor) -> Tensor:
        """Return Σ_k Σ_b factor·dI/dW, [N, M], summed over steps and samples."""
        of_x, of_product = self._factors(factor)
        total = of_x.flatten(0, 1).T @ self.x.flatten(0, 1)
        if of_product is not None and self.product is not None:
            total -= (of_product.sum(1)[..., None] * self.product).sum(0)
        return total


def is_matrix(module: nn.Module, x: Tensor) -> bool:
    """Return whether a module is a linear layer or a convolution whose kernel has size 1 or the size of x's maps."""
    if isinstance(module, nn.Linear):
        return True
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.groups != 1:
        return False
    plain = all(size == 1 for size in (*module.kernel_size, *module.stride)) or module.kernel_size == x.shape[3:]
    return plain and (module.padding == "valid" or all(size == 0 for size in module.padding))


def weight_of(synapse: nn.Module, steps: range) -> Tensor:
    """Return the effective weight of a synapse, with a graph to the learned weight."""
    held = carried(steps).weights.get(synapse)
    if held is not None:
        return held
    with torch.enable_grad():
        weight = synapse.weight_q() if isinstance(synapse, QuantLayer) else synapse.weight
    return cast(Tensor, weight)


def diagonal_of(synapse: nn.Module, steps: range) -> Tensor:
    """Return the diagonal of a recurrent synapse's weight U, [N]."""
    weight = weight_of(synapse, steps).detach()
    return weight.flatten(1).diagonal()


def of_steps(value: Tensor, steps: range) -> Tensor:
    """Return a value [K or 1, B, N, ...] as [K, B, N] without a graph."""
    flat = value.detach().flatten(2).to(wide(value))
    return flat.expand(len(steps), *flat.shape[1:])


def wide(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)


def slope_of(
    norm: BatchNorm2d | Affine,
    y: Tensor,
    steps: range,
    gather: Gather | None,
    averages: tuple[Tensor, Tensor] | None,
) -> Slope:
    if isinstance(norm, Affine):
        return Slope(norm.weight.detach().to(y.dtype), y)
    coupled = norm.training and not carried(steps).by_average
    if norm.training and not coupled:
        assert averages is not None, "the norm has run"
        mean, var = averages
    else:
        mean, var = _statistics(norm, y, steps, gather, of_batch=coupled)
    scale = torch.rsqrt(var.to(y.dtype) + norm.eps)[:, None]
    normalised = (y - mean.to(y.dtype)[:, None]) * scale
    return Slope(norm.weight.detach().to(y.dtype) * scale, normalised, coupled)


def _statistics(
    norm: BatchNorm2d, y: Tensor, steps: range, gather: Gather | None, *, of_batch: bool
) -> tuple[Tensor, Tensor]:
    """Return the means and biased variances, [K, C] each, with which a batch norm normalised each step."""
    if of_batch and gather is None:
        var, mean = torch.var_mean(y, 1, correction=0)
        return mean, var
    of_each = [norm.statistics_at(t, of, gather, of_batch=of_batch) for t, of in zip(steps, y, strict=True)]
    mean, var = (torch.stack(one) for one in zip(*of_each, strict=True))
    return mean, var


def drive_of(x: Tensor, slope: Slope, gather: Gather | None) -> Drive:
    if not slope.coupled:
        return Drive(x, slope.gain)
    assert slope.normalised is not None
    sums = torch.cat([x.sum(1, keepdim=True), slope.normalised.transpose(1, 2) @ x], 1)
    count = float(x.shape[1])
    if gather is not None:
        sums, count = gather(sums).sum(0), float(gather(x.new_tensor([count])).sum())
    means = sums / count
    return Drive(x - means[:, :1], slope.gain, slope.normalised, means[:, 1:])
