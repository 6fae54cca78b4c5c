"""What a sample is called where figures are printed: the one place that decides the word."""

from dataclasses import dataclass

from hdlif.graph.ops.graph import InputRecord


@dataclass(frozen=True)
class SampleName:
    """The word for a sample: of one, and of many."""

    one: str
    many: str


SAMPLE = SampleName("sample", "samples")
"""Of any kind, where it is not known or there are several."""
_NAMES = {
    "image": SampleName("image", "images"),
    "series": SampleName("series", "series"),
    "table": SampleName("row", "rows"),
    "events": SampleName("recording", "recordings"),
}


def sample_name(record: InputRecord) -> SampleName:
    """By what a network takes.

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
