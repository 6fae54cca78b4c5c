"""Read .wav files, cut them into clips of equal length, and convert the clips to log-mel frames."""

from collections import Counter
from dataclasses import dataclass, replace

from hdlif.data.manifest import Sample
from hdlif.data.own_data import Layout, OwnData, Request, faults_seen, read_files, refuse_faults
from hdlif.data.value_samples import MOST_KEPT, Recorded, find_samples, group_unit, kept_together
from hdlif.errors import ArtefactError, DataError
from hdlif.graph.graph import SoundRecord
from hdlif.graph.input_record import check_sound
from hdlif.inputs import Unreadable
from hdlif.inputs.sounds import clips as clips_of
from hdlif.inputs.sounds import filter_bank, log_mel
from hdlif.inputs.wav import HIGHEST_RATE, LOWEST_RATE, parse_wave

SOUND_KEYS = ("seconds", "clips", "every", "mels", "frame_ms", "hop_ms", "lowest_hz", "highest_hz")
"""Settings that apply only to audio."""


@dataclass(frozen=True, kw_only=True)
class OfSounds(Request):
    """Base class for requests to load audio.

    Attributes:
        resample: the rate to which all audio is resampled; without it, all files must have the same rate.
        seconds, every: length of a clip (1), and distance between clips for "windows" (`seconds`).
        clips: the clips taken from longer audio: "first", "centre" or "windows".
        mels: number of channels (32).
        frame_ms, hop_ms: length of a frame, and distance between frames, each a step of the network (32 and 16).
        lowest_hz, highest_hz: range of the filters (20, and half the rate).
    """

    resample: int | None = None
    seconds: float | None = None
    clips: str | None = None
    every: float | None = None
    mels: int | None = None
    frame_ms: float | None = None
    hop_ms: float | None = None
    lowest_hz: float | None = None
    highest_hz: float | None = None

    def find_sounds(self, layout: Layout) -> OwnData:
        """Create a data set from the audio files that a `Layout` lists."""
        if self.each_step or self.ahead is not None:
            raise ValueError("each_step and ahead apply to time series, not to audio; leave them out")
        return find_samples(layout.root, self.read_sounds(layout), self, kind="series", classes=layout.classes)

    def sound_record(self, rate: int) -> SoundRecord:
        """Return the settings for converting audio with a sampling rate of `rate` Hz.

        Raises `ValueError` if a setting is out of range.
        """
        length = 1.0 if self.seconds is None else self.seconds
        if self.every is not None and self.clips != "windows":
            raise ValueError(f"every = {self.every} applies to windows; set clips=windows too")
        for key in ("seconds", "every", "frame_ms", "hop_ms"):
            if (value := getattr(self, key)) is not None and not 0 < value < 1e6:
                raise ValueError(f"{key} = {value} is refused; it should be above 0 and below 1e6")
        record = SoundRecord(
            rate=rate,
            samples=round(length * rate),
            clips="first" if self.clips is None else self.clips,
            every=round((length if self.every is None else self.every) * rate),
            mels=32 if self.mels is None else self.mels,
            frame=round((32 if self.frame_ms is None else self.frame_ms) * rate / 1000),
            hop=round((16 if self.hop_ms is None else self.hop_ms) * rate / 1000),
            lowest_hz=20.0 if self.lowest_hz is None else float(self.lowest_hz),
            highest_hz=rate / 2 if self.highest_hz is None else float(self.highest_hz),
        )
        try:
            check_sound(record)
            filter_bank(rate, record.frame, record.mels, record.lowest_hz, record.highest_hz)
        except ArtefactError as error:
            said = str(error).replace("input.sound.", "")
            raise ValueError(f"for audio at {rate:,} Hz, in samples: {said}") from error
        except Unreadable as error:
            raise ValueError(str(error)) from error
        return record

    def read_sounds(self, layout: Layout, group: str | None = None) -> Recorded:
        """Read the clips of .wav files, whose names must match the pattern `group` unless `group` is None."""
        place, resample = layout.root, self.resample
        if self.known is not None and self.known.sound is None:
            raise DataError(
                f"{place}: contains audio, but the network takes sensor data; give data like its training data"
            )
        known = self.known.sound if self.known else None
        if resample is not None and not LOWEST_RATE <= resample <= HIGHEST_RATE:
            raise ValueError(
                f"resample = {resample} is refused; for audio, it should be {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
            )
        record = known or (None if resample is None else self.sound_record(resample))
        unit = group_unit(place, group)
        samples: list[Sample] = []
        first: tuple[str, int] | None = None
        kept, longer, shorter = 0, 0, 0
        rates: Counter[int] = Counter()
        faults: dict[str, str] = {}
        for _, one, content, digest, wave in read_files(layout, lambda _, content: parse_wave(content), faults):
            rates[wave.rate] += 1
            first = first or (one.name, wave.rate)
            record = record or self.sound_record(wave.rate)
            if known is None and resample is None and wave.rate != first[1]:
                raise DataError(
                    f"{place}: {first[0]} has {first[1]:,} Hz and {one.name} {wave.rate:,}; resample all to one rate: "
                    f"--set data.resample={min(first[1], wave.rate)}"
                )
            seconds = len(wave.samples) / wave.rate
            shorter += seconds < record.samples / record.rate
            longer += seconds > record.samples / record.rate
            read = replace(one, unit=unit(one) or digest, bytes=len(content), sha256=digest)
            for begin, clip in clips_of(wave, record):
                name = f"{one.name}@{begin:g}s" if record.clips == "windows" else one.name
                values = log_mel(clip, record)
                samples.append(replace(read, name=name, values=values))
                kept += values.nbytes
                if kept > MOST_KEPT:
                    raise DataError(
                        f"{place}: its clips take more than {MOST_KEPT:,} bytes; use fewer, or raise data.every"
                    )
        refuse_faults(layout, faults, self.unreadable, "sound")
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
