"""Sounds that `hdlif run` is given: whatever the bytes are, frames of a clip, or `Unreadable`."""

import random
import struct

import driver
import numpy as np

from hdlif.graph.graph import SoundRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.sounds import clips, log_mel
from hdlif.inputs.wav import MOST_SAMPLES, parse_wave
from mutations import BOUNDARIES
from sound_files import tone, wav_bytes

RECORD = SoundRecord(8000, 800, "windows", 400, 8, 256, 128, 20.0, 4000.0)
SEEDS = [
    wav_bytes(tone("low", 0, 0.01, rate), rate, bits=bits, form=form, extensible=extensible)
    for rate in (8000, 44100)
    for form, bits in ((1, 8), (1, 16), (1, 24), (3, 32), (3, 64))
    for extensible in (False, True)
]


def target(data: bytes) -> None:
    try:
        wave = parse_wave(data)
    except Unreadable:
        return
    assert 0 < len(wave.samples) <= min(len(data), MOST_SAMPLES)
    assert np.isfinite(wave.samples).all()
    for _, clip in clips(wave, RECORD):
        assert clip.shape == (RECORD.samples,)
        frames = log_mel(clip, RECORD)
        assert frames.shape == (RECORD.frames, RECORD.mels)
        assert not np.isnan(frames).any()


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Another number in a field of the format, or as the size of a chunk."""
    place = draw.choice((4, 16, 20, 22, 24, 28, 32, 34, 36, 38, 40, 44))
    number = draw.choice((*BOUNDARIES, 1, 2, 3, 16, 24, 32, 64, 1000, 384_000))
    form = draw.choice(("<H", "<I"))
    size = struct.calcsize(form)
    return data[:place] + (number % 256**size).to_bytes(size, "little") + data[place + size :]


if __name__ == "__main__":
    driver.main(target, "wav", seeds=SEEDS, mutate=mutate)
