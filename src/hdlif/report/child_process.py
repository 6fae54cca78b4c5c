"""Read measurements, one JSON object per line, from a child process that may crash or hang."""

import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

START_SECONDS = 600.0
"""Seconds to wait for the first line; importing PyTorch takes seconds, or minutes on an emulated or busy machine."""
MEASURE_SECONDS = 60.0
"""Seconds after the first line that all measurements of one process may take; later ones are omitted."""
STUCK_SECONDS = 30.0
"""Seconds after which a measurement is stuck, if it also takes over `STUCK_TIMES` the longest time before it."""
STUCK_TIMES = 20.0


@dataclass
class Heard:
    """The output of a child process, and the reason for any failure."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    end: str | None = None
    out_of_time: bool = False
    missing: str | None = None


def hear(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    start: float = START_SECONDS,
    seconds: float = MEASURE_SECONDS,
    stuck: float = STUCK_SECONDS,
) -> Heard:
    """Run a process and collect its output until it ends, hangs or exceeds the time limit.

    Args:
        start, seconds, stuck: as in `START_SECONDS`, `MEASURE_SECONDS` and `STUCK_SECONDS`.
    """
    said: queue.Queue[str | None] = queue.Queue()
    heard = Heard()
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        child = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
        )
        assert child.stdout is not None
        reader = threading.Thread(target=_read, args=(child.stdout, said), daemon=True)
        reader.start()
        try:
            _listen(said, heard, start, seconds, stuck)
        except BaseException:
            child.kill()
            raise
        finally:
            if heard.end is not None or heard.out_of_time:
                child.kill()
            code = child.wait()
            reader.join()
        complaints.seek(0)
        last_lines = [line for line in complaints.read().split("\n") if line]
    if heard.end is None and not heard.out_of_time and code != 0:
        missing = re.search(
            r"^ModuleNotFoundError: .*?named '?([\w.]+)|import of (\w+) halted", "\n".join(last_lines), re.M
        )
        heard.missing = missing and (missing[1] or missing[2])
        heard.end = None if heard.missing else _how(code, last_lines)
    return heard


def _listen(said: "queue.Queue[str | None]", heard: Heard, start: float, seconds: float, stuck: float) -> None:
    """Collect a process's output lines in `heard` and record whether the process hangs or exceeds a time limit."""
    began = spoke = time.monotonic()
    longest = 0.0
    while True:
        now = time.monotonic()
        if heard.lines:
            patience = max(stuck, STUCK_TIMES * longest)
            rest = min(began + seconds, spoke + patience) - now
        else:
            rest = began + start - now
        try:
            line = said.get(timeout=max(rest, 0.0))
        except queue.Empty:
            if heard.lines and time.monotonic() >= began + seconds:
                heard.out_of_time = True
            else:
                heard.end = f"is stuck: no response for {time.monotonic() - spoke:.0f} s"
            return
        if line is None:
            return
        now = time.monotonic()
        measurement = _measurement(line)
        if measurement is None:
            heard.others.append(line)
            continue
        if heard.lines:
            longest = max(longest, now - spoke)
        else:
            began = now
        spoke = now
        heard.lines.append(measurement)


def _measurement(line: str) -> dict[str, Any] | None:
    """Return the JSON object that a line contains, or None if the line is not a JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read(stream: Iterable[str], said: "queue.Queue[str | None]") -> None:
    for line in stream:
        said.put(line.rstrip("\n"))
    said.put(None)


def _how(code: int, complaints: Sequence[str]) -> str:
    """Describe how a process ended by the signal, the last error line or the exit code."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"failed ({complaints[-1].strip() if complaints else f'exit code {code}'})"
