"""How sounds become series of log-mel frames: a part of what a network states of its input."""

from dataclasses import dataclass

CLIPS = ("first", "centre", "windows")
"""What is taken of a sound that is longer than a clip."""


@dataclass(frozen=True)
class SoundRecord:
    """A clip of `samples` at `rate` Hz, as `frames` steps of `mels` log-mel energies; `hdlif.inputs.sounds` makes them.

    Attributes:
        clips: what is taken of a longer sound.
        every: samples from one clip to the next, where `clips` is "windows".
        frame, hop: samples of a frame, and from one to the next.
        lowest_hz, highest_hz: of the filter bank.
    """

    rate: int
    samples: int
    clips: str
    every: int
    mels: int
    frame: int
    hop: int
    lowest_hz: float
    highest_hz: float

    @property
    def frames(self) -> int:
        """Whole hops of a clip."""
        return self.samples // self.hop
