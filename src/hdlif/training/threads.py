"""Number of threads of a training on a CPU: PyTorch's own, or the fastest for its first updates.

Tensors of a small network are not worth sharing out, and threads that wait for each other are the first to suffer where
something else runs. Which number is best depends on the network, the batch and the machine, so it is measured, on a
copy of the network, before the first update.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from hdlif.runtime.limits import available_cores

FEWEST_ROUNDS, MOST_ROUNDS = 3, 24
"""Timed updates for each number of threads."""
SHARE = 0.08
"""Of a training's updates, those that are spent on the choice, where that makes a number of rounds between the two."""
WORTH_MEASURING = 20
"""Updates for each number of threads needed for several rounds; with fewer, one decides."""
TOO_SHORT = 10
"""A training of no more updates is not measured."""
BUDGET_SECONDS = 30.0
"""No new round is begun after so long."""
HOPELESS = 3.0
"""A number of threads that takes so many times as long as another one is not tried again."""
TIE = 0.01
"""More threads that gain less than this share of the time are not worth having."""


@dataclass(frozen=True)
class Threads:
    """The number of threads of a training, and its origin.

    Attributes:
        chosen_by: "measured"; "given" by the caller; "checkpoint", of the run that is resumed; "default", PyTorch's
            own number, where nothing is to be chosen or no more than `TOO_SHORT` updates are to come.
        seconds_per_update: by number of threads, where that was measured: the median of the smallest number, times
            the median ratio to it that decides; or the one update of a number that was not tried again, or of each in
            a short training.
        count: PyTorch's threads.
        update: what was timed, in words.
    """

    count: int
    chosen_by: str
    seconds_per_update: Mapping[int, float] = field(default_factory=dict)
    update: str = "an update"

    def as_dict(self) -> dict[str, object]:
        """Return it as in summary.json."""
        seconds = {str(count): round(value, 6) for count, value in self.seconds_per_update.items()}
        return {"count": self.count, "chosen_by": self.chosen_by, "seconds_per_update": seconds}

    def __str__(self) -> str:
        if not self.seconds_per_update:
            return f"threads: {self.count} ({self.chosen_by})"
        times = ", ".join(f"{_in_words(value)} with {n}" for n, value in self.seconds_per_update.items())
        return f"threads: {self.count} (measured: {self.update} takes {times})"


def _in_words(seconds: float) -> str:
    """A time.

    >>> _in_words(0.01234), _in_words(0.1234), _in_words(1.71)
    ('12.3 ms', '123 ms', '1.7 s')
    """
    return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"


@contextmanager
def using_threads(count: int | None = None) -> Iterator[None]:
    """Inside, PyTorch has `count` threads, or those that it had; afterwards those that it had.

    >>> import torch
    >>> from hdlif.training import using_threads
    >>> with using_threads(1):
    ...     torch.get_num_threads()
    1

    Args:
        count: at least 1; None leaves the number as it is.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def candidates(cores: int) -> list[int]:
    """1, 2, 4, ... and `cores`."""
    counts = [1]
    while 2 * counts[-1] < cores:
        counts.append(2 * counts[-1])
    return counts if cores == 1 else [*counts, cores]


def cores_to_try() -> int:
    """Return the most threads to try when timing decides; 0 if OMP_NUM_THREADS has decided already."""
    return 0 if "OMP_NUM_THREADS" in os.environ else available_cores()


BUSY = 0.3
"""Of the machine's cores, the busy share from which `warning_of_others` warns."""


def warning_of_others() -> str | None:
    """Return a warning where cores were busy in the last minute; None elsewhere.

    At each operation PyTorch's threads wait for the slowest of them, so that where two programs share two cores an
    update may take many times as long as with one thread.
    """
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "getloadavg"):
        return None
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy < BUSY * cores or torch.get_num_threads() == 1:
        return None
    return (
        f"warning: this machine had {busy:.1f} of {cores} cores busy in the last minute; while other programs use "
        "them, --threads 1 may be many times as fast"
    )


def rounds_for(updates: int, counts: int) -> int | None:
    """Rounds to time in a training of so many updates after the first, which alone decides where there are 0.

    None where the training is too short for that, too.
    """
    if updates <= TOO_SHORT:
        return None
    if updates < WORTH_MEASURING * counts:
        return 0
    return max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(SHARE * updates) // counts - 1))


def measured(
    update: Callable[[int], object],
    counts: Sequence[int],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Threads:
    """Return the number of threads with the fastest updates.

    Every number is tried in each round, on the same update; the first round, which warms up, counts only against the
    hopeless, unless it is the only one. What is compared is the median over rounds of the time beside that of the
    smallest number, so that a moment of other work does not decide.

    Args:
        update: carries out update number i (from 0) of a copy.
        counts: numbers of threads, the smallest first.
        rounds: that are timed after the first; fewer are run where `BUDGET_SECONDS` are over, or one number is left.
        clock: seconds.
    """
    times: dict[int, list[float]] = {count: [] for count in counts}
    warm_up: dict[int, float] = {}
    began = clock()
    with using_threads(counts[0]):
        # One-time costs of the first update, such as memory and kernels, count for none of them.
        update(0)
        for number in range(rounds + 1):
            # In turns the other way round, lest what a round leaves in the caches favour one.
            for count in sorted(times, reverse=bool(number % 2)):
                torch.set_num_threads(count)
                start = clock()
                update(number)
                if number:
                    times[count].append(clock() - start)
                else:
                    warm_up[count] = clock() - start
            so_far = {count: sum(of_count) if number else warm_up[count] for count, of_count in times.items()}
            times = {count: times[count] for count in times if so_far[count] < HOPELESS * min(so_far.values())}
            if len(times) == 1 or (number and clock() - began > BUDGET_SECONDS):
                break
    times = {count: of_count or [warm_up[count]] for count, of_count in times.items()}
    first = next(iter(times.values()))
    beside = {
        count: statistics.median(mine / other for mine, other in zip(of_count, first, strict=True))
        for count, of_count in times.items()
    }
    best = min(beside.values())
    chosen = min(count for count in beside if beside[count] <= best * (1 + TIE))
    seconds = warm_up | {count: statistics.median(first) * ratio for count, ratio in beside.items()}
    return Threads(chosen, "measured", seconds)
