"""Build a network's C source on this machine, and compare its outputs with the reference outputs."""

import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.building import Library, compiler, target_of
from hdlif.deploy.c.c_file import has_one_frame
from hdlif.deploy.c.fixed.fixed_point import FixedPoint
from hdlif.deploy.c.fixed.learning import FixedLearner
from hdlif.deploy.c.integer_learning import IntegerLearning
from hdlif.deploy.c.source import Source
from hdlif.errors import MachineError
from hdlif.graph.graph import Graph
from hdlif.runtime import reference
from hdlif.runtime.learning import DEFAULT_RATE
from hdlif.runtime.reference_learning import ReferenceLearner

SEQUENCES = 4
"""Number of random sequences to compare. Each has one step more than the network."""


@dataclass(frozen=True)
class Checked:
    """The result of building and checking a network on this machine.

    Attributes:
        compiler: name of the compiler.
        code_bytes: bytes of the functions compiled on this machine; 0 if `size` is not installed.
        outputs: number of compared outputs, all of which equal the reference bit for bit.
        updates: number of updates with compared results, all equal bit for bit.
    """

    compiler: str
    code_bytes: int
    outputs: int
    updates: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_here(graph: Graph, source: Source, fixed: FixedPoint | None = None) -> Checked:
    """Compile `source`, run it on random sequences, and compare the outputs with the reference outputs bit for bit.

    Args:
        graph: graph that `source` was translated from.
        source: result of `translate`.
        fixed: the argument `fixed` of `translate`, if any.
    Raises:
        InputError: no compiler is installed.
        MachineError: the compiler rejects the source, or outputs differ.
    """
    steps = graph.time_steps + 1
    x = reference.random_frames(graph, SEQUENCES, steps=steps)
    frames = x if fixed is None else fixed.frame(x).astype(np.int16)

    def of_frames(shown: NDArray[Any], steps: int) -> NDArray[Any]:
        return reference.run(graph, shown, steps) if fixed is None else fixed.run(shown.astype(np.int64), steps)

    expected = of_frames(frames, steps)
    outputs = math.prod(expected.shape[2:])
    path = compiler()
    with tempfile.TemporaryDirectory() as folder:
        library = Library(source, Path(folder), with_compiler=path)
        for k in range(SEQUENCES):
            found = library.run(np.ascontiguousarray(frames[:, k]), outputs)
            _compare(found, expected[:, k], source, path)
        if source.answer_bytes:
            frames = frames[: 1 if has_one_frame(graph) else graph.time_steps]
            for k in range(SEQUENCES):
                found = library.answer(np.ascontiguousarray(frames[:, k]), graph.time_steps, outputs)
                _compare(found, of_frames(frames, graph.time_steps)[:, k], source, path)
        code_bytes = max(0, text_bytes(library.path) - source.data_bytes)
        updates = 0 if source.learning is None else _check_learning(source, library, x, frames, outputs)
        return Checked(path, code_bytes, int(expected.size), updates)


def learned_from(source: Source, frames: NDArray[Any]) -> Iterator[bytes]:
    """Train the reference learner on N sequences [T, N, C, H, W], and yield the bytes of the learned struct after each
    update.

    The learner uses the default learning rate, and `target_of` selects the class of each sequence. T may be 1 if all
    steps use the same frame.
    """
    learning = source.learning
    assert learning is not None
    oracle: ReferenceLearner | FixedLearner
    if isinstance(learning, IntegerLearning):
        oracle = FixedLearner(learning.fixed, rate=DEFAULT_RATE.floats)
    else:
        rate = replace(DEFAULT_RATE, momentum=learning.trained.momentum)
        oracle = ReferenceLearner(learning.file.graph, learning.trained.level, rate=rate)
    for k in range(frames.shape[1]):
        oracle.learn(frames[:, k : k + 1], [target_of(source, k)])
        yield learning.content(oracle.memory)


def _check_learning(
    source: Source, library: Library, x: NDArray[np.float32], frames: NDArray[Any], outputs: int
) -> int:
    """Update the network once per sequence, compare the learned struct with the reference, and return the number of
    updates.

    Args:
        frames: the frames `x` as numbers of the source.
    """
    for k, expected in enumerate(learned_from(source, x)):
        state = library.new_state()
        for frame in np.ascontiguousarray(frames[:, k]):
            library.learn_step(state, frame, target_of(source, k), outputs)
        if not library.update(DEFAULT_RATE.floats, DEFAULT_RATE.latents) or expected != bytes(library.learned):
            raise MachineError(f"{source.name}.c: trained values differ from the reference; try another compiler")
    return len(frames[0])


def _compare(found: NDArray[Any], expected: NDArray[Any], source: Source, path: str) -> None:
    wanted = np.ascontiguousarray(expected.astype(source.dtype)).reshape(found.shape)
    bits = np.dtype(f"int{8 * wanted.itemsize}")
    differ = np.argwhere(found.view(bits) != wanted.view(bits))
    if len(differ):
        t, place = differ[0]
        raise MachineError(
            f"{source.name}.c, built by {path}, gives {found[t, place]} for output {place} of step {t}, but the "
            f"reference gives {wanted[t, place]}; try another compiler"
        )


def text_bytes(path: Path) -> int:
    """Return the size in bytes of a binary file's code and constants, or 0 if the binutils tool `size` is missing."""
    if shutil.which("size") is None:
        return 0
    done = subprocess.run(["size", "--format=sysv", str(path)], capture_output=True, text=True, check=True)
    sections = re.findall(r"^\.(?:text|rodata)\S*\s+(\d+)", done.stdout, re.MULTILINE)
    return sum(map(int, sections))
