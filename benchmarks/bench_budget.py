"""Choices of layers without memory at equal NOPs: that of `--budget`, and others made without measuring.

    python benchmarks/bench_budget.py --data FOLDER --out runs/bench_budget

FOLDER has the images of CIFAR-10 as JPEG files, in train/CLASS and test/CLASS. A budget is a percentage of the NOPs.
The other choices take layers away in an order until they keep within it: "rule" every second layer first (arXiv
2410.07547), "first" and "last" from one end, "random" in an order that the seed draws. "full" has memory in all layers.
All are paired by seed. A run that is finished is not trained again, and a stopped one goes on, with the same --out.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hdlif
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.recipe_data import load_recipe_to_train
from hdlif.report.accounting import outline
from hdlif.report.tables import aligned
from intervals import half_interval
from recorded import write_record

RECIPE = "cifar10_resnet18_hdlif"
ORDERS: Mapping[str, Callable[[list[str], int], list[str]]] = {
    "rule": lambda layers, seed: [*layers[1::2], *layers[::2]],
    "first": lambda layers, seed: layers,
    "last": lambda layers, seed: layers[::-1],
    "random": lambda layers, seed: random.Random(seed).sample(layers, len(layers)),
}


def nops(recipe: Recipe) -> dict[str, float]:
    """NOPs of each neuron layer of a recipe's network."""
    x = builders.random_batch(recipe, torch.Generator().manual_seed(0), 1)[0]
    rows = outline(builders.build_model(recipe), x, time_steps=recipe.time_steps).layers
    return {row.name: row.nops or 0.0 for row in rows if row.neuron}


def without_memory(recipe: Recipe, order: Sequence[str], fraction: float) -> list[str]:
    """The first layers of an order that lose their memory so that the network keeps within a fraction of its NOPs."""
    limit, lost = fraction * sum(nops(recipe).values()), list[str]()
    for name in order:
        neuron = recipe.neuron.model_copy(update={"parallel": lost})
        if sum(nops(recipe.model_copy(update={"neuron": neuron})).values()) <= limit:
            break
        lost = [*lost, name]
    return lost


def run(recipe: str, overrides: Sequence[str], data: str | None, out: Path, **options: Any) -> dict[str, float]:
    """Accuracy in percent and NOPs of a training in `out`, which is begun, gone on with or finished already."""
    resume = (out / "recipe.yaml").exists()
    if resume and "budget" not in options:
        options["resume"] = True
    elif resume:
        # The choice has changed the recipe there.
        recipe, overrides, data, options["resume"] = str(out / "recipe.yaml"), (), None, True
    found = hdlif.train(recipe, overrides=overrides, data=data, out=out, memory_repeats=0, say=print, **options)
    return {"accuracy": 100 * (found.accuracy or 0.0), "nops": found.summary["nops"]}


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences, and its interval of 95 %."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return mean, float("-inf"), float("inf")
    half = half_interval(differences)
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--data", help="in place of the recipe's")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=V")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--width", type=int, default=16)
    # The rule of the paper has 70.15 % of the NOPs of a ResNet-18.
    parser.add_argument("--percent", type=float, nargs="+", default=[70.2, 55.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shared = [*args.overrides, f"model.width={args.width}", f"training.epochs={args.epochs}"]
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    for percent in args.percent:
        found = rows.setdefault(f"{percent:g}", {name: [] for name in ("full", "budget", *ORDERS)})
        for seed in range(42, 42 + args.seeds):
            overrides = [*shared, f"seed={seed}"]
            recipe, _ = load_recipe_to_train(args.recipe, overrides=overrides, data=args.data)
            folder, of_seed = args.out / f"{percent:g}", f"seed_{seed}"
            found["full"].append(run(args.recipe, overrides, args.data, args.out / "full" / of_seed))
            budget = run(args.recipe, overrides, args.data, folder / "budget" / of_seed, budget=f"nops={percent}%")
            found["budget"].append(budget)
            for name, order in ORDERS.items():
                lost = without_memory(recipe, order(list(nops(recipe)), seed), percent / 100)
                chosen = [*overrides, f"neuron.parallel={json.dumps(lost)}"]
                found[name].append(run(args.recipe, chosen, args.data, folder / name / of_seed))
            write_record(args.out / "bench_budget.json", {"percent": rows}, seeds=range(42, 42 + args.seeds))
    for percent, found in rows.items():
        table = []
        for name, runs in found.items():
            accuracy = [one["accuracy"] for one in runs]
            pairs = zip(found["budget"], runs, strict=True)
            mean, low, high = interval([ours["accuracy"] - theirs["accuracy"] for ours, theirs in pairs])
            mean_nops = np.mean([one["nops"] for one in runs])
            table.append(
                [name, f"{np.mean(accuracy):.2f}", f"{mean_nops:,.0f}", f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"]
            )
        print(f"\nnops={percent}%")
        print(aligned(["choice", "accuracy %", "NOPs", "budget - it, 95 %"], table))


if __name__ == "__main__":
    main()
