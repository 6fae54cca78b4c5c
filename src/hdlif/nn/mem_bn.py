"""Mem-BN, a weighted sum of the membrane potential and its batch norm, with a separate batch norm per time step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError
from hdlif.nn.batch_statistics import Gather, normalise_by_batch
from hdlif.nn.per_step import PerStep
from hdlif.nn.steps import Row, last_of, row_of, set_row, share


class MemBN(PerStep):
    """A layer that computes m̂_t = α_t·m_t + β_t·BN_t(m_t) with BN_t(m) = weight_t·(m - μ_t)/√(σ²_t + eps) + bias_t.

    Every step has its own BN per channel. The statistics of a step cover only the batches in which that step ran. With
    single-step random training, step t (the first is t = 1) runs on average in (T - t + 1)/T of all batches. Initially,
    α = 1 and β = 0, so Mem-BN has no effect. Steps beyond T share the parameters and statistics of the last step. In
    eval mode, m̂ = α*·m - β* (see `affine`). Deployment folds Mem-BN into the leak and the threshold
    (`deploy.fold_mem_bn`), so Mem-BN costs nothing at inference.

    Pass a `MemBN` to a neuron:

    >>> import torch
    >>> from hdlif.nn import HDLIF, MemBN
    >>> neuron = HDLIF(time_steps=4, norm=MemBN(time_steps=4, channels=3))
    >>> spikes, state = neuron(torch.randn(4, 8, 3, 5, 5), None, range(4))
    >>> neuron.norm.num_batches_tracked.tolist()
    [1, 1, 1, 1]

    Args:
        time_steps: T.
        channels: C of the membrane [B, C, ...].
        mix: "raw" trains α and β directly; "sigmoid" trains α = σ(a) and β = σ(b), both initially ½, like the paper's
            release.
        momentum: weight of a new batch's statistics; None takes the mean over all batches.
        eps: added to the variance.
    Raises:
        ValueError: `mix` is neither.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        time_steps: int,
        channels: int,
        *,
        mix: str = "raw",
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> None:
        super().__init__(time_steps)
        if mix not in ("raw", "sigmoid"):
            raise ValueError(f"mix = {mix!r}; choose one of raw, sigmoid")
        self.channels, self.mix, self.eps, self.momentum = channels, mix, eps, momentum
        self.weight = nn.Parameter(torch.ones(time_steps, channels))
        self.bias = nn.Parameter(torch.zeros(time_steps, channels))
        self.mem_scale = nn.Parameter(torch.ones(time_steps) if mix == "raw" else torch.zeros(time_steps))
        self.bn_scale = nn.Parameter(torch.zeros(time_steps))
        self.register_buffer("running_mean", torch.zeros(time_steps, channels))
        self.register_buffer("running_var", torch.ones(time_steps, channels))
        self.register_buffer("num_batches_tracked", torch.zeros(time_steps, dtype=torch.int64))

    def gains(self) -> tuple[Tensor, Tensor]:
        """Return α and β, with one value per step: [T] each."""
        if self.mix == "sigmoid":
            return torch.sigmoid(self.mem_scale), torch.sigmoid(self.bn_scale)
        return self.mem_scale, self.bn_scale

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return α* and β*, [T, C] each, such that m̂_t = α*_t·m_t - β*_t in eval mode.

        With g = weight/√(σ² + eps), α* = α + β·g and β* = β·(g·μ - bias).
        """
        alpha, beta = (gain[:, None] for gain in self.gains())
        slope = self.weight / torch.sqrt(self.running_var + self.eps)
        return alpha + beta * slope, beta * (slope * self.running_mean - self.bias)

    def forget(self, time_steps: int) -> None:
        """Reset the statistics of the first `time_steps` steps."""
        self.running_mean[:time_steps] = 0
        self.running_var[:time_steps] = 1
        self.num_batches_tracked[:time_steps] = 0

    def forward(self, membrane: Tensor, step: Row, gather: Gather | None = None) -> Tensor:
        """Return m̂ for the membrane potential m, [B, C, ...], at time step `step`.

        If `gather` is given, the statistics cover the batches of all ranks.
        """
        if membrane.ndim < 2 or membrane.shape[1] != self.channels:
            raise ShapeError(f"membrane has shape {list(membrane.shape)}; Mem-BN takes [B, {self.channels}, ...]")
        t = last_of(step, self.time_steps)
        # Copy: a backward pass keeps its arguments, and all rows share one version counter.
        running = row_of(self.running_mean, t).clone(), row_of(self.running_var, t).clone()
        affine = row_of(self.weight, t), row_of(self.bias, t)
        if self.training:
            with torch.no_grad():
                count = row_of(self.num_batches_tracked, t) + 1
                set_row(self.num_batches_tracked, t, count)
            momentum = share(1, count) if self.momentum is None else self.momentum
            normalised = normalise_by_batch(membrane, running, *affine, momentum=momentum, eps=self.eps, gather=gather)
            set_row(self.running_mean, t, running[0])
            set_row(self.running_var, t, running[1])
        else:
            normalised = F.batch_norm(membrane, *running, *affine, eps=self.eps)
        alpha, beta = self.gains()
        return row_of(alpha, t) * membrane + row_of(beta, t) * normalised

    def extra_repr(self) -> str:
        return f"time_steps={self.time_steps}, channels={self.channels}, mix={self.mix!r}"
