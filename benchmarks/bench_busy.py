"""What processes that compute all the time do to one that has a single thread: a loop of Python, and convolutions.

    python benchmarks/bench_busy.py [--most 2]

Beside none of them, 1, 2, ... : milliseconds of each loop, the median of 15, and its ratio to that beside none: what
anything of that kind with one thread loses there at the least.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from bench_threads import busy


def counted() -> None:
    total = 0
    for i in range(500_000):
        total += i


def convolved() -> None:
    x, weight = torch.ones(64, 16, 8, 8), torch.ones(16, 16, 3, 3)
    for _ in range(40):
        torch.nn.functional.conv2d(x, weight, padding=1)


def milliseconds(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(15):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loops = {"Python": counted, "convolutions": convolved}
    alone = {name: milliseconds(work) for name, work in loops.items()}
    for count in range(arguments.most + 1):
        with busy(count):
            time.sleep(0.5)
            found = {name: milliseconds(work) for name, work in loops.items()}
        text = ", ".join(f"{name} {found[name]:.1f} ms ({found[name] / alone[name]:.2f})" for name in loops)
        print(f"beside {count} busy processes: {text}")


if __name__ == "__main__":
    main()
