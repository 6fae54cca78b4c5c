"""Choose the number of threads for training on a CPU: PyTorch's default, or the fastest number in a measurement.

For small tensors, several threads can be slower than one thread. Because threads wait for each other, other programs
slow down training more with several threads than with one. The best number of threads depends on network, batch and
machine, so hdlif measures update times on a copy of the network.
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
"""Smallest and largest number of timed updates per number of threads."""
SHARE = 0.08
"""Fraction of a training run's updates for measuring; `FEWEST_ROUNDS` and `MOST_ROUNDS` limit the rounds."""
WORTH_MEASURING = 20
"""Smallest number of updates per number of threads for several rounds; with fewer updates, one round decides."""
TOO_SHORT = 10
"""Most updates of a training run without measurements."""
BUDGET_SECONDS = 30.0
"""Time after which no new round begins."""
HOPELESS = 3.0
"""Time ratio from which a number of threads is not tried again: its time over the shortest time."""
TIE = 0.01
"""Smallest fraction of the time that more threads must save to be chosen."""


@dataclass(frozen=True)
class Threads:
    """The number of threads of a training run, and how it was chosen.

    Attributes:
        chosen_by: "measured"; "given" by the caller; "checkpoint", from the resumed run; or "default", PyTorch's own
            number, if there is no choice to make or at most `TOO_SHORT` updates remain.
        seconds_per_update: by number of threads, if measured: the median for the smallest number, times the median
            ratio to it that decides. For a number that was not tried again, or in a short training run, it is the time
            of the only update.
        count: number of PyTorch's threads.
        update: description of the timed update.
    """

    count: int
    chosen_by: str
    seconds_per_update: Mapping[int, float] = field(default_factory=dict)
    update: str = "an update"

    def as_dict(self) -> dict[str, object]:
        """Return the attributes in the format of summary.json."""
        seconds = {str(count): round(value, 6) for count, value in self.seconds_per_update.items()}
        return {"count": self.count, "chosen_by": self.chosen_by, "seconds_per_update": seconds}

    def __str__(self) -> str:
        if not self.seconds_per_update:
            return f"threads: {self.count} ({self.chosen_by})"
        times = ", ".join(f"{_in_words(value)} with {n}" for n, value in self.seconds_per_update.items())
        return f"threads: {self.count} (measured: {self.update} takes {times})"


def _in_words(seconds: float) -> str:
    """Format a time in seconds as text.

    >>> _in_words(0.01234), _in_words(0.1234), _in_words(1.71)
    ('12.3 ms', '123 ms', '1.7 s')
    """
    return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"


@contextmanager
def using_threads(count: int | None = None) -> Iterator[None]:
    """Set PyTorch's number of threads inside the context and restore it afterwards.

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
    """Return the powers of 2 below `cores`, and `cores` itself."""
    counts = [1]
    while 2 * counts[-1] < cores:
        counts.append(2 * counts[-1])
    return counts if cores == 1 else [*counts, cores]


def cores_to_try() -> int:
    """Return the largest number of threads to try, or 0 if OMP_NUM_THREADS sets the number of threads."""
    return 0 if "OMP_NUM_THREADS" in os.environ else available_cores()


BUSY = 0.3
"""Fraction of busy cores from which `warning_of_others` warns."""


def warning_of_others() -> str | None:
    """Return a warning if several of the machine's cores were busy in the last minute, otherwise None.

    In each operation, all of PyTorch's threads wait for the slowest one. If two programs share two cores, an update
    with two threads may take many times as long as an update with one thread.
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
    """Return the number of rounds to time after the first round; it is 0 if the first round alone decides.

    Return None if a training run is too short for even one round.
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
    """Measure which number of threads gives the fastest updates, and return it.

    Each round times the same update with every number of threads. If more rounds follow, the first round only excludes
    thread counts that are slow. In each later round, every measured time is divided by the time with the fewest
    threads. The choice is based on the median ratio over rounds, so a short disturbance has no effect.

    Args:
        update: makes update number i (from 0) on a copy.
        counts: numbers of threads, the smallest first.
        rounds: rounds to time after the first; fewer run if `BUDGET_SECONDS` have passed, or one number is left.
        clock: returns seconds.
    """
    times: dict[int, list[float]] = {count: [] for count in counts}
    warm_up: dict[int, float] = {}
    began = clock()
    with using_threads(counts[0]):
        # Update once before timing, because the first update has one-time costs, such as memory and kernels.
        update(0)
        for number in range(rounds + 1):
            # Alternate the order, so the caches that a round leaves favour no number.
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
