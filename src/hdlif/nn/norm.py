"""Batch norm that knows time: one normalisation per step, running statistics in step order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.nn.state import State, Temporal, check_chunk


class BatchNorm2d(Temporal):
    """Batch norm over (batch, height, width) of [K, B, C, H, W], per channel and per time step.

    y = weight·(x - μ)/√(σ² + eps) + bias. In train mode each step has its own batch μ and σ², and
    running ← (1 - momentum)·running + momentum·(batch statistic), once per step that ran, in step order. An input
    constant in time (time axis 1) is normalised once, and its statistics enter K times in closed form. In eval
    mode μ and σ² are the running statistics, shared by all steps.

    Args:
        channels: C.
        momentum: weight of a new step's statistics; None takes the mean over all steps seen.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_chunk(x, steps)
        if not self.training:
            y = F.batch_norm(x.flatten(0, 1), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return y.view(x.shape), None
        repeats = len(steps) // x.shape[0]
        normalised = [self._normalise_step(x[k], repeats) for k in range(x.shape[0])]
        return normalised[0].unsqueeze(0) if len(normalised) == 1 else torch.stack(normalised), None

    def _normalise_step(self, x: Tensor, repeats: int) -> Tensor:
        """Normalise one step [B, C, H, W] by its own statistics, which count as those of `repeats` steps."""
        with torch.no_grad():
            self.num_batches_tracked += repeats
            if self.momentum is None:
                momentum = repeats / int(self.num_batches_tracked)
            else:
                momentum = 1 - (1 - self.momentum) ** repeats
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=momentum,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}, momentum={self.momentum}"
