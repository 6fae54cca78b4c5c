"""The progress bar of a training, in Rich, which is imported with this."""

import math

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from hdlif.errors import printable


class _Name(ProgressColumn):
    """What a task is called, which is no markup, whatever a folder is named."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.description))


class _Figures(ProgressColumn):
    """Loss and accuracy of a task, once it has them."""

    def render(self, task: Task) -> Text:
        loss, accuracy = task.fields["loss"], task.fields["accuracy"]
        shown = "" if math.isnan(loss) else f"loss {loss:.4f}"
        return Text(shown if math.isnan(accuracy) else f"{shown}  accuracy {accuracy:.1%}")


class _Bar(Progress):
    """A bar that is drawn on a screen alone: of a file it would be one line, at the very end."""

    def start(self) -> None:
        if is_screen(self.console):
            super().start()

    def stop(self) -> None:
        if is_screen(self.console):
            super().stop()


def is_screen(console: Console) -> bool:
    """Whether a line that was written can be drawn again there."""
    return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)


def bar(*, enabled: bool) -> Progress:
    """As `training.progress_bar`."""
    return _Bar(
        _Name(),
        BarColumn(),
        MofNCompleteColumn(),
        _Figures(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not enabled,
    )
