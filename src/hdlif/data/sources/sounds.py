"""The user's own sounds: .wav files by class, made into clips of one length, and these into log-mel frames."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hdlif.data.own_data import Layout, OwnData, Request, Sample, faults_seen, refuse_faults
from hdlif.data.value_samples import MOST_KEPT, Recorded, find_samples, group_unit, kept_together
from hdlif.errors import ArtefactError, DataError, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.sounds import clips as clips_of
from hdlif.inputs.sounds import filter_bank, log_mel
from hdlif.inputs.wav import HIGHEST_RATE, LOWEST_RATE, parse_wave
from hdlif.ops import InputRecord
from hdlif.ops.input_record import check_sound
from hdlif.ops.sound import SoundRecord

SOUND_KEYS = ("seconds", "clips", "every", "mels", "frame_ms", "hop_ms", "lowest_hz", "highest_hz")
"""What a recipe says of sounds alone."""


def sound_record(
    rate: int,
    *,
    seconds: float | None = None,
    clips: str | None = None,
    every: float | None = None,
    mels: int | None = None,
    frame_ms: float | None = None,
    hop_ms: float | None = None,
    lowest_hz: float | None = None,
    highest_hz: float | None = None,
) -> SoundRecord:
    """How sounds become series, from what a recipe says in seconds.

    Args:
        rate: in Hz, of what is made into frames.
        seconds: of a clip (1).
        clips: what is taken of a longer sound: "first", "centre" or "windows".
        every: seconds from one clip to the next, of "windows" (`seconds`).
        mels: channels (32).
        frame_ms, hop_ms: of a frame, and from one to the next, which is a step of the network (32 and 16).
        lowest_hz, highest_hz: of the filters (20, and half the rate).
    Raises:
        ValueError: a value that none can be.
    """
    length = 1.0 if seconds is None else seconds
    if every is not None and clips != "windows":
        raise ValueError(f"every = {every} is of windows; set clips=windows too")
    for key, value in (("seconds", length), ("every", every), ("frame_ms", frame_ms), ("hop_ms", hop_ms)):
        if value is not None and not 0 < value < 1e6:
            raise ValueError(f"{key} = {value} is refused; it should be above 0 and below 1e6")
    record = SoundRecord(
        rate=rate,
        samples=round(length * rate),
        clips="first" if clips is None else clips,
        every=round((length if every is None else every) * rate),
        mels=32 if mels is None else mels,
        frame=round((32 if frame_ms is None else frame_ms) * rate / 1000),
        hop=round((16 if hop_ms is None else hop_ms) * rate / 1000),
        lowest_hz=20.0 if lowest_hz is None else float(lowest_hz),
        highest_hz=rate / 2 if highest_hz is None else float(highest_hz),
    )
    try:
        check_sound(record)
        filter_bank(rate, record.frame, record.mels, record.lowest_hz, record.highest_hz)
    except ArtefactError as error:
        said = str(error).replace("input.sound.", "")
        raise ValueError(f"of sounds at {rate:,} Hz, in samples: {said}") from error
    except Unreadable as error:
        raise ValueError(str(error)) from error
    return record


def find_sounds(layout: Layout, request: Request, **settings: Any) -> OwnData:
    """Find a data set in the sounds of a layout; arguments and errors as of `find_series`.

    Args:
        settings: what `sound_record` takes, and `resample`.
    """
    if layout.wanted.each_step or layout.wanted.ahead is not None:
        raise ValueError("each_step and ahead are of series, and these are sounds; leave them out")
    settings = {**settings, "group": None, "unreadable": request.unreadable}
    recorded = read_sounds(layout, request.known, settings)
    return find_samples(layout.root, recorded, request, kind="series", classes=layout.classes)


def read_sounds(layout: Layout, known: InputRecord | None, settings: Mapping[str, Any]) -> Recorded:
    """Read the clips of .wav files, wherever they lie; `settings` are those of `_clips`."""
    if known is not None and known.sound is None:
        raise DataError(
            f"{layout.root}: is of sounds, and the network takes readings; give data like those that it was trained on"
        )
    settings = {**settings, "unreadable": settings["unreadable"] or "refuse"}
    return _clips(layout, known=known.sound if known else None, **settings)


def _clips(
    layout: Layout,
    *,
    known: SoundRecord | None,
    group: str | None,
    resample: int | None,
    unreadable: str,
    **settings: Any,
) -> Recorded:
    """Read the clips of .wav files.

    Args:
        known: how a network that is there already makes them; `resample` and the settings are not looked at then.
        group: a pattern of the files' names.
        resample: the rate that all are made to have; without it they have one.
        unreadable: "refuse", or "skip" to leave out files that cannot be read.
        settings: as `sound_record` takes them.
    """
    place = layout.root
    if resample is not None and not LOWEST_RATE <= resample <= HIGHEST_RATE:
        raise ValueError(
            f"resample = {resample} is refused; of sounds it should be {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
        )
    record = known or (None if resample is None else sound_record(resample, **settings))
    unit = group_unit(place, group)
    samples: list[Sample] = []
    first: tuple[str, int] | None = None
    kept, longer, shorter = 0, 0, 0
    rates: dict[int, int] = {}
    faults: dict[str, str] = {}
    for number, one in enumerate(layout.files):
        try:
            content = layout.source.encoded(number)
            wave = parse_wave(content)
        except (OSError, Unreadable) as error:
            faults[one.name] = reason(error)
            continue
        rates[wave.rate] = rates.get(wave.rate, 0) + 1
        first = first or (one.name, wave.rate)
        record = record or sound_record(wave.rate, **settings)
        if known is None and resample is None and wave.rate != first[1]:
            raise DataError(
                f"{place}: {first[0]} has {first[1]:,} Hz and {one.name} {wave.rate:,}; make them one: "
                f"--set data.resample={min(first[1], wave.rate)}"
            )
        seconds = len(wave.samples) / wave.rate
        shorter += seconds < record.samples / record.rate
        longer += seconds > record.samples / record.rate
        digest = hashlib.sha256(content).hexdigest()
        for begin, clip in clips_of(wave, record):
            name = f"{one.name}@{begin:g}s" if record.clips == "windows" else one.name
            values = log_mel(clip, record)
            sample = replace(one, name=name, unit=unit(one) or digest, values=values)
            samples.append(replace(sample, bytes=len(content), sha256=digest))
            kept += values.nbytes
            if kept > MOST_KEPT:
                raise DataError(
                    f"{place}: its clips take more than {MOST_KEPT:,} bytes; take fewer, or raise data.every"
                )
    refuse_faults(layout, faults, unreadable, "sound")
    assert record is not None, "a layout has files, and each class some that can be read"
    seen = {
        "window": None,
        "stride": None,
        "sound": vars(record),
        "rates": {str(rate): count for rate, count in sorted(rates.items())},
        "padded": shorter,
        "cut": longer,
        "unreadable": faults_seen(faults),
    }
    return Recorded(
        layout.words,
        kept_together(group, "file"),
        samples,
        grouped=group is not None,
        parts=layout.parts,
        ignored=layout.ignored,
        sound=record,
        seen=seen,
        skipped=tuple(sorted(faults)),
    )
