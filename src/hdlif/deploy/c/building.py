"""Builds of a network's C source: a shared library called from Python, or a firmware folder for a board."""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.source import Source
from hdlif.deploy.c.text import braced, indented
from hdlif.errors import InputError, MachineError

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
LONGEST_BUILD_S = 300
State = ctypes.Array[ctypes.c_char]


def compiler() -> str:
    """Return the path of this machine's C compiler.

    Raises:
        InputError: no compiler is installed.
    """
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    if found is None:
        raise InputError(f"no C compiler is installed ({', '.join(COMPILERS)}); install one, or leave the check out")
    return found


class Library:
    """A network compiled as a shared library.

    Args:
        folder: folder for sources and library.
        with_compiler: path of the compiler; this machine's by default.
        flags: additional compiler flags.
    Raises:
        MachineError: the compiler rejects the source, or times out.
    """

    def __init__(
        self, source: Source, folder: Path, *, with_compiler: str | None = None, flags: Sequence[str] = FLAGS
    ) -> None:
        self._source = source
        code, header, self.path = (folder / f"{source.name}{ending}" for ending in (".c", ".h", ".so"))
        code.write_text(source.code, encoding="utf-8")
        header.write_text(source.header, encoding="utf-8")
        command = [with_compiler or compiler(), *flags, "-shared", "-fPIC", "-o", str(self.path), str(code), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_BUILD_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"{code}: {Path(command[0]).name} has not ended after {LONGEST_BUILD_S} s") from error
        if done.returncode:
            raise MachineError(f"{code}: {Path(command[0]).name} refuses it: {done.stderr.strip()[:2000]}")
        self._library = ctypes.CDLL(str(self.path))
        # its content does not matter
        self._work = ctypes.create_string_buffer(b"\xa5" * source.work_bytes, source.work_bytes)

    def _function(self, name: str) -> Any:
        return self._library[f"{self._source.name}_{name}"]

    def new_state(self) -> State:
        """Return the initial state of a sequence."""
        state = ctypes.create_string_buffer(self._source.state_bytes)
        self._function("start")(state)
        return state

    def step(self, state: State, frame: NDArray[Any], outputs: int) -> NDArray[Any]:
        """Return the outputs [outputs] of a frame [C, H, W], and advance the state."""
        found = np.zeros(outputs, self._source.dtype)
        self._function("step")(state, self._work, _pointer(frame), _pointer(found))
        return found

    def run(self, x: NDArray[Any], outputs: int) -> NDArray[Any]:
        """Return the outputs [T, outputs] of a sequence of frames [T, C, H, W], from the start."""
        state = self.new_state()
        return np.stack([self.step(state, frame, outputs) for frame in x])

    def answer(self, frames: NDArray[Any], steps: int, outputs: int) -> NDArray[Any]:
        """Return the outputs [T, outputs] of all steps, from frames [T, C, H, W] or one constant frame."""
        found = np.zeros((steps, outputs), self._source.dtype)
        work = ctypes.create_string_buffer(b"\xa5" * self._source.answer_bytes, self._source.answer_bytes)
        self._function("answer")(work, _pointer(frames), _pointer(found))
        return found

    def frame(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the frame of pixels [C, H, W]."""
        found = np.zeros(pixels.shape, self._source.dtype)
        self._function("frame")(_pointer(pixels), _pointer(found))
        return found

    def labels(self, count: int, length: int) -> tuple[str, ...]:
        text = ctypes.c_char * length
        names = (text * count).in_dll(self._library, f"{self._source.name}_labels")
        return tuple(name.value.decode() for name in names)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


FILES = ("Makefile", "main.c", "microbit.ld", "mps2.ld", "mps3.ld", "port.h", "sections.ld", "startup.c")


def check_name(name: str) -> None:
    """Raise `InputError` if the network's name clashes with a file of the folder."""
    taken = sorted({file.partition(".")[0] for file in (*FILES, "samples.h") if file.endswith((".c", ".h"))})
    if name in taken:
        raise InputError(f"{name}: files of the firmware bear the names {', '.join(taken)}; give the network another")


def firmware(source: Source, frames: NDArray[Any], expected: NDArray[Any]) -> Mapping[str, str]:
    """Return the files of the folder by name, including the network's.

    Args:
        frames: inputs, [N, T or 1, C, H, W], of the source's type.
        expected: outputs [N, T, ...] of the oracle.
    Raises:
        InputError: the network's name clashes with another file, or an output is not finite.
    """
    check_name(source.name)
    if not np.isfinite(expected).all():
        raise InputError(f"{source.name}: an output is not finite on the samples; give other data")
    found = {f"{source.name}.c": source.code, f"{source.name}.h": source.header}
    found |= {file: part_of_firmware(file, source.name) for file in FILES}
    found["samples.h"] = _samples(source, frames, expected)
    return found


def part_of_firmware(file: str, name: str) -> str:
    """Return the text of one of `FILES` for a network of that name."""
    text = files("hdlif.deploy.c").joinpath("firmware", file).read_text(encoding="utf-8")
    return text.replace("@name@", name).replace("@NAME@", name.upper())


def _samples(source: Source, frames: NDArray[Any], expected: NDArray[Any]) -> str:
    count, shown = frames.shape[:2]
    flat = frames.reshape(count, shown, -1).astype(source.dtype)
    number = f"static const {source.name}_number"
    outputs = expected.reshape(*expected.shape[:2], -1).astype(source.dtype)
    lines = [
        f"#define COUNT_OF_SAMPLES {count}",
        f"#define FRAMES_OF_SAMPLE {shown}",
        f"{number} SAMPLES[{count}][{shown}][{flat.shape[2]}] = {braced(flat)};",
        f"{number} EXPECTED[{count}][{outputs.shape[1]}][{outputs.shape[2]}] = {braced(outputs)};",
    ]
    return indented("\n".join(lines)) + "\n"
