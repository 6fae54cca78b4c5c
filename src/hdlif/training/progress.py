"""A training on the screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.training.callback import Callback, Training
from hdlif.training.metrics import note, progress_bar, tell, warn

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress(Callback):
    """Shows a training, and what is read for its validations, as tasks of a bar, and prints lines above it.

    Where standard error is no terminal, as in a file or under cron, each epoch is a line instead.

    Args:
        name: of the training.
        bar: one that is shown already; by default one of its own, from the beginning of the training to its end.
    """

    def __init__(self, name: str = "training", bar: Bar | None = None) -> None:
        self.name, self._own = name, bar is None
        self.bar = progress_bar(enabled=True) if bar is None else bar
        # None where a training goes on that was stopped between an epoch's last batch and its validation.
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
        """An epoch in a line: its last figures of training, the task's first figure on validation, and the time."""
        learned, metric = self._learned, training.task.metric
        figures = [f"loss {learned['loss']:.4f}", *_named("accuracy", learned["accuracy"])] if learned else []
        value = validation.get(metric, validation.get("metrics", {}).get(metric))
        # Without validation samples, training samples are measured as the deployed network classifies them.
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
        """Show a task while samples are read outside of training; call what it yields with the number of each batch."""
        task = self.bar.add_task(f"{self.name}, {what}", total=samples, loss=math.nan, accuracy=math.nan)
        try:
            yield partial(self.bar.advance, task)
        finally:
            self.bar.remove_task(task)

    def teardown(self) -> None:
        if self._own:
            self.bar.stop()


def _named(name: str, value: float | None) -> list[str]:
    """A figure behind its name, an accuracy in per cent; nothing where there is none."""
    if value is None:
        return []
    return [f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.4g}"]
