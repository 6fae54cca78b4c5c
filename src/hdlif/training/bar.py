"""The progress bar of a training, in Rich, which is imported with this."""

import math

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
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


def bar(*, enabled: bool) -> Progress:
    """As `training.progress_bar`."""
    return Progress(
        _Name(),
        BarColumn(),
        MofNCompleteColumn(),
        _Figures(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not enabled,
    )
