"""Resident memory of a training on streams along its steps: what it grows by from the first thousand to the last.

    python benchmarks/bench_stream_memory.py [--recipe NAME] [--rules "{kind: sltt};..."] [--steps 1000000] [--out FILE]

Each rule trains in a fresh process on random samples, with 16 steps (`training.stream`) from one update to the next,
and notes the resident set at 1, 2, 5, 10, ... thousand steps. The run fails where it grows by more than 3 % of what the
training adds to program and weights, and by more than 1 MB, from the first of them on.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from hdlif import builders
from hdlif.config import Recipe, load_recipe
from hdlif.report.tables import aligned
from hdlif.runs.provenance import hardware, versions
from hdlif.training import Updater, fabric_class
from hdlif.training.streaming import Streams
from recorded import write_record

RULES = (
    "{kind: stbp};{kind: sltt, chunk: 16};{kind: ottt, chunk: 16};{kind: stochastic_step};"
    "{kind: stochastic_window, length: 4};{kind: forward_mode, chunk: 16}"
)
SHARED = ["neuron.per_step=false", "norm.per_step=false", "training.stream=16"]
SAMPLES = 64
"""Batches that are made once and shown again and again."""


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def marks(steps: int) -> list[int]:
    """1, 2, 5, 10, ... thousand, up to `steps`."""
    found = [factor * 10**power for power in range(3, 12) for factor in (1, 2, 5)]
    return [mark for mark in found if mark <= steps]


def trained(recipe: Recipe, steps: int) -> dict[str, Any]:
    """The resident set before, and behind so many steps of the streams."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    model, rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
    fabric = fabric_class()(accelerator="cpu", devices=1)
    updater = Updater(fabric, model, builders.build_optimization(recipe.training).optimizer(model), rule)
    assert recipe.training.stream is not None
    streams = Streams(recipe.training.stream, recipe.time_steps, rule, model)
    draws = torch.Generator().manual_seed(recipe.seed)
    batches = [builders.random_batch(recipe, draws) for _ in range(SAMPLES)]
    before, seen, begin = resident_bytes(), dict[int, int](), time.monotonic()
    waiting = marks(steps)
    while waiting:
        x, target = batches[streams.carry.step // recipe.time_steps % SAMPLES]
        streams.learn(updater, x, target, draws)
        if streams.carry.step >= waiting[0]:
            seen[waiting.pop(0)] = resident_bytes()
    return {"before": before, "resident": seen, "seconds": time.monotonic() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="sines_dense_hdlif")
    parser.add_argument("--rules", default=RULES, help="separated by semicolons")
    parser.add_argument("--steps", type=int, default=10**6)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        recipe = load_recipe(arguments.recipe, [*SHARED, f"rule={arguments.child}"])
        print(json.dumps(trained(recipe, arguments.steps)))
        return
    record: dict[str, Any] = {"recipe": arguments.recipe, "rules": {}, "hardware": hardware(), "versions": versions()}
    rows, growing = [], []
    for rule in arguments.rules.split(";"):
        command = [sys.executable, __file__, "--recipe", arguments.recipe, "--steps", str(arguments.steps)]
        child = subprocess.run([*command, "--child", rule], capture_output=True, text=True, check=True)
        found = record["rules"][rule] = json.loads(child.stdout)
        resident = {int(mark): size for mark, size in found["resident"].items()}
        first, last = resident[min(resident)], resident[max(resident)]
        if max(resident.values()) - first > max(10**6, 0.03 * (first - found["before"])):
            growing.append(rule)
        added = [(size - found["before"]) / 1e6 for size in (first, max(resident.values()), last)]
        rows.append([rule, *(f"{one:.2f}" for one in added), f"{max(resident) / found['seconds']:,.0f}"])
        if arguments.out:
            write_record(arguments.out, record, seeds="the recipe's own")
    head = ["rule", "MB at 1,000 steps", "most", f"at {max(marks(arguments.steps)):,}", "steps a second"]
    print(aligned(head, rows))
    if growing:
        sys.exit(f"{', '.join(growing)}: memory grows with the steps")


if __name__ == "__main__":
    main()
