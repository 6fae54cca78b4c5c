"""`training.compile` beside eager training: seconds of the first update, and of one after that, in turns.

    python benchmarks/bench_compile.py digits_hdlif [--set A.B=V ...] [--updates 20] [--out FILE.json]

On the CPU, in one thread, on random images of the recipe's shape. FILE.json keeps what it has of other rules.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.training import Accelerator, Updater, sgd
from recorded import write_record


def updating(recipe: Recipe, compiled: str | None = None) -> Callable[[int], float]:
    """What makes an update, with the draws of its number, and says how many seconds it took."""
    torch.manual_seed(recipe.seed)
    model, rule, section = builders.build_model(recipe).train(), builders.build_rule(recipe), recipe.training
    accelerator = Accelerator("cpu", section.precision)
    optimizer = sgd(
        model, learning_rate=section.learning_rate, momentum=section.momentum, weight_decay=section.weight_decay
    )
    updater = Updater(accelerator, model, optimizer, rule, penalty=builders.build_penalty(recipe), compiled=compiled)
    x, target = builders.random_batch(recipe, torch.Generator().manual_seed(recipe.seed))

    def update(number: int) -> float:
        plan = rule.schedule(recipe.time_steps, torch.Generator().manual_seed(number))
        start = time.perf_counter()
        updater(x, target, plan)
        return time.perf_counter() - start

    return update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=V")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    updates = {"eager": updating(recipe, None), "compiled": updating(recipe, "inductor")}
    first = {name: update(0) for name, update in updates.items()}
    # The random step's plans differ, and not every graph is there after one of them.
    for number in range(1, 6):
        for update in updates.values():
            update(number)
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    for number in range(6, 6 + arguments.updates):
        for name, update in updates.items():
            seconds[name].append(update(number))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    found = {"first_s": {n: round(s, 2) for n, s in first.items()}, "update_s": medians, "graphs": graphs}
    print(json.dumps(found))
    if arguments.out is not None:
        before = json.loads(arguments.out.read_text("utf-8"))["rules"] if arguments.out.exists() else {}
        write_record(arguments.out, {"rules": before | {recipe.rule.kind: found}}, seeds=[recipe.seed])


if __name__ == "__main__":
    main()
