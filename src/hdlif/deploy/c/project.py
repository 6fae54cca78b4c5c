"""A folder of firmware around a network's C source: start-up, memory, a program that shows it samples, a Makefile."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.indenting import indented
from hdlif.deploy.c.source import Source
from hdlif.deploy.c.text import braced
from hdlif.errors import InputError

FILES = ("Makefile", "main.c", "microbit.ld", "mps2.ld", "mps3.ld", "port.h", "sections.ld", "startup.c")


def check_name(name: str) -> None:
    """Raise `InputError` where a network has the name of another file of the folder."""
    taken = sorted({file.partition(".")[0] for file in (*FILES, "samples.h") if file.endswith((".c", ".h"))})
    if name in taken:
        raise InputError(f"{name}: files of the firmware bear the names {', '.join(taken)}; give the network another")


def firmware(source: Source, frames: NDArray[Any], expected: NDArray[Any]) -> Mapping[str, str]:
    """The files of the folder by name, the network's own among them.

    Args:
        frames: what is shown, [N, T or 1, C, H, W], of the source's type.
        expected: the outputs [N, T, n] that the oracle gives.
    Raises:
        InputError: the network has the name of another file, or an output is not finite.
    """
    check_name(source.name)
    if not np.isfinite(expected).all():
        raise InputError(f"{source.name}: an output is not finite on the samples; give other data")
    parts = {"name": source.name, "NAME": source.name.upper()}
    found = {f"{source.name}.c": source.code, f"{source.name}.h": source.header}
    for name in FILES:
        text = files("hdlif.deploy.c").joinpath("firmware", name).read_text(encoding="utf-8")
        for part, value in parts.items():
            text = text.replace(f"@{part}@", value)
        found[name] = text
    found["samples.h"] = _samples(source, frames, expected)
    return found


def _samples(source: Source, frames: NDArray[Any], expected: NDArray[Any]) -> str:
    count, shown = frames.shape[:2]
    flat = frames.reshape(count, shown, -1).astype(source.dtype)
    number = f"static const {source.name}_number"
    outputs = expected.astype(source.dtype)
    lines = [
        f"#define COUNT_OF_SAMPLES {count}",
        f"#define FRAMES_OF_SAMPLE {shown}",
        f"{number} SAMPLES[{count}][{shown}][{flat.shape[2]}] = {braced(flat)};",
        f"{number} EXPECTED[{count}][{outputs.shape[1]}][{outputs.shape[2]}] = {braced(outputs)};",
    ]
    return indented("\n".join(lines)) + "\n"
