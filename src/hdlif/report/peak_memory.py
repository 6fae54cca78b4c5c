"""Measure the peak memory of training in fresh processes.

A child process builds the network and the optimiser, reads its resident memory, runs a few updates on random images,
and reads its peak resident memory. The difference between the two readings is the memory that training needs in
addition to the program and the weights. Importing PyTorch can need more memory than a small training run. On Linux, the
child process therefore frees unused memory and resets the peak first. The allocator uses a single arena and maps
tensors above 64 KiB separately. The readings therefore do not depend on the heap layout. The child process runs the
module `hdlif.report.peak_memory`.
"""

import contextlib
import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hdlif import run_folder
from hdlif.errors import TrainingError
from hdlif.inputs.python_processes import module_command
from hdlif.recipe import Recipe, dump_recipe, load_recipe
from hdlif.report.allocator import resident_bytes

UPDATES = 4


def peak_memory(
    recipe: Recipe, *, repeats: int = 3, threads: int | None = None, batch_apart: bool = False, updates: int = UPDATES
) -> int:
    """Return the median number of bytes that training adds to the peak resident memory in several fresh processes.

    Args:
        threads: number of threads in each process; by default the environment sets it.
        batch_apart: whether all updates use one batch that exists before the first reading and is not counted.
        updates: number of updates; the first ones allocate memory that later ones reuse.
    Raises:
        TrainingError: a child process failed, most often for lack of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / run_folder.RECIPE
        path.write_text(dump_recipe(recipe), encoding="utf-8")
        command = module_command("hdlif.report.peak_memory", path, updates, *(["apart"] if batch_apart else []))
        return in_fresh_processes(command, repeats=repeats, name=recipe.name, threads=threads)


def in_fresh_processes(command: Sequence[str], *, repeats: int, name: str, threads: int | None = None) -> int:
    """Run a command `repeats` times, and return the median of the byte counts that it prints.

    Args:
        name: name of the measurement, for error messages.
        threads: number of threads in each run; by default the environment sets it.

    Raises:
        TrainingError: a run failed.
    """
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16)}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return round(statistics.median(_read(command, name, environment) for _ in range(repeats)))


def resident_growth(work: Callable[[], None]) -> int:
    """Return how many bytes a call to `work` adds to this process's peak resident memory."""
    _forget_peak()
    before = _peak_resident_bytes()
    work()
    return _peak_resident_bytes() - before


def _read(command: Sequence[str], name: str, environment: dict[str, str]) -> int:
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        reason = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise TrainingError(
            f"{name}: peak memory could not be measured ({reason[0]}; it is measured on the CPU, in one process with "
            "the whole batch); lower data.batch_size, or skip the measurement (--memory-repeats 0)"
        )
    return int(child.stdout)


def _train_and_report(path: Path, count: int, *, batch_apart: bool) -> None:
    """Print how many bytes `count` updates add to the child process's peak resident memory."""
    from hdlif.recipe import builders
    from hdlif.report.recipe_update import RecipeUpdate
    from hdlif.training.streaming import Streams

    recipe = load_recipe(path)
    made = RecipeUpdate(recipe)
    model, rule, update, generator = made.model, made.rule, made.update, made.generator
    every = recipe.training.stream
    streams = None if every is None else Streams(every, recipe.time_steps, rule, model)

    given = builders.random_batch(recipe, generator) if batch_apart else None

    def updates() -> None:
        for _ in range(count):
            x, target = given or builders.random_batch(recipe, generator)
            if streams is None:
                update(x, target, rule.schedule(recipe.time_steps, generator))
            else:
                streams.update(update, x, target, generator)

    print(resident_growth(updates))


def _forget_peak() -> None:
    """Free unused memory and reset the peak to the current resident memory, as far as the system supports this."""
    if platform.system() == "Linux":
        # musl has no malloc_trim, and a container may forbid clear_refs. The reading is then the peak of the import.
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak_resident_bytes() -> int:
    # ru_maxrss would start from the peak of the parent process.
    if (peak := resident_bytes("VmHWM")) is not None:
        return peak
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if platform.system() == "Darwin" else largest * 1024


if __name__ == "__main__":
    _train_and_report(Path(sys.argv[1]), int(sys.argv[2]), batch_apart=sys.argv[3:] == ["apart"])
