"""A training on the screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from hdlif.training.callback import Callback
from hdlif.training.metrics import progress_bar, tell, warn

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from hdlif.training.training import Training


class Progress(Callback):
    """Shows a training, and what is read for its validations, as tasks of a bar, and prints lines above it.

    Args:
        name: of the training.
        bar: one that is shown already; by default one of its own, from the beginning of the training to its end.
    """

    def __init__(self, name: str = "training", bar: Bar | None = None) -> None:
        self.name, self._own = name, bar is None
        self.bar = progress_bar(enabled=True) if bar is None else bar

    def begin(self, training: Training) -> None:
        if self._own:
            self.bar.start()
        done = training.counters.step
        self._task = self.bar.add_task(
            self.name, total=training.steps, completed=done, loss=math.nan, accuracy=math.nan
        )

    def learned(self, training: Training) -> None:
        counters = training.counters
        right = counters.correct / counters.answers if counters.answers else math.nan
        self.bar.update(self._task, completed=counters.step, loss=counters.loss / counters.window, accuracy=right)

    def said(self, line: str, *, warning: bool) -> None:
        if warning:
            warn(self.bar, line)
        elif not self.bar.disable:
            tell(self.bar, line)

    @contextmanager
    def reading(self, training: Training, what: str, samples: int) -> Iterator[Callable[[int], None]]:
        task = self.bar.add_task(f"{self.name}, {what}", total=samples, loss=math.nan, accuracy=math.nan)
        try:
            yield partial(self.bar.advance, task)
        finally:
            self.bar.remove_task(task)

    def close(self) -> None:
        if self._own:
            self.bar.stop()
