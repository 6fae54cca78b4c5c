"""Compute additional torchmetrics metrics for a task."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hdlif.errors import InputError, brief, first_line

if TYPE_CHECKING:
    from torchmetrics import Metric

Each = Callable[[Tensor], list[Tensor]]
"""Function that gathers a tensor from all ranks, in rank order; its size may differ between ranks."""
Inputs = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Function from outputs [T, B, n] and a target [B, ...] to the arguments of a metric's `update`."""
MOST_NAMED = 100
"""Most outputs for which a metric may report one number each."""


class ExtraMetrics:
    """Copies of a task's additional metrics, updated with every batch.

    Args:
        metrics: the metrics by name; they are not changed.
        inputs: computes the arguments of `update`.
        outputs: the names of the network's outputs.
        dtype: dtype of the states of torchmetrics' and hdlif's metrics; other metrics keep theirs.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        inputs: Inputs,
        outputs: tuple[str, ...],
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._metrics = {name: _copied(metric, dtype) for name, metric in metrics.items()}
        self._inputs, self._outputs = inputs, outputs
        for metric in self._metrics.values():
            metric.reset()

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, n] and targets [B, ...]."""
        if self._metrics:
            self.add(*self._inputs(outputs.cpu(), target.cpu()))

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Update all metrics with predicted and true values."""
        for name, metric in self._metrics.items():
            _run(name, partial(metric.update, predicted, true))

    def figures(self, each: Each | None = None) -> dict[str, float]:
        """Return the results, keyed by name; a metric with one value per output has names of the form `name.output`.

        Raises:
            InputError: a metric fails, returns any other shape, or uses a name twice.
        """
        found: dict[str, float] = {}
        for name, metric in self._metrics.items():
            # Nested metrics synchronise ranks themselves; a test set is measured by one rank.
            for one in metric.modules():
                if hasattr(one, "distributed_available_fn"):
                    _meet(one, each)
            values = dict(_named(name, _run(name, metric.compute), self._outputs))
            if taken := found.keys() & values.keys():
                raise InputError(f'task.metrics: two are called "{min(taken)}"; rename one')
            found |= values
        if each is None or not found:
            return found
        # Use the first rank's figures: they select the best epoch, so all ranks need the same bits.
        first = each(torch.tensor(list(found.values()), dtype=torch.float64))[0]
        return dict(zip(found, first.tolist(), strict=True))


def check_metrics(metrics: Mapping[str, Metric], own: Collection[str]) -> None:
    """Raise `InputError` if an object is not a metric, or if a name belongs to one of the task's `own` metrics."""
    from torchmetrics import Metric

    for name, metric in metrics.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InputError(f"task.metrics: {brief(name)} is not a name; give printable text")
        if not isinstance(metric, Metric):
            raise InputError(f"task.metrics: {name} is {brief(metric)}; give a torchmetrics.Metric")
        if name in own or name == "loss":
            raise InputError(f'task.metrics: "{name}" is already a metric of the task; rename yours')


def tried(asked: ExtraMetrics, predicted: Tensor, true: Tensor) -> list[str]:
    """Compute the metrics on random data, and return the names of the results; the global RNG state stays the same."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked.add(predicted, true)
        return list(asked.figures())


def _copied(metric: Metric, dtype: torch.dtype) -> Metric:
    """Return a copy of a metric on the CPU."""
    copied = metric.clone().cpu()
    library = type(metric).__module__.partition(".")[0] in ("torchmetrics", "hdlif")
    return copied.set_dtype(dtype) if library and dtype != torch.float32 else copied


def _meet(metric: Any, each: Each | None) -> None:
    """Set whether computing a metric gathers its state from all ranks."""
    metric.distributed_available_fn = lambda: each is not None
    if each is not None:
        metric.dist_sync_fn = lambda tensor, group=None: each(tensor)


def _run(name: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:
        raise InputError(
            f"task.metrics: {name} fails: {type(error).__name__}: {first_line(error)}; remove it, or fix it"
        ) from error


def _named(name: str, value: Any, outputs: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Yield the name and value of each entry in a metric's result."""
    if isinstance(value, Mapping):
        for key, of_key in value.items():
            if not isinstance(of_key, Tensor | float | int) or torch.as_tensor(of_key).numel() != 1:
                raise InputError(f"task.metrics: {name} gives {_shape(of_key)} as {brief(key)}; it must be one number")
            yield f"{name}.{key}", float(of_key)
    elif isinstance(value, Tensor | float | int) and torch.as_tensor(value).numel() == 1:
        yield name, float(value)
    elif isinstance(value, Tensor) and value.shape == (len(outputs),):
        if len(outputs) > MOST_NAMED:
            raise InputError(
                f"task.metrics: {name} gives a number for each of {len(outputs)} outputs, but at most {MOST_NAMED} "
                "are kept by name; let it average them, for example with average: macro"
            )
        for output, of_output in zip(outputs, value, strict=True):
            yield f"{name}.{output}", float(of_output)
    else:
        raise InputError(
            f"task.metrics: {name} gives {_shape(value)}; it must be one number, or one for each of the "
            f"{len(outputs)} outputs"
        )


def _shape(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return metric values for JSON, with NaN and infinity replaced by None.

    >>> from hdlif.training.tasks import finite
    >>> finite({"accuracy": 0.5, "correlation": float("nan")})
    {'accuracy': 0.5, 'correlation': None}

    Args:
        figures: the figures by name.
    """
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
