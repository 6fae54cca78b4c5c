"""Logs of a training run: metrics.jsonl, TensorBoard scalars and the progress bar."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif import run_folder
from hdlif.errors import CheckpointError, TrainingError, cut, printable, reason
from hdlif.training.callback import Callback, Training
from hdlif.training.state_record import count_in
from hdlif.whole_files import NO_LINK, open_regular

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch.utils.tensorboard import SummaryWriter

_SCALARS = ("loss", "accuracy", "learning_rate")


class Log(Callback):
    """A callback that, on rank 0, writes events to OUT/metrics.jsonl and their numeric values to OUT/tensorboard.

    metrics.jsonl is authoritative. A resumed run truncates metrics.jsonl to its length at the checkpoint and rewrites
    OUT/tensorboard from metrics.jsonl. Even if the process was killed, metrics.jsonl therefore contains each step
    exactly once.

    List a `Checkpoints` callback for the same folder before `Log`, because `Checkpoints` clears the folder.

    Args:
        out: the run folder.
    Raises:
        CheckpointError: metrics.jsonl is shorter than at the checkpoint, or damaged.
        TrainingError: it cannot be written; links are not followed.
    """

    _file: BufferedWriter
    _board: SummaryWriter
    _began: float

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out)
        self._keep_bytes = 0
        self._close = ExitStack()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # A checkpoint written without a log has no such count.
        self._keep_bytes = count_in({"bytes": 0, **state}, "bytes")

    def on_train_start(self, training: Training) -> None:
        training.ranks.led(self._open)

    def _open(self) -> None:
        """Open the log files, continuing the existing files of a resumed training run."""
        from torch.utils.tensorboard import SummaryWriter

        path, board, keep_bytes = self.out / run_folder.METRICS, self.out / run_folder.TENSORBOARD, self._keep_bytes
        if keep_bytes and not os.path.lexists(path):
            raise CheckpointError(f"{path}: is missing; restore it, or train again without resuming")
        # Append mode creates the file and writes at its end, also after truncation.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK
        try:
            self._file = self._close.enter_context(os.fdopen(open_regular(path, flags), "ab"))
        except OSError as error:
            raise TrainingError(
                f"{path}: cannot be written ({reason(error)}); free space, or remove the link or folder there"
            ) from error
        if (length := self._length()) < keep_bytes:
            raise CheckpointError(
                f"{path}: has {length} bytes, but its checkpoint was written after {keep_bytes}; restore the file, or "
                "train again without resuming"
            )
        try:
            kept = _events(path, keep_bytes)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path}: is damaged ({cut(str(error))}); restore the file, or train again without resuming"
            ) from error
        self._file.truncate(keep_bytes)
        if board.is_symlink():
            board.unlink()
        shutil.rmtree(board, ignore_errors=True)
        # TensorBoard's relative time is the training time, without the time between two processes.
        self._began = time.time() - (kept[-1]["seconds"] if kept else 0.0)
        with self._written():
            self._board = SummaryWriter(board)
            for event in kept:
                self._draw(event)
        self._close.enter_context(self._written())
        self._close.callback(self._board.close)

    def on_log(self, training: Training, event: Mapping[str, Any]) -> None:
        if event["event"] != "message":
            training.ranks.led(lambda: self._write(dict(event)))

    def _write(self, event: dict[str, Any]) -> None:
        with self._written():
            self._file.write(json.dumps(event, allow_nan=False).encode() + b"\n")
            self._file.flush()
            self._draw(event)

    def _draw(self, event: Mapping[str, Any]) -> None:
        scalars = {name: event[name] for name in _SCALARS if event.get(name) is not None}
        scalars |= {name: value for name, value in event.get("metrics", {}).items() if value is not None}
        steps = enumerate(event.get("accuracy_per_step", ()), start=1)
        scalars |= {f"accuracy_after_{t}": accuracy for t, accuracy in steps}
        for name, value in scalars.items():
            self._board.add_scalar(
                f"{event['event']}/{name}", value, event["step"], walltime=self._began + event["seconds"]
            )

    def state_dict(self) -> Mapping[str, Any]:
        return {"bytes": self._length()}

    def _length(self) -> int:
        """Flush metrics.jsonl to disk, and return its length in bytes."""
        with self._written():
            os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self._file.name}: cannot be written ({reason(error)}); the checkpoints are kept; free some space "
                "and resume"
            ) from error

    def teardown(self) -> None:
        self._close.close()


def _events(path: Path, length: int) -> list[dict[str, Any]]:
    """Return the events in a log's first `length` bytes, or raise `ValueError` if `Log` did not write one of them."""
    with path.open("rb") as file:
        lines = file.read(length).splitlines()
    events = []
    for number, line in enumerate(lines, start=1):
        event = json.loads(line)
        if not _is_event(event):
            raise ValueError(f"line {number} is not an event of a training run")
        events.append(event)
    return events


def _is_event(event: object) -> bool:
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    steps = event.get("accuracy_per_step", [])
    metrics = event.get("metrics", {})
    if not isinstance(steps, list) or not isinstance(metrics, dict):
        return False
    measured = [event[name] for name in _SCALARS if name in event and (name != "accuracy" or event[name] is not None)]
    numbers = [event.get("step"), event.get("seconds"), *measured, *steps]
    return all(type(n) in (int, float) for n in [*numbers, *(v for v in metrics.values() if v is not None)])


def progress_bar(*, enabled: bool) -> Progress:
    """Return a progress bar for standard error; use it as a context manager around training.

    If standard error is not a terminal, no bar is drawn, and `note` prints lines instead.

    Args:
        enabled: False returns a bar that shows nothing.
    """
    from hdlif.training.bar import bar

    return bar(enabled=enabled)


def tell(bar: Progress, line: str) -> None:
    """Print a line above a bar, without interpreting markup.

    Args:
        bar: a bar from `progress_bar`.
        line: the text, one line.
    """
    bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def note(bar: Progress, line: str) -> None:
    """Print a line in place of a bar that is enabled but not drawn because standard error is not a terminal.

    Args:
        bar: a bar from `progress_bar`.
        line: the text, one line.
    """
    from hdlif.training.bar import is_screen

    if not bar.disable and not is_screen(bar.console):
        tell(bar, line)


def warn(bar: Progress, warning: str) -> None:
    """Print a warning above a bar.

    Args:
        bar: a bar from `progress_bar`.
        warning: the text, one line.
    """
    tell(bar, f"warning: {warning}")
