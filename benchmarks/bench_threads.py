"""The number of threads that a training chooses, beside PyTorch's own number: seconds an update, in turns.

    python benchmarks/bench_threads.py [RECIPE ...] [--set A.B=V ...] [--rounds 12] [--busy N] [--out FILE]

For each recipe (default: each whose data comes with the project or with `--data-root`, the digits and Fashion-MNIST)
the choice is made as `hdlif train` makes it, on random images of the recipe's shape, and then updates with the chosen
number and with PyTorch's own take turns, each on the same draw. `--busy N` does the same beside N processes that
compute all the time.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench_compile import updating
from hdlif.recipe import Recipe, load_recipe, shipped_recipes
from hdlif.training.threads import MOST_ROUNDS, candidates, measured
from recorded import write_record


def compared(recipe: Recipe, *, rounds: int) -> dict[str, Any]:
    """The choice, and seconds an update with it and with PyTorch's own number."""
    own = torch.get_num_threads()
    update = updating(recipe)
    choice = measured(update, candidates(own), rounds=MOST_ROUNDS)
    seconds: dict[int, list[float]] = {count: [] for count in {choice.count, own}}
    for number in range(rounds):
        for count in sorted(seconds, reverse=bool(number % 2)):
            torch.set_num_threads(count)
            seconds[count].append(update(number))
    torch.set_num_threads(own)
    ratios = [mine / its for mine, its in zip(seconds[choice.count], seconds[own], strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if rounds > 1 else [ratios[0]] * 3
    return {
        "chosen": choice.count,
        "own": own,
        "chosen_s": statistics.median(seconds[choice.count]),
        "own_s": statistics.median(seconds[own]),
        "ratio": {"median": statistics.median(ratios), "quartiles": [quartiles[0], quartiles[2]]},
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Inside, so many processes compute."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=V")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    names = given.recipes or [name for name in shipped_recipes() if name.startswith(("digits", "fashion_mnist"))]
    rows = {}
    with busy(given.busy):
        for name in names:
            row = rows[name] = compared(load_recipe(name, given.overrides), rounds=given.rounds)
            low, high = row["ratio"]["quartiles"]
            print(
                f"{name}: {row['chosen']} of {row['own']} threads, {1e3 * row['chosen_s']:.4g} ms beside "
                f"{1e3 * row['own_s']:.4g} ms, ratio {row['ratio']['median']:.3f} ({low:.3f} to {high:.3f})",
                flush=True,
            )
    if given.out:
        record = {"overrides": given.overrides, "busy": given.busy, "rounds": given.rounds, "recipes": rows}
        write_record(given.out, record, seeds="the recipes' own")


if __name__ == "__main__":
    main()
