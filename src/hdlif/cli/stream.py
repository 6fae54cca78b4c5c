"""Implement `hdlif run --stream`, which runs a network on samples or frames as they arrive."""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdlif.cli.answer_files import AnswerFiles
from hdlif.cli.predict import files_in
from hdlif.errors import HdlifError, InputError, reason, say_nothing
from hdlif.inputs import Unreadable
from hdlif.inputs.coming import Source, coming, coming_images
from hdlif.inputs.rows import GAPS
from hdlif.runtime import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_OPERATIONS,
    Decision,
    FrameAnswer,
    FrameStream,
    Session,
    Stream,
)
from hdlif.runtime.early import Confidence
from hdlif.runtime.files import Given

STDIN = "-"


def stream(
    artefact: Path,
    place: str | Path,
    *,
    hop: int | None = None,
    confidence: Confidence | None = None,
    gaps: str | None = None,
    bad_lines: str | None = None,
    rate: int | None = None,
    partial: bool = False,
    out: Path | None = None,
    threads: int | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_operations: int = DEFAULT_MAX_OPERATIONS,
    say: Callable[[str], None] = say_nothing,
) -> Iterator[Decision | FrameAnswer]:
    """Run a network on a stream and yield the prediction for each window or frame as it becomes available.

    Args:
        place: "-" for standard input, a file, FIFO or device, or a folder of frames.
        hop, confidence, rate: as in `Stream`; frames support only a confidence.
        gaps: one of `inputs.rows.GAPS`, for rows of numbers; the first by default.
        bad_lines: "stop" (the default) or "skip", for lines that are not rows of numbers.
        partial: whether to also predict the windows in which the samples end.
        out: the folder for masks and boxes; by default next to the frames of a folder, and none for other sources.
        threads: 1 by default, because a small network finishes a step before a second thread wakes.
        say: called with a line about windows without a prediction.
    Raises:
        ArtefactError, InputError: the network or its input cannot be used; earlier predictions have been yielded.
        HdlifError, LimitError: an option does not apply to the network, or a limit is exceeded.
    """
    session = Session(artefact, threads or 1, max_bytes=max_bytes, max_operations=max_operations)
    if session.input.kind == "image":
        for name, value in (("hop", hop), ("gaps", gaps), ("bad-lines", bad_lines), ("rate", rate)):
            if value is not None:
                raise HdlifError(
                    f"{name} = {value} applies only to time series and audio, but the network takes images"
                )
        yield from _frames(session, Path(place), out, confidence, partial=partial, say=say)
        return
    if out is not None:
        raise HdlifError(
            "--out is the folder of masks and boxes, which a network for time series does not produce; remove it"
        )
    # Invalid options raise errors before waiting for input.
    at_work = Stream(session, hop=hop, confidence=confidence, rate=rate)
    for option, value in (("gaps", gaps), ("bad-lines", bad_lines)):
        if value is not None and session.input.sound is not None:
            raise HdlifError(
                f"{option} = {value} applies only to rows of numbers, but the network takes audio; remove it"
            )
    name, came = named(place), 0
    try:
        with opened(place) as descriptor:
            found = coming(
                Source(descriptor), session.input, gaps=gaps or GAPS[0], skips=bad_lines == "skip", rate=rate
            )
            at_work = Stream(session, hop=hop, confidence=confidence, rate=found.rate)
            for samples, since in found.blocks:
                came += len(samples)
                yield from at_work.push(samples, since=since)
    except (OSError, Unreadable) as error:
        raise InputError(f"{name}: reading stopped ({reason(error)}); {_takes(session)}") from error
    if skipped := found.skipped():
        say(f"{name}: skipped {skipped:,} lines that are not rows of numbers")
    if not came:
        raise InputError(f"{name}: the stream ended before the first sample; {_takes(session)}")
    yield from at_work.end(partial=partial)
    for line in _left(at_work, came, partial):
        say(f"{name}: {line}")


def _frames(
    session: Session,
    place: Path,
    out: Path | None,
    confidence: Confidence | None,
    *,
    partial: bool,
    say: Callable[[str], None],
) -> Iterator[FrameAnswer]:
    at_work, came = FrameStream(session, confidence=confidence), 0
    frames: Iterator[tuple[Path | Given, float | None]]
    if place.is_dir():
        found = sorted(files_in(place, session), key=_by_number)
        if session.task.combine != "each" and session.time_steps > 1:
            say(f"{place}: one prediction per {session.time_steps} frames; for unrelated images, remove --stream")
        frames = ((path, None) for path in found)
    else:
        frames = _arriving_images(place)
    # A pipe may deliver any number of frames.
    files = AnswerFiles(out) if out is not None or place.is_dir() else None

    def kept(said: FrameAnswer, image: Path | Given) -> FrameAnswer:
        if files is None or said.answer is None:
            return said
        given = image if isinstance(image, Given) else None
        return replace(said, answer=files(said.input, said.answer, session.labels, given))

    for image, since in frames:
        came += 1
        if (said := at_work.push(image, since=since)) is not None:
            yield kept(said, image)
    if not came:
        raise InputError(f"{named(place)}: the stream ended before the first frame; {_FRAMES}")
    if (last := at_work.end()) is not None:
        if partial:
            yield kept(last, image)
        else:
            begin, end = last.frames
            where = f"the stream ended after {came:,} frames, within [{begin}:{end}]"
            say(f"{named(place)}: {where}: no prediction; --partial gives one")


def named(place: str | Path) -> str:
    return "standard input" if str(place) == STDIN else str(place)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Return a sort key for frames that sorts frame 2 before frame 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _arriving_images(place: Path) -> Iterator[tuple[Given, float]]:
    try:
        with opened(place) as descriptor:
            for number, (content, since) in enumerate(coming_images(Source(descriptor))):
                yield Given(f"frame_{number}", ".ppm", content), since
    except (OSError, Unreadable) as error:
        raise InputError(f"{named(place)}: reading stopped ({reason(error)}); {_FRAMES}") from error


_FRAMES = "give a folder of images, or PPM images one after the other, as ffmpeg -f image2pipe -c:v ppm writes them"


@contextlib.contextmanager
def opened(place: str | Path) -> Iterator[int]:
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
    """Yield a message if any windows are incomplete at the end of the stream."""
    left: list[Any] = [one for one in at_work.unanswered if not (partial and one.step)]
    if left:
        first, last = left[0], left[-1]
        which = f"window {first.window}" if len(left) == 1 else f"windows {first.window} to {last.window}"
        begin, end = first.samples
        fix = "" if partial else "; --partial gives one"
        yield f"the stream ended after {came:,} samples, within {which} ([{begin}:{end}]): no prediction{fix}"
