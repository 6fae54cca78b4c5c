"""Checks of input records, and the noun that hdlif prints for a sample, such as "image"."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hdlif.errors import ArtefactError, brief, did_you_mean
from hdlif.graph.fields import is_float32
from hdlif.graph.graph import (
    BINNING_MODES,
    CLIPS,
    FIT_MODES,
    FRAMINGS,
    INPUT_KINDS,
    MAX_ELEMENTS,
    RESIZE_MODES,
    InputRecord,
    SoundRecord,
)

LONGEST_NAME = 1000
"""Longest column name, in characters."""
_MOST_SIDE = 2**16
"""Largest height or width of a sensor, in pixels."""
MOST_ROWS = 2**31 - 1
"""Largest number of rows in each entry of `windows` of a time series."""
MOST_RATE = 10**5
"""Highest sampling rate of sensor data, in Hz or any other unit."""
SOUND_LIMITS = {
    "rate": (1000, 384_000),
    "samples": (1, 2**24),
    "every": (1, 2**24),
    "mels": (1, 256),
    "frame": (2, 2**14),
    "hop": (1, 2**14),
}
"""Smallest and largest value of each integer field of a `SoundRecord`."""


def check_input(record: InputRecord) -> None:
    """Raise `ArtefactError` for the first invalid field of an input record."""
    shape = record.shape
    if len(shape) != 3 or any(type(n) is not int or n < 1 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ArtefactError(f"input.shape = {brief(list(shape))}; it must be [C, H, W], integers of at least 1")
    for key, numbers in (("mean", record.mean), ("std", record.std)):
        valid = all(is_float32(v) and (key == "mean" or v > 0) for v in numbers)
        if len(numbers) != shape[0] or not valid:
            above = ", above 0" if key == "std" else ""
            raise ArtefactError(f"input.{key} = {brief(list(numbers))}; it must be {shape[0]} finite numbers{above}")
    for key, accepted in _INPUT_WORDS.items():
        word = getattr(record, key)
        if word not in accepted:
            raise ArtefactError(f"input.{key} = {brief(word)} is unknown; {did_you_mean(word, accepted)}")
    if record.frames == "rows" and (record.kind == "events" or shape[1] != 1):
        raise ArtefactError(
            f'input.frames = "rows": each step takes one row of an image, but this input is of kind {record.kind} and '
            f"shape {list(shape)}"
        )
    if record.frames == "pixels" and (record.kind != "image" or shape[1:] != (1, 1)):
        raise ArtefactError(
            f'input.frames = "pixels": each step takes one pixel of an image, but this input is of kind {record.kind} '
            f"and shape {list(shape)}"
        )
    if record.kind == "series" and (shape[2] != 1 or record.resize != "none"):
        raise ArtefactError(
            f'input.kind = "series": expected [C, T, 1], [C, 1, 1] per step, and resize "none"; this input has shape '
            f'{list(shape)} and resize "{record.resize}"'
        )
    if record.kind == "table" and (shape[1:] != (1, 1) or record.resize != "none" or record.frames != "constant"):
        raise ArtefactError(
            f'input.kind = "table": expected [C, 1, 1], frames "constant" and resize "none"; this input has shape '
            f'{list(shape)}, frames "{record.frames}" and resize "{record.resize}"'
        )
    _check_events(record)
    _check_columns(record)
    _check_rates_and_windows(record)
    _check_shortest(record)
    if record.sound is not None:
        check_sound(record.sound)
        more = record.columns or record.rates or record.windows or record.shortest
        if record.kind != "series" or record.sound.mels != shape[0] or more:
            raise ArtefactError(
                f"input.sound gives time series of {record.sound.mels} unnamed channels, but this input is of kind "
                f"{record.kind}, shape {list(shape)}"
            )


def _check_events(record: InputRecord) -> None:
    """Raise `ArtefactError` for event fields in other kinds of input, or for invalid combinations of event fields."""
    sensor, shape = record.sensor, record.shape
    if record.kind != "events":
        for key in ("binning", "sensor"):
            if getattr(record, key) != getattr(InputRecord, key):
                raise ArtefactError(
                    f"input.{key} = {brief(getattr(record, key))} does not apply to input of kind {record.kind}"
                )
        if record.resize == "pool":
            raise ArtefactError(f'input.resize = "pool" applies to events, but this input is of kind {record.kind}')
        return
    if sensor is None:
        if record.resize == "pool":
            raise ArtefactError('input.resize = "pool" needs the size of the sensor; give input.sensor')
        return
    if len(sensor) != 2 or any(type(n) is not int or not 1 <= n <= _MOST_SIDE for n in sensor):
        raise ArtefactError(f"input.sensor = {brief(list(sensor))}; it must be [H, W], integers in 1..{_MOST_SIDE}")
    if math.prod(sensor) > MAX_ELEMENTS or shape[0] != 2 or record.binning == "none":
        raise ArtefactError(
            f"input.sensor = {brief(list(sensor))}: such events take 2 channels and a binning, but this input has "
            f'shape {list(shape)} and binning "{record.binning}"'
        )
    if record.resize == "none" and tuple(sensor) != shape[1:]:
        raise ArtefactError(
            f'input.resize = "none": frames have the size of the sensor, {list(sensor)}, but this input has shape '
            f"{list(shape)}"
        )


def _check_columns(record: InputRecord) -> None:
    names = record.columns
    if not names:
        return
    if record.kind not in ("series", "table") or len(names) != record.shape[0] or len(set(names)) < len(names):
        raise ArtefactError(
            f"input.columns = {brief(list(names))}; it must be {record.shape[0]} unique names, of a time series or "
            "table"
        )
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise ArtefactError(
                f"input.columns: {brief(name)} is not a printable name of 1 to {LONGEST_NAME} characters"
            )


def _check_rates_and_windows(record: InputRecord) -> None:
    for key, most in (("rates", MOST_RATE), ("windows", MOST_ROWS)):
        numbers = getattr(record, key)
        valid = len(numbers) == 2 and all(type(number) is int and 1 <= number <= most for number in numbers)
        if numbers and (record.kind != "series" or not valid):
            raise ArtefactError(
                f"input.{key} = {brief(list(numbers))}; it must be two integers in 1..{most}, of a time series"
            )


def _check_shortest(record: InputRecord) -> None:
    shortest = record.shortest
    if type(shortest) is not int or shortest < 0 or (shortest and (record.kind != "series" or record.windows)):
        raise ArtefactError(
            f"input.shortest = {brief(shortest)}; it must be the fewest steps of time series that are not cut into "
            "windows, or 0"
        )


def check_sound(record: SoundRecord) -> None:
    """Raise `ArtefactError` for the first invalid field of an audio record."""
    for key, (least, most) in SOUND_LIMITS.items():
        value = getattr(record, key)
        if type(value) is not int or not least <= value <= most:
            raise ArtefactError(f"input.sound.{key} = {brief(value)}; it must be an integer in {least}..{most}")
    if record.clips not in CLIPS:
        raise ArtefactError(
            f"input.sound.clips = {brief(record.clips)} is unknown; {did_you_mean(record.clips, CLIPS)}"
        )
    if record.samples < record.hop:
        raise ArtefactError(f"input.sound.samples = {record.samples}; it must be at least hop = {record.hop}")
    ends = (record.lowest_hz, record.highest_hz)
    if not all(map(is_float32, ends)) or not 0 <= ends[0] < ends[1] <= record.rate / 2:
        raise ArtefactError(
            f"input.sound.lowest_hz, highest_hz = {brief(ends)}; they must ascend in 0..{record.rate / 2:g}"
        )


_INPUT_WORDS: Mapping[str, Collection[str]] = {
    "kind": INPUT_KINDS,
    "resize": RESIZE_MODES,
    "fit": FIT_MODES,
    "frames": FRAMINGS,
    "binning": BINNING_MODES,
}


@dataclass(frozen=True)
class SampleName:
    """The noun for a sample, in the singular and the plural."""

    one: str
    many: str


SAMPLE = SampleName("sample", "samples")
"""Noun for samples of an unknown kind or of several kinds."""
_NAMES = {
    "image": SampleName("image", "images"),
    "series": SampleName("series", "series"),
    "table": SampleName("row", "rows"),
    "events": SampleName("recording", "recordings"),
}


def sample_name(record: InputRecord) -> SampleName:
    """Return the noun for the samples of an input record.

    >>> sample_name(InputRecord((1, 8, 8), (0.0,), (1.0,))).many
    'images'
    >>> sample_name(InputRecord((1, 8, 1), (0.0,), (1.0,), kind="series", windows=(8, 4))).many
    'windows'
    """
    if record.sound is not None:
        return SampleName("sound", "sounds")
    if record.windows:
        return SampleName("window", "windows")
    return _NAMES[record.kind]
