"""Peak training memory against the number of time steps: STBP grows with T, the random time step does not.

    python benchmarks/bench_training_memory.py [--recipe NAME] [--batch-size N] [--time-steps 4,16,64] [--out FILE]

Each figure is the median over fresh processes (see `hdlif.commands.peak_memory`). The table is printed, and written as
JSON with --out. Both rules train the same network on the same batch size.
"""

import argparse
import json
from pathlib import Path

from hdlif.commands.files import write_json
from hdlif.commands.peak_memory import peak_memory
from hdlif.commands.provenance import hardware, versions
from hdlif.commands.tables import aligned
from hdlif.config import load_recipe

RULES = {"STBP": "{kind: stbp}", "random step": "{kind: stochastic_step, k: 1}"}


def measure(recipe: str, batch_size: int, time_steps: list[int], repeats: int) -> dict[str, dict[int, int]]:
    """Peak bytes by rule and T."""
    peaks: dict[str, dict[int, int]] = {}
    for name, rule in RULES.items():
        peaks[name] = {}
        for steps in time_steps:
            overrides = [f"rule={rule}", f"time_steps={steps}", f"data.batch_size={batch_size}"]
            peaks[name][steps] = peak_memory(load_recipe(recipe, overrides), repeats=repeats)
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="fashion_mnist_hdlif")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--time-steps", default="4,16,64")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    time_steps = [int(steps) for steps in arguments.time_steps.split(",")]
    peaks = measure(arguments.recipe, arguments.batch_size, time_steps, arguments.repeats)
    header = ["peak MB", *(f"T={steps}" for steps in time_steps), "largest / smallest"]
    rows = [
        [
            name,
            *(f"{peak / 1e6:.1f}" for peak in by_steps.values()),
            f"{max(by_steps.values()) / min(by_steps.values()):.3f}",
        ]
        for name, by_steps in peaks.items()
    ]
    print(aligned(header, rows))
    record = {**vars(arguments), "out": None, "peak_bytes": peaks, "versions": versions(), "hardware": hardware()}
    if arguments.out:
        write_json(arguments.out, json.loads(json.dumps(record)))


if __name__ == "__main__":
    main()
