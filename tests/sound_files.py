"""Small sounds, as somebody might have them: tones of two heights in noise, as .wav files by class."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = ("high", "low")


def tone(label: str, number: int, seconds: float = 0.25, rate: int = 8000) -> NDArray[np.float64]:
    """[N] in -1..1: another one for each number, of a height that its class has."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng([len(label), number]).normal(0, 0.05, len(t))
    return np.asarray(0.5 * np.sin(2 * np.pi * (1900 if label == "high" else 440) * t + number) + noise)


def wav_bytes(
    samples: NDArray[np.float64], rate: int = 8000, *, bits: int = 16, form: int = 1, extensible: bool = False
) -> bytes:
    """A WAVE file of samples [N] or [N, channels] in -1..1: integers (form 1) or floats (3)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if form == 3:
        data = samples.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.round(samples * 127 + 128).astype("u1").tobytes()
    else:
        whole = np.round(samples * (2 ** (bits - 1) - 1)).astype("<i8").reshape(-1, 1)
        data = whole.view("u1")[:, : bits // 8].tobytes()
    block = channels * bits // 8
    shape = struct.pack("<HHIIHH", 0xFFFE if extensible else form, channels, rate, rate * block, block, bits)
    if extensible:
        shape += struct.pack("<HHIH14s", 22, bits, 0, form, b"\0" * 14)
    chunks = b"fmt " + struct.pack("<I", len(shape)) + shape + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def write_sounds(root: Path, per_class: int = 10, *, seconds: float = 0.25, rate: int = 8000) -> Path:
    """ROOT/CLASS/p0_0.wav ...: of each of `per_class` // 2 people two."""
    for label in CLASSES:
        for number in range(per_class):
            path = root / label / f"p{number // 2}_{number % 2}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wav_bytes(tone(label, number, seconds, rate), rate))
    return root


def write_public_voices(folder: Path) -> Path:
    """Sounds as the public set has them: voices in five languages, prompts of their own in each part."""
    for part, prompts in (("train", 14), ("val", 2), ("test", 2)):
        for number, language in enumerate(("en", "es", "fr", "it", "ru")):
            (folder / part / language).mkdir(parents=True)
            for prompt in range(prompts):
                sound = wav_bytes(tone("high" if number % 2 else "low", number + prompt))
                (folder / part / language / f"{part}_{prompt}.wav").write_bytes(sound)
    return folder
