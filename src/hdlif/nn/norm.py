"""Batch norms for sequences, with running statistics updated in step order, and an affine layer without statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError, StateError
from hdlif.nn.batch_statistics import Gather, batch_statistics, normalise_by_batch
from hdlif.nn.kernels.batch_norm import Norm
from hdlif.nn.kernels.tensors import is_plain
from hdlif.nn.state import State, Temporal, check_chunk, check_stateless, stack_steps, unstacked
from hdlif.nn.steps import Row, carried, last_of, row_of, set_row, share


class BatchNorm2d(Temporal):
    """Batch norm per channel and time step, over the batch, height and width of [K, B, C, H, W].

    y = weight·(x - μ)/√(σ² + eps) + bias. In train mode, μ and σ² are the batch statistics of each step. After each
    step that ran, running ← (1 - momentum)·running + momentum·(batch statistic), in step order. An input that is
    constant in time (time axis of length 1) is normalised once, but updates the running statistics K times. In eval
    mode, μ and σ² are the running statistics. If a batch is split over several ranks, see `carrying`.

    With `carrying(steps, by_average=True)`, which is used for streams, train mode also normalises by the running
    statistics. The gradient treats the running statistics as constants. The batch of each step first updates μ and σ²:
    μ ← μ + momentum·(mean(x) - μ), σ² ← (1 - momentum)·σ² + momentum·mean((x - μ_before)(x - μ_after)).

    >>> import torch
    >>> from hdlif.nn import BatchNorm2d
    >>> norm = BatchNorm2d(channels=3)
    >>> y, state = norm(torch.randn(4, 8, 3, 5, 5), None, range(4))
    >>> bool(y.mean((1, 3, 4)).abs().max() < 1e-5), norm.num_batches_tracked.item(), state
    (True, 4, None)

    Args:
        channels: C.
        time_steps: None shares the running statistics among all steps, as published. Currents differ from step to step,
            so a network trained step by step then runs with the statistics of their mixture. T gives each step its own
            statistics, [T, C]; weight and bias stay shared. Steps beyond T use and update the statistics of the last
            step.
        momentum: weight of a new step's statistics; None takes the mean over all steps.
        eps: added to the variance, 0 or more.
    Raises:
        ValueError: `time_steps`, `momentum` or `eps` is outside its range.
        StateError: `by_average` is combined with statistics per step, or with several ranks.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, *, time_steps: int | None = None, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        super().__init__()
        if time_steps is not None and time_steps < 1:
            raise ValueError(f"time_steps = {time_steps}; it must be at least 1, or None for shared statistics")
        if momentum is not None and not 0 < momentum <= 1:
            raise ValueError(f"momentum = {momentum}; it must lie in (0, 1], or be None for the mean")
        if eps < 0:
            raise ValueError(f"eps = {eps}; it must be at least 0")
        self.eps, self.momentum, self.time_steps = eps, momentum, time_steps
        rows = [] if time_steps is None else [time_steps]
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(*rows, channels))
        self.register_buffer("running_var", torch.ones(*rows, channels))
        self.register_buffer("num_batches_tracked", torch.zeros(rows, dtype=torch.int64))

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_stateless(self, state)
        check_chunk(x, steps)
        if x.is_cpu and torch.is_autocast_enabled("cpu"):
            # The kernels for neurons and codes read the parameters' dtype, and are faster than bfloat16.
            x = x.to(torch.promote_types(x.dtype, self.weight.dtype))
        gather = carried(steps).gather
        if self.training and carried(steps).by_average:
            return self._train_by_average(x, steps, gather), None
        if self.time_steps is None:
            return (self._train_shared(x, steps, gather) if self.training else self._run_shared(x)), None
        if self.training and len(x) == 1 < len(steps):
            # Normalise once, but count every step.
            y = self._normalise(x[0], None, 0.0, gather)[None]
            with torch.no_grad():
                mean, var = batch_statistics(x[0], gather)
                for t in steps:
                    row, momentum = self._count(t)
                    for running, found in ((self.running_mean, mean), (self.running_var, var)):
                        set_row(running, row, row_of(running, row).lerp(found.to(running.dtype), momentum))
            return y, None
        x = x.expand(len(steps), *x.shape[1:])
        if self.training and _at_once(x, gather) and steps.stop <= self.time_steps:
            return self._train_rows(x, slice(steps.start, steps.stop)), None
        return stack_steps([self._at(step, t, gather) for step, t in zip(unstacked(x), steps, strict=True)]), None

    def is_rows(self, maps: Tensor, steps: range) -> bool:
        """Return whether the norm from `counted_at` can replace the forward pass on maps [K or 1, B, C, H, W]."""
        # Constant inputs stay constant if their statistics are.
        is_one = len(maps) == 1 and (self.training or self.time_steps is None)
        tensors = (self.weight, self.bias, self.running_mean, self.running_var)
        return (
            type(self).forward is BatchNorm2d.forward
            and (len(maps) == len(steps) or is_one)
            and maps.shape[2] == len(self.weight)
            and (maps[0, :, 0].numel() > 1 if self.training else not torch.is_grad_enabled())
            and all(one.dtype == maps.dtype and is_plain(one, maps.device) and one.is_contiguous() for one in tensors)
        )

    def counted_at(self, steps: range) -> Norm:
        """Count a batch for each given step, and return a norm that the next neuron layer can apply to its input."""
        rows = [0 if self.time_steps is None else min(t, self.time_steps - 1) for t in steps]
        momenta = [0.0 if self.momentum is None else self.momentum] * len(steps)
        if self.training:
            counts = self.num_batches_tracked.view(-1)
            if self.momentum is not None and self.time_steps is None:
                counts.add_(len(steps))
            else:
                for k, row in enumerate(rows):
                    counts[row] += 1
                    momenta[k] = 1 / int(counts[row]) if self.momentum is None else self.momentum
        statistics = self.running_mean, self.running_var
        return Norm(self.weight, self.bias, self.eps, *statistics, rows, momenta, of_batch=self.training)

    def forget(self, time_steps: int) -> None:
        """Reset the statistics of the first `time_steps` steps."""
        rows = ... if self.time_steps is None else slice(time_steps)
        self.running_mean[rows] = 0
        self.running_var[rows] = 1
        self.num_batches_tracked[rows] = 0

    def statistics_at(self, t: int, x: Tensor, gather: Gather | None, *, of_batch: bool) -> tuple[Tensor, Tensor]:
        """Return the mean and biased variance [C] of the batch x [B, C], or the running mean and variance of step t."""
        if of_batch:
            mean, var = batch_statistics(x, gather)
            count = len(x) if gather is None else int(gather(torch.tensor([len(x)], device=x.device)).sum())
            return mean, var * ((count - 1) / count)
        if self.time_steps is None:
            return self.running_mean, self.running_var
        return row_of(self.running_mean, self._row(t)), row_of(self.running_var, self._row(t))

    def _train_by_average(self, x: Tensor, steps: range, gather: Gather | None) -> Tensor:
        """Normalise each step by running statistics that include the step's batch."""
        if self.time_steps is not None or gather is not None:
            raise StateError(
                "exponential-average statistics are shared by all steps and limited to one process; remove "
                "norm.per_step, and train on one device"
            )
        axes = (0, *range(2, x.ndim - 1))
        shape = (1, -1, *[1] * (x.ndim - 3))
        normalised, averages = [], []
        for step in x.expand(len(steps), *x.shape[1:]).unbind():
            with torch.no_grad():
                self.num_batches_tracked += 1
                # A mean over the first batches, then an exponential average.
                momentum = max(self.momentum or 0.0, share(1, self.num_batches_tracked))
                wide = step.to(self.running_mean.dtype)
                before = self.running_mean.clone()
                self.running_mean.lerp_(wide.mean(axes), momentum)
                around = (wide - before.view(shape)) * (wide - self.running_mean.view(shape))
                self.running_var.lerp_(around.mean(axes), momentum)
            running = self.running_mean.clone(), self.running_var.clone()
            averages.append(running)
            normalised.append(F.batch_norm(step, *running, self.weight, self.bias, eps=self.eps))
        for observer in carried(steps).observers:
            observer.normalised(self, *(torch.stack(one) for one in zip(*averages, strict=True)))
        return stack_steps(normalised)

    def _run_shared(self, x: Tensor) -> Tensor:
        y = F.batch_norm(x.flatten(0, 1), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return y.view(x.shape)

    def _train_shared(self, x: Tensor, steps: range, gather: Gather | None) -> Tensor:
        if len(x) == len(steps) and _at_once(x, gather):
            return self._train_shared_at_once(x)
        repeats = len(steps) // x.shape[0]
        # Pass `data`: a backward pass saves these tensors but does not read them, so later steps may change them.
        running = self.running_mean.data, self.running_var.data
        normalised = []
        for step in unstacked(x):
            with torch.no_grad():
                self.num_batches_tracked.add_(repeats)
                if self.momentum is None:
                    momentum = share(repeats, self.num_batches_tracked)
                else:
                    momentum = 1 - (1 - self.momentum) ** repeats
            normalised.append(self._normalise(step, running, momentum, gather))
        return stack_steps(normalised)

    def _train_shared_at_once(self, x: Tensor) -> Tensor:
        y, *found = self._normalise_at_once(x)
        count = len(x)
        with torch.no_grad():
            self.num_batches_tracked += count
            if self.momentum is None:
                total = int(self.num_batches_tracked)
                kept, factors = (total - count) / total, torch.full((count,), 1 / total, dtype=torch.float64)
            else:
                # The weight of each step's statistics that remains after all later steps.
                left = (1 - self.momentum) ** torch.arange(count - 1, -1, -1, dtype=torch.float64)
                kept, factors = (1 - self.momentum) ** count, self.momentum * left
            for running, of_steps in zip((self.running_mean, self.running_var), found, strict=True):
                running.mul_(kept).add_(factors.to(of_steps) @ of_steps)
        return y

    def _train_rows(self, x: Tensor, rows: slice) -> Tensor:
        """Normalise all steps, and update a separate row of statistics for each step."""
        y, *found = self._normalise_at_once(x)
        with torch.no_grad():
            self.num_batches_tracked[rows] += 1
            count = self.num_batches_tracked[rows, None]
            for running, of_steps in zip((self.running_mean, self.running_var), found, strict=True):
                momentum = 1 / count.to(running.dtype) if self.momentum is None else self.momentum
                running[rows] = running[rows].lerp(of_steps, momentum)
        return y

    def _normalise_at_once(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise [K, B, C, 1, ...] by each step's batch statistics; return y, the means and the unbiased variances.

        A single batch norm over K·C channels, one per pair of step and channel, computes all statistics [K, C].
        """
        count, batch, channels = x.shape[:3]
        folded = x.transpose(0, 1).reshape(batch, count * channels)
        # `batch_norm` fills these: with momentum 1, earlier values have no weight.
        mean, var = (x.new_zeros(count * channels, dtype=one.dtype) for one in (self.running_mean, self.running_var))
        weight, bias = self.weight.repeat(count), self.bias.repeat(count)
        y = F.batch_norm(folded, mean, var, weight, bias, training=True, momentum=1.0, eps=self.eps)
        return y.view(batch, count, *x.shape[2:]).transpose(0, 1), mean.view(count, -1), var.view(count, -1)

    def _at(self, x: Tensor, t: int, gather: Gather | None) -> Tensor:
        """Normalise step t, [B, C, H, W], by batch statistics in train mode or running statistics in eval mode."""
        row, momentum = self._count(t) if self.training else (self._row(t), 0.0)
        # Copy: a backward pass keeps its arguments, and all rows share one version counter.
        running = row_of(self.running_mean, row).clone(), row_of(self.running_var, row).clone()
        y = self._normalise(x, running, momentum, gather)
        if self.training:
            set_row(self.running_mean, row, running[0])
            set_row(self.running_var, row, running[1])
        return y

    def _row(self, t: int) -> Row:
        assert self.time_steps is not None
        return last_of(t, self.time_steps)

    def _count(self, t: int) -> tuple[Row, float | Tensor]:
        """Count a batch at step t; return the index of the step's row of statistics and the weight of the batch."""
        row = self._row(t)
        with torch.no_grad():
            count = row_of(self.num_batches_tracked, row) + 1
            set_row(self.num_batches_tracked, row, count)
        return row, share(1, count) if self.momentum is None else self.momentum

    def _normalise(
        self, x: Tensor, running: tuple[Tensor, Tensor] | None, momentum: float | Tensor, gather: Gather | None
    ) -> Tensor:
        if self.training:
            return normalise_by_batch(
                x, running, self.weight, self.bias, momentum=momentum, eps=self.eps, gather=gather
            )
        assert running is not None
        return F.batch_norm(x, *running, self.weight, self.bias, eps=self.eps)


def _at_once(x: Tensor, gather: Gather | None) -> bool:
    """Return whether to normalise all steps in one call, which reduces call overhead on one-pixel maps and vectors."""
    return gather is None and len(x) > 1 and x[0, 0].numel() == x.shape[2] and not torch.compiler.is_compiling()


class BatchNorm1d(BatchNorm2d):
    """Batch norm over (batch, length) of [K, B, C, L], or over the batch of [K, B, C].

    `BatchNorm1d` treats time as `BatchNorm2d` does and takes the same arguments (channels, time_steps, eps, momentum).

    >>> import torch
    >>> from hdlif.nn import BatchNorm1d
    >>> y, state = BatchNorm1d(channels=3)(torch.randn(4, 8, 3), None, range(4))
    >>> list(y.shape)
    [4, 8, 3]

    Raises:
        ShapeError: the input has another number of axes.
    """

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        if x.ndim not in (3, 4):
            raise ShapeError(
                f"input has shape {list(x.shape)}; BatchNorm1d takes [K, B, C] or [K, B, C, L], BatchNorm2d takes [K, "
                "B, C, H, W]"
            )
        return super().forward(x, state, steps)


class Affine(Temporal):
    """A layer that computes y = weight·x + bias per channel of x [K, B, C, ...], with the same weight at every step.

    A batch norm in train mode normalises each step by the step's batch statistics. In train mode, a batch norm thus
    removes features that all samples share at one step, such as a cue at a fixed time. In eval mode, a batch norm keeps
    features that all samples share at one step. The output of `Affine` depends on neither the batch nor the step, so
    training and inference agree, even for a single sample.

    >>> import torch
    >>> from hdlif.nn import Affine
    >>> Affine(channels=2, scale=0.5)(torch.ones(1, 1, 2), None, range(1))[0].tolist()
    [[[0.5, 0.5]]]

    Args:
        channels: C.
        scale: initial value of `weight`, above 0.
    Raises:
        ValueError: `scale` is not above 0.
    """

    def __init__(self, channels: int, *, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale = {scale}; it must be above 0")
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_stateless(self, state)
        check_chunk(x, steps)
        weight, bias = (value.reshape(-1, *(1,) * (x.ndim - 3)) for value in (self.weight, self.bias))
        return x * weight + bias, None
