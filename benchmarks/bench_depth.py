"""Training memory against depth: a plain pre-activation ResNet and a reversible one of the same recipe.

    python benchmarks/bench_depth.py [--recipe NAME] [--batch-size N] [--time-steps T] [--rule "{kind: stbp}"]
                                     [--depths 1,2,4,8,16] [--measure counts,peak,time] [--rounds N] [--repeats N]
                                     [--out FILE]

A depth is the number of blocks of each stage but the first block of a later one, which halves the map and is an
ordinary block in both networks. The branches of a reversible block have half the channels, hence a quarter of the
weights: "graphs kept" is the reversible network itself, trained like any other.

counts: the most bytes saved for backward at any one time of an update, as in bench_rules.py. A reversible network whose
    saved bytes depend on its depth by more than 1 % ends the run here.
peak: resident memory above program and weights, as in bench_rules.py.
time: CPU seconds of an update over those with graphs kept, measured in turns; median and quartiles.

The tables are printed, and written as JSON with --out. Images are random.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_rules import Network
from hdlif.config import Recipe, load_recipe
from hdlif.learning import Plan, Rule, Step
from hdlif.measure.peak_memory import peak_memory
from hdlif.nn import Carrying
from hdlif.report.tables import aligned
from recorded import write_record

KINDS = {"plain": "resnet", "graphs kept": "reversible_resnet", "reversible": "reversible_resnet"}
PARTS = ("counts", "peak", "time")

Cells = dict[str, dict[int, Any]]
"""By kind and depth."""


def recipe_of(arguments: argparse.Namespace, kind: str, depth: int) -> Recipe:
    base = load_recipe(arguments.recipe)
    stages = len(base.model.arguments["blocks"])
    blocks = [depth] + [depth + 1] * (stages - 1)
    overrides = [
        f"model={{kind: {KINDS[kind]}, width: {base.model.arguments['width']}, blocks: {blocks}}}",
        f"rule={arguments.rule}",
        f"time_steps={arguments.time_steps}",
        f"data.batch_size={arguments.batch_size}",
    ]
    return load_recipe(arguments.recipe, overrides)


@dataclass(frozen=True)
class GraphsKept:
    """A rule on a network all of whose modules keep their graph."""

    rule: Rule

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return self.rule.schedule(time_steps, generator)

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        return self.rule(Carrying(model, keeps_graphs=True), x, target, plan)


def network_of(arguments: argparse.Namespace, kind: str, depth: int) -> Network:
    return Network(recipe_of(arguments, kind, depth), GraphsKept if kind == "graphs kept" else lambda rule: rule)


def saved(arguments: argparse.Namespace, kind: str, depth: int) -> int:
    return max(cost.saved_bytes for cost in network_of(arguments, kind, depth).costs())


def peak(arguments: argparse.Namespace, kind: str, depth: int) -> int:
    return peak_memory(recipe_of(arguments, kind, depth), repeats=arguments.repeats)


def ratios(arguments: argparse.Namespace, kind: str, depth: int) -> list[float]:
    """Quartiles of the network's time over its time with graphs kept."""
    network, kept = network_of(arguments, kind, depth), network_of(arguments, "graphs kept", depth)
    if kind == "plain":
        kept = network
    network.seconds()
    kept.seconds()
    seen = []
    for _ in range(arguments.rounds):
        unit = kept.seconds()
        seen.append(network.seconds() / unit)
    return statistics.quantiles(seen, n=4) if len(seen) > 1 else seen * 3


def cells(
    arguments: argparse.Namespace, kinds: Iterable[str], measure: Callable[[argparse.Namespace, str, int], Any]
) -> Cells:
    return {kind: {depth: measure(arguments, kind, depth) for depth in arguments.depths} for kind in kinds}


def table(title: str, depths: list[int], cells: Cells, cell: Callable[[Any], str], growth: bool = True) -> str:
    rows = []
    for kind, row in cells.items():
        more = [f"{max(row.values()) / min(row.values()):.3f}"] if growth else []
        rows.append([kind, *(cell(row[n]) for n in depths), *more])
    header = ["network", *(f"{n} blocks" for n in depths), *(["largest / smallest"] if growth else [])]
    return f"{title}\n{aligned(header, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="digits_hdlif", help="whose model has blocks and a width")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--time-steps", type=int, default=4)
    parser.add_argument("--rule", default="{kind: stbp}")
    parser.add_argument("--depths", default="1,2,4,8,16")
    parser.add_argument("--measure", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for a peak")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.depths = [int(depth) for depth in arguments.depths.split(",")]
    parts = arguments.measure.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; measures are {', '.join(PARTS)}")
    record: dict[str, Any] = {**vars(arguments), "out": None}
    record["threads"] = torch.get_num_threads()

    if "counts" in parts:
        found = record["saved_bytes"] = cells(arguments, KINDS, saved)
        print(table("saved, MB", arguments.depths, found, lambda size: f"{size / 1e6:.3f}"))
        constant = found["reversible"].values()
        if max(constant) > 1.01 * min(constant):
            sys.exit("reversible: saved bytes grow with depth")
    if "peak" in parts:
        found = record["peak_bytes"] = cells(arguments, ("plain", "reversible"), peak)
        print(table("peak resident memory, MB", arguments.depths, found, lambda size: f"{size / 1e6:.1f}"))
    if "time" in parts:
        found = record["times"] = cells(arguments, ("reversible",), ratios)
        title = "CPU time of an update over that with graphs kept: median [quartiles]"
        print(table(title, arguments.depths, found, lambda q: f"{q[1]:.2f} [{q[0]:.2f}, {q[2]:.2f}]", growth=False))
    if arguments.out:
        write_record(arguments.out, record, seeds="the recipe's own")


if __name__ == "__main__":
    main()
