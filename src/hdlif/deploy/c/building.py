"""Compile a network's C source to a shared library for Python, or write a firmware folder for a board."""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.fixed.learning import RATE_BITS
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
        raise InputError(f"no C compiler is installed ({', '.join(COMPILERS)}); install one, or skip the check")
    return found


class Library:
    """A network compiled as a shared library.

    Attributes:
        learned: the struct that training changes; only for a network that learns.

    Args:
        folder: folder for the sources and the library.
        with_compiler: path of the compiler; by default the one installed on this machine.
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
            raise MachineError(f"{code}: {Path(command[0]).name} did not finish within {LONGEST_BUILD_S} s") from error
        if done.returncode:
            raise MachineError(f"{code}: {Path(command[0]).name} cannot compile it: {done.stderr.strip()[:2000]}")
        self._library = ctypes.CDLL(str(self.path))
        # the initial content does not matter
        self._work = _filled(source.work_bytes)
        if source.learning is not None:
            self.learned, self._learn_work = _filled(source.learning.learned.size), _filled(source.learning.work.size)
            self._gradients = ctypes.create_string_buffer(source.learning.gradients.size)
            self._function("learned_start")(self.learned)

    def _function(self, name: str) -> Any:
        return self._library[f"{self._source.name}_{name}"]

    def new_state(self) -> State:
        """Return the initial state for a new sequence."""
        state = ctypes.create_string_buffer(self._source.state_bytes)
        self._function("start")(state)
        return state

    def step(self, state: State, frame: NDArray[Any], outputs: int) -> NDArray[Any]:
        """Run one step on a frame [C, H, W], update the state, and return the outputs."""
        found = np.zeros(outputs, self._source.dtype)
        learned = () if self._source.learning is None else (self.learned,)
        self._function("step")(state, self._work, *learned, _pointer(frame), _pointer(found))
        return found

    def learn_step(self, state: State, frame: NDArray[Any], target: int, outputs: int) -> NDArray[Any] | None:
        """Run one step, collect gradients for class `target`, and return the outputs, or None for an invalid class."""
        found = np.zeros(outputs, self._source.dtype)
        learning = self.learned, self._gradients, self._learn_work
        done = self._function("learn_step")(state, self._work, *learning, _pointer(frame), int(target), _pointer(found))
        return found if done else None

    def update(self, rate: float, latent_rate: float) -> bool:
        """Apply the gradients collected since the last update, and return whether the network changed.

        Args:
            latent_rate: used only in float32.
        """
        rates: tuple[Any, ...] = ctypes.c_float(rate), ctypes.c_float(latent_rate)
        if self._source.arithmetic == "fixed":
            rates = (ctypes.c_uint32(round(rate * 2**RATE_BITS)),)
        return bool(self._function("update")(self.learned, self._gradients, *rates))

    def run(self, x: NDArray[Any], outputs: int) -> NDArray[Any]:
        """Run a sequence of frames [T, C, H, W] from the initial state, and return the outputs of all steps."""
        state = self.new_state()
        return np.stack([self.step(state, frame, outputs) for frame in x])

    def answer(self, frames: NDArray[Any], steps: int, outputs: int) -> NDArray[Any]:
        """Run all steps in one C call, on frames [T, C, H, W] or a constant frame, and return every step's outputs."""
        found = np.zeros((steps, outputs), self._source.dtype)
        self._function("answer")(_filled(self._source.answer_bytes), _pointer(frames), _pointer(found))
        return found

    def frame(self, values: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[Any]:
        """Convert pixels (uint8) or other values (float32) [C, H, W] to an input frame."""
        found = np.zeros(values.shape, self._source.dtype)
        self._function("frame")(_pointer(values), _pointer(found))
        return found

    def labels(self, count: int, length: int) -> tuple[str, ...]:
        text = ctypes.c_char * length
        names = (text * count).in_dll(self._library, f"{self._source.name}_labels")
        return tuple(name.value.decode() for name in names)


def _filled(size: int) -> State:
    return ctypes.create_string_buffer(b"\xa5" * size, size)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


FILES = ("Makefile", "main.c", "microbit.ld", "mps2.ld", "mps3.ld", "port.h", "sections.ld", "startup.c")


def check_name(name: str) -> None:
    """Raise `InputError` if the network's name clashes with a file in the firmware folder."""
    taken = sorted({file.partition(".")[0] for file in (*FILES, "samples.h") if file.endswith((".c", ".h"))})
    if name in taken:
        raise InputError(f"{name}: the firmware's files use the names {', '.join(taken)}; choose another network name")


def firmware(
    source: Source, frames: NDArray[Any], expected: NDArray[Any], learned: bytes | None = None
) -> Mapping[str, str]:
    """Return all files of the firmware folder, including the network's source, as a mapping from names to contents.

    Args:
        frames: inputs [N, T or 1, C, H, W] of the source's type.
        expected: outputs [N, T, ...] of the oracle.
        learned: for a network that learns, its struct after one update from each sample, with the class `target_of`.
    Raises:
        InputError: the network's name clashes with another file, or an output is not finite.
    """
    check_name(source.name)
    if not np.isfinite(expected).all():
        raise InputError(f"{source.name}: an output is not finite on the samples; give other data")
    found = {f"{source.name}.c": source.code, f"{source.name}.h": source.header}
    found |= {file: part_of_firmware(file, source.name) for file in FILES}
    found["samples.h"] = _samples(source, frames, expected)
    if learned is not None:
        assert source.learning is not None
        targets = braced(np.array([target_of(source, k) for k in range(len(frames))]))
        content = braced(np.frombuffer(learned, np.uint8))
        lines = [
            "/* Arbitrary classes, to compare updates with the reference. */",
            f"static const uint32_t TARGETS[{len(frames)}] = {targets};",
            f"static const uint8_t LEARNED_AT_LAST[{len(learned)}] = {content};",
        ]
        found["samples.h"] += indented("\n".join(lines)) + "\n"
    return found


def target_of(source: Source, sample: int) -> int:
    """Return the class that tests use as the target of a sample."""
    assert source.learning is not None
    return sample % len(source.learning.file.graph.labels)


def part_of_firmware(file: str, name: str) -> str:
    """Return the text of one of `FILES`, adapted to the network's name."""
    text = files("hdlif.deploy.c").joinpath("firmware", file).read_text(encoding="utf-8")
    return text.replace("@name@", name).replace("@NAME@", name.upper())


def _samples(source: Source, frames: NDArray[Any], expected: NDArray[Any]) -> str:
    count, shown = frames.shape[:2]
    flat = frames.reshape(count, shown, -1).astype(source.dtype)
    number = f"static const {source.name}_number"
    outputs = expected.reshape(*expected.shape[:2], -1).astype(source.dtype)
    lines = [
        "/* Samples from the export's test data, or random numbers without data. */",
        f"#define COUNT_OF_SAMPLES {count}",
        f"#define FRAMES_OF_SAMPLE {shown}",
        f"{number} SAMPLES[{count}][{shown}][{flat.shape[2]}] = {braced(flat)};",
        f"{number} EXPECTED[{count}][{outputs.shape[1]}][{outputs.shape[2]}] = {braced(outputs)};",
    ]
    return indented("\n".join(lines)) + "\n"
