"""Checks of a network's C source: build it on this machine and compare its outputs with the oracle."""

import math
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.building import Library, compiler
from hdlif.deploy.c.c_file import has_one_frame
from hdlif.deploy.c.fixed.fixed_point import FixedPoint
from hdlif.deploy.c.source import Source
from hdlif.errors import MachineError
from hdlif.graph.graph import Graph
from hdlif.runtime import reference

SEQUENCES = 4
"""Number of random sequences to compare, each one step longer than the network's."""


@dataclass(frozen=True)
class Checked:
    """Result of a build on this machine.

    Attributes:
        compiler: its name.
        code_bytes: of the functions, compiled on this machine; 0 if `size` is not installed.
        outputs: number of outputs compared, all equal to the reference's bit for bit.
    """

    compiler: str
    code_bytes: int
    outputs: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_here(graph: Graph, source: Source, fixed: FixedPoint | None = None) -> Checked:
    """Build `source`, the translation of `graph`, and compare outputs of random sequences bit for bit.

    Args:
        graph: graph that `source` was translated from.
        source: as in `translate`.
        fixed: the fixed point that `translate` was given, if any.
    Raises:
        InputError: no compiler is installed.
        MachineError: it rejects the source, or outputs differ.
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
        return Checked(path, max(0, text_bytes(library.path) - source.data_bytes), int(expected.size))


def _compare(found: NDArray[Any], expected: NDArray[Any], source: Source, path: str) -> None:
    wanted = np.ascontiguousarray(expected.astype(source.dtype)).reshape(found.shape)
    bits = np.dtype(f"int{8 * wanted.itemsize}")
    differ = np.argwhere(found.view(bits) != wanted.view(bits))
    if len(differ):
        t, place = differ[0]
        raise MachineError(
            f"{source.name}.c, built by {path}, gives {found[t, place]} for output {place} of step {t}, and "
            f"the oracle {wanted[t, place]}; try another compiler"
        )


def text_bytes(path: Path) -> int:
    """Return code and constants of a library or object file, according to binutils' `size`; 0 without it."""
    if shutil.which("size") is None:
        return 0
    done = subprocess.run(["size", "--format=sysv", str(path)], capture_output=True, text=True, check=True)
    sections = re.findall(r"^\.(?:text|rodata)\S*\s+(\d+)", done.stdout, re.MULTILINE)
    return sum(map(int, sections))
