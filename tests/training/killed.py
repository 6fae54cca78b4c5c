"""A training that is killed again and again: `python killed.py OUT RANDOM AIMED` prints where the kills fell, as JSON.

One process that has imported everything forks each training of it, so that a kill costs no start of an interpreter.
Every stage of a checkpoint's writing is drawn out. RANDOM kills fall at random moments; among them, AIMED ones wait for
each stage of some writing in turn, so that all stages are met however slow the machine.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from training import tiny

EPOCHS = 450
"""More than fit between so many kills on any machine."""
PHASES = ("training", "half written", "not yet renamed", "between two names")
STARTING = len(PHASES)
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def draw_out_writing(phase: mmap.mmap) -> None:
    """Let every stage of a checkpoint's writing last 10 ms, and `phase` say which one it is."""

    def dwell(number: int) -> None:
        phase[0] = number
        time.sleep(0.01)
        phase[0] = 0

    open_file, flush, rename = Path.open, os.fsync, Path.replace

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        file = open_file(path, mode, **options)
        if mode == "wb" and ".safetensors." in path.name:
            # Unbuffered, so that the first half is in the file.
            file.close()
            return Halves(open_file(path, mode, buffering=0), dwell)
        return file

    def flushed(descriptor: int) -> None:
        flush(descriptor)
        dwell(2)

    def renamed(path: Path, target: Path) -> Path:
        result = rename(path, target)
        if target.name == "previous.safetensors":
            dwell(3)
        return result

    Path.open, os.fsync, Path.replace = opened, flushed, renamed  # type: ignore[assignment,method-assign]


class Halves:
    """A file that dwells in the middle of a writing."""

    def __init__(self, file: Any, dwell: Callable[[int], None]) -> None:
        self._file, self._dwell = file, dwell

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self._file.write(content[:half])
        self._dwell(1)
        self._file.write(content[half:])

    def __enter__(self) -> "Halves":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def start(out: Path, phase: mmap.mmap) -> int:
    """The process number of a training, forked from this process."""
    child = os.fork()
    if child == 0:
        try:
            draw_out_writing(phase)
            phase[0] = 0
            tiny.train(out, epochs=EPOCHS, resume=True, checkpoint_every=0.05)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def main(out: Path, at_random: int, aimed: int) -> None:
    torch.set_num_threads(1)
    phase = mmap.mmap(-1, 1)
    moments, fell = random.Random(0), {"random": Counter[str](), "aimed": Counter[str]()}
    kinds = ["random"] * at_random + ["aimed"] * aimed
    moments.shuffle(kinds)
    for kind in kinds:
        phase[0] = STARTING
        child = start(out, phase)
        while phase[0] == STARTING:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.4))
        if kind == "aimed":
            stage = 1 + fell[kind].total() % (len(PHASES) - 1)
            while phase[0] != stage and os.waitid(os.P_PID, child, ENDED) is None:
                time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        fell[kind][PHASES[phase[0]] if os.WIFSIGNALED(status) else "ended"] += 1
    tiny.train(out, epochs=EPOCHS, resume=True)
    print(json.dumps(fell))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
