"""`hdlif run --stream`: what a deployed network says of samples as they come."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hdlif.errors import HdlifError, InputError, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.coming import Source, coming
from hdlif.inputs.rows import GAPS
from hdlif.runtime import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS, Decision, Session, Stream
from hdlif.runtime.early import Confidence

STDIN = "-"


def stream(
    artefact: Path,
    place: str | Path,
    *,
    hop: int | None = None,
    confidence: Confidence | None = None,
    gaps: str | None = None,
    rate: int | None = None,
    partial: bool = False,
    threads: int | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_operations: int = DEFAULT_MAX_OPERATIONS,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Decision]:
    """What is said of each window, as soon as it can be.

    Args:
        place: "-" for standard input; or a file, FIFO or device.
        hop, confidence, rate: as `Stream` takes them.
        gaps: one of `inputs.rows.GAPS`, of rows of numbers; the first by default.
        partial: answer for the windows in which the samples end, too.
        threads: one by default: a step of a small network is over before a second one is awake.
        say: gets a line on what no answer was given for.
    Raises:
        ArtefactError, InputError: the network, or what it is given, cannot be used; what came before was answered for.
        HdlifError, LimitError: an option does not go with the network, or it takes more than a limit.
    """
    session = Session(artefact, threads or 1, max_bytes=max_bytes, max_operations=max_operations)
    # Options that do not fit are refused before anything is waited for.
    at_work = Stream(session, hop=hop, confidence=confidence, rate=rate)
    if gaps is not None and session.input.sound is not None:
        raise HdlifError(f"gaps = {gaps} applies to rows of numbers, and the network takes sound; leave it out")
    name, came = "standard input" if str(place) == STDIN else str(place), 0
    try:
        with _opened(place) as descriptor:
            found = coming(Source(descriptor), session.input, gaps=gaps or GAPS[0], rate=rate)
            at_work = Stream(session, hop=hop, confidence=confidence, rate=found.rate)
            for samples, since in found.blocks:
                came += len(samples)
                yield from at_work.push(samples, since=since)
    except (OSError, Unreadable) as error:
        raise InputError(f"{name}: reading stopped ({reason(error)}); {_takes(session)}") from error
    if not came:
        raise InputError(f"{name}: it ended before the first sample; {_takes(session)}")
    yield from at_work.end(partial=partial)
    for line in _left(at_work, came, partial):
        say(f"{name}: {line}")


@contextlib.contextmanager
def _opened(place: str | Path) -> Iterator[int]:
    if str(place) == STDIN:
        yield 0
        return
    try:
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise InputError(f"{place}: there is no such file; check the path, or give - for standard input") from error
    except ValueError:
        raise InputError(f"{place}: this is not a path") from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise InputError(f"{place}: is a folder; a stream is a file, a FIFO, a device, or - for standard input")
        yield descriptor
    finally:
        os.close(descriptor)


def _takes(session: Session) -> str:
    record = session.input
    if record.sound is not None:
        return f"the network takes sound at {record.sound.rate:,} Hz: PCM (s16le, mono), or a .wav file"
    channels = record.shape[0]
    return f"the network takes rows of {channels} channel{'s' * (channels != 1)}, as CSV or .npy"


def _left(at_work: Stream, came: int, partial: bool) -> Iterator[str]:
    """What is to be said of the windows in which the samples ended."""
    left: list[Any] = [one for one in at_work.unanswered if not (partial and one.step)]
    if left:
        first, last = left[0], left[-1]
        which = f"window {first.window}" if len(left) == 1 else f"windows {first.window} to {last.window}"
        begin, end = first.samples
        fix = "" if partial else "; --partial gives one"
        yield f"it ended after {came:,} samples, within {which} ([{begin}:{end}]): no answer{fix}"
