"""Show the progress of a training run: a bar, a line per epoch, and warnings before the first epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from hdlif.data import Samples
from hdlif.data.draws import fuller_batch, many_left_out
from hdlif.learning import Tracing
from hdlif.training.callback import Callback, Training
from hdlif.training.metrics import note, progress_bar, tell, warn

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress(Callback):
    """A progress bar for training and for reading the validation samples; lines are printed above the bar.

    If standard error is not a terminal, one line per epoch is printed instead of a bar.

    Args:
        name: label of the training run.
        bar: existing bar to use; by default a new one, for the duration of the training run.
    """

    def __init__(self, name: str = "training", bar: Bar | None = None) -> None:
        self.name, self._own = name, bar is None
        self.bar = progress_bar(enabled=True) if bar is None else bar
        # None if a resumed training run was stopped between an epoch's last batch and its validation.
        self._learned: Mapping[str, Any] | None = None

    def on_train_start(self, training: Training) -> None:
        if self._own:
            self.bar.start()
        done = training.counters.step
        self._task = self.bar.add_task(
            self.name, total=training.steps, completed=done, loss=math.nan, accuracy=math.nan
        )

    def on_batch_end(self, training: Training) -> None:
        counters = training.counters
        right = counters.correct / counters.answers if counters.answers else math.nan
        self.bar.update(self._task, completed=counters.step, loss=counters.loss / counters.window, accuracy=right)

    def on_log(self, training: Training, event: Mapping[str, Any]) -> None:
        if event["event"] == "message":
            self._show(event["line"], warning=event["warning"])
        elif event["event"] == "train":
            self._learned = event
        elif event["event"] == "validation" and training.ranks.first:
            note(self.bar, self._epoch(training, event))

    def _epoch(self, training: Training, validation: Mapping[str, Any]) -> str:
        """Format an epoch as one line: training loss and accuracy, the task's validation metric, and the time."""
        learned, metric = self._learned, training.task.metric
        figures = [f"loss {learned['loss']:.4f}", *_named("accuracy", learned["accuracy"])] if learned else []
        value = validation.get(metric, validation.get("metrics", {}).get(metric))
        # Without validation samples, training samples are evaluated in eval mode.
        measured = _named(f"training samples' {metric}" if "part" in validation else f"validation {metric}", value)
        place = f"epoch {validation['epoch']} of {training.config.epochs}"
        return f"{self.name}: {place}: {', '.join([*figures, *measured])}, {validation['seconds']:.0f} s"

    def _show(self, line: str, *, warning: bool) -> None:
        if warning:
            warn(self.bar, line)
        elif not self.bar.disable:
            tell(self.bar, line)

    @contextmanager
    def reading(self, what: str, samples: int) -> Iterator[Callable[[int], None]]:
        """Show a task while samples are read outside training; the caller calls the yielded function for each batch."""
        task = self.bar.add_task(f"{self.name}, {what}", total=samples, loss=math.nan, accuracy=math.nan)
        try:
            yield partial(self.bar.advance, task)
        finally:
            self.bar.remove_task(task)

    def teardown(self) -> None:
        if self._own:
            self.bar.stop()


def _named(name: str, value: float | None) -> list[str]:
    """Return a list that contains the name and the value as one text, or an empty list if `value` is None."""
    if value is None:
        return []
    return [f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.4g}"]


def report_omitted_samples(training: Training, samples: int, batch_size: int) -> None:
    """Report how many samples each epoch omits because they do not fill a batch, if the number is large."""
    left = samples - training.batches * batch_size
    if not many_left_out(left, samples) or not training.ranks.first:
        return
    line = (
        f"{left} of {samples} training samples are dropped in each epoch, which has only full batches of {batch_size}"
    )
    if training.config.accumulate > 1:
        training.say(f"{line}, {training.config.accumulate} per update")
        return
    # Mixup pairs the samples within each rank's share.
    size = fuller_batch(samples, batch_size, multiple_of=2 * training.ranks.count)
    training.say(line if size is None else f"{line}; --set data.batch_size={size} drops {samples % size}")


def report_traces(training: Training, samples: Samples, batch_size: int) -> None:
    """Report and log how much memory the rule's traces need, or raise an error if it exceeds the limit."""
    if not isinstance(training.rule, Tracing):
        return
    share = batch_size // training.ranks.count
    x, _ = samples.plain().sequence(torch.zeros(1, dtype=torch.int64))
    sizes = training.rule.traces_of(training.model, x.to(training.device), share)
    if not training.counters.step:
        training.log("traces", bytes=dict(sizes))
    most = max(sizes, key=lambda name: sizes[name], default=None)
    if most is not None:
        training.say(
            f"traces take {sum(sizes.values()) / 1e6:.1f} MB for a batch of {share}, mostly of {most}, "
            f"{sizes[most] / 1e6:.1f} MB"
        )
