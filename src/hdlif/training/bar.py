"""The progress bar of a training run, drawn with Rich."""

import math

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from hdlif.errors import printable


class _Name(ProgressColumn):
    """A column that shows a task's label as plain text, because folder names may look like Rich markup."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.description))


class _Figures(ProgressColumn):
    """A column that shows the loss and accuracy of a task, if known."""

    def render(self, task: Task) -> Text:
        loss, accuracy = task.fields["loss"], task.fields["accuracy"]
        shown = "" if math.isnan(loss) else f"loss {loss:.4f}"
        return Text(shown if math.isnan(accuracy) else f"{shown}  accuracy {accuracy:.1%}")


class _Bar(Progress):
    """A progress bar that is drawn only on terminals, because a file would contain only the bar's last state."""

    def start(self) -> None:
        if is_screen(self.console):
            super().start()

    def stop(self) -> None:
        if is_screen(self.console):
            super().stop()


def is_screen(console: Console) -> bool:
    """Return whether the console can redraw a line after it was written."""
    return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)


def bar(*, enabled: bool) -> Progress:
    """Return the progress bar for `training.progress_bar`."""
    return _Bar(
        _Name(),
        BarColumn(),
        MofNCompleteColumn(),
        _Figures(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not enabled,
    )
