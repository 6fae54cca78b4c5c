"""The memory and time law of every learning rule: what an update holds and runs, against the number of time steps.

    python benchmarks/bench_rules.py [--recipe NAME] [--batch-size N] [--time-steps 1,2,4,8,16] [--rules "NAME;..."]
                                     [--measure counts,peak,time] [--rounds N] [--repeats N] [--out FILE]

counts: the most bytes saved for backward at any one time of an update, and the time steps run forward and back, counted
    by hooks (`hdlif.accounting.update_cost`). Of a rule that draws, every plan is run: the bytes are their maximum, the
    steps their mean. A rule that misses its stated law ends the run here, before anything is timed.
peak: resident memory above program and weights, the median over fresh processes (`hdlif.report.peak_memory`).
time: CPU seconds of an update, over those of an STBP update at T = 1 measured just before it; median over rounds that
    alternate between all rules and T, and quartiles. Of a rule that draws, the mean over at most 16 plans. In one
    thread (OMP_NUM_THREADS=1) they are what the clock shows on an idle machine, and other work disturbs them less.

The tables are printed, and written as JSON with --out. Images are random.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hdlif.accounting import UpdateCost, update_cost
from hdlif.learning import Plan
from hdlif.learning.coherence import Drawn
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.report.peak_memory import peak_memory
from hdlif.report.tables import aligned
from hdlif.training import Accelerator, Updater, sgd
from recorded import write_record

TIMED_PLANS = 16
PARTS = ("counts", "peak", "time")


@dataclass(frozen=True)
class Law:
    """A rule and what is stated of it.

    Attributes:
        rule: the recipe's section.
        grows: whether saved bytes grow with T; otherwise they are flat.
        forward, backward: time steps of an update, a formula in T and its words.
        fewest: the least T that it can be run with.
    """

    rule: str
    grows: bool
    forward: Callable[[int], float]
    forward_law: str
    backward: Callable[[int], float]
    backward_law: str
    fewest: int = 1


def _every_step(rule: str, *, grows: bool = False) -> Law:
    return Law(rule, grows, lambda t: t, "T", lambda t: t, "T")


LAWS = {
    "STBP": _every_step("{kind: stbp}", grows=True),
    "SLTT, sum": _every_step("{kind: sltt}"),
    "SLTT, each": _every_step("{kind: sltt, update: each}"),
    "OTTT, sum": _every_step("{kind: ottt}"),
    "OTTT, each": _every_step("{kind: ottt, update: each}"),
    "NDOT, sum": _every_step("{kind: ndot}"),
    "SLTT-k, k = 2": Law("{kind: sltt_k, k: 2}", False, lambda t: t, "T", lambda t: 2, "2", 2),
    "random step": Law("{kind: stochastic_step}", False, lambda t: (t + 1) / 2, "(T+1)/2", lambda t: 1, "1"),
    "random, k = 2": Law(
        "{kind: stochastic_step, k: 2}", False, lambda t: 2 * (t + 1) / 3, "2(T+1)/3", lambda t: 2, "2", 2
    ),
    "stratified, k = 2": Law(
        "{kind: stochastic_step, k: 2, draw: stratified}",
        False,
        lambda t: (3 * t + 2) / 4,
        "(3T+2)/4",
        lambda t: 2,
        "2",
        2,
    ),
}
"""The mean of the larger of two different steps of T is 2(T+1)/3, of a step of the later half of an even T (3T+2)/4."""


class Network:
    """A recipe's network, with a batch of random images and what updates it."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.model, self.rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
        training = recipe.training
        # A rate at which no number of updates on noise makes the loss infinite.
        optimizer = sgd(self.model, learning_rate=1e-4, momentum=training.momentum, weight_decay=training.weight_decay)
        accelerator = Accelerator("cpu", training.precision)
        self.update = Updater(accelerator, self.model, optimizer, self.rule)
        generator = torch.Generator().manual_seed(recipe.seed)
        self.x, self.target = builders.random_batch(recipe, generator)
        self.plans = (
            tuple(plan for plan, _ in self.rule.plans(recipe.time_steps))
            if isinstance(self.rule, Drawn)
            else (self.rule.schedule(recipe.time_steps, generator),)
        )

    def run(self, plan: Plan) -> float:
        return self.update(self.x, self.target, plan)

    def costs(self) -> list[UpdateCost]:
        """What each plan's update runs and holds."""
        batch = [self.x, self.target]
        return [update_cost(self.model, lambda plan=plan: self.run(plan), batch=batch) for plan in self.plans]

    def seconds(self) -> float:
        """CPU seconds of an update: the mean over plans evenly spaced in the order of their last steps."""
        plans = sorted(self.plans, key=lambda plan: plan.steps[-1])
        count = min(TIMED_PLANS, len(plans))
        chosen = [plans[(2 * i + 1) * len(plans) // (2 * count)] for i in range(count)]
        start = time.process_time()
        for plan in chosen:
            self.run(plan)
        return (time.process_time() - start) / count


Cells = dict[str, dict[int, Any]]
"""By rule and T."""


def recipe_of(arguments: argparse.Namespace, rule: str, time_steps: int) -> Recipe:
    overrides = [f"rule={rule}", f"time_steps={time_steps}"]
    if arguments.batch_size is not None:
        overrides.append(f"data.batch_size={arguments.batch_size}")
    return load_recipe(arguments.recipe, overrides)


def counts(arguments: argparse.Namespace, rules: Sequence[str], time_steps: Sequence[int]) -> Cells:
    """Counted steps (means over the plans) and saved bytes (maxima)."""
    found: Cells = {}
    for name in rules:
        found[name] = {}
        for steps in time_steps:
            if steps < LAWS[name].fewest:
                continue
            costs = Network(recipe_of(arguments, LAWS[name].rule, steps)).costs()
            found[name][steps] = {
                "saved_bytes": max(cost.saved_bytes for cost in costs),
                "forward_steps": statistics.mean(cost.forward_steps for cost in costs),
                "backward_steps": statistics.mean(cost.backward_steps for cost in costs),
            }
    return found


def memory_law(saved: dict[int, int]) -> str:
    """What saved bytes by T show from T = 2 on, where a step has one before it: "flat", "O(T)", "neither"."""
    steps = sorted(t for t in saved if t > 1)
    if len(steps) < 2:
        return "—"
    if max(saved[t] for t in steps) <= 1.01 * min(saved[t] for t in steps):
        return "flat"
    slopes = [(saved[b] - saved[a]) / (b - a) for a, b in itertools.pairwise(steps)]
    # A line through the origin, but for what does not depend on T.
    linear = max(slopes) <= 1.02 * min(slopes) and saved[steps[0]] <= 1.2 * steps[0] * slopes[0]
    return "O(T)" if linear else "neither"


def broken_laws(found: Cells) -> list[str]:
    """What was counted otherwise than stated."""
    broken = []
    for name, cells in found.items():
        law = LAWS[name]
        shown = memory_law({steps: cell["saved_bytes"] for steps, cell in cells.items()})
        if shown not in ("—", "O(T)" if law.grows else "flat"):
            broken.append(f"{name}: saved bytes are {shown}")
        for steps, cell in cells.items():
            for key, formula in (("forward_steps", law.forward), ("backward_steps", law.backward)):
                if abs(cell[key] - formula(steps)) > 1e-9:
                    broken.append(f"{name}, T = {steps}: {key} = {cell[key]}, stated {formula(steps)}")
    return broken


def peaks(arguments: argparse.Namespace, rules: Sequence[str], time_steps: Sequence[int]) -> Cells:
    """Peak resident bytes."""
    return {
        name: {
            steps: peak_memory(recipe_of(arguments, LAWS[name].rule, steps), repeats=arguments.repeats)
            for steps in time_steps
            if steps >= LAWS[name].fewest
        }
        for name in rules
    }


def times(arguments: argparse.Namespace, rules: Sequence[str], time_steps: Sequence[int]) -> tuple[Cells, float]:
    """CPU seconds over those of STBP at T = 1, in quartiles, and the median of the latter."""
    reference = Network(recipe_of(arguments, LAWS["STBP"].rule, 1))
    networks = {
        (name, steps): Network(recipe_of(arguments, LAWS[name].rule, steps))
        for name in rules
        for steps in time_steps
        if steps >= LAWS[name].fewest
    }
    for network in (reference, *networks.values()):
        network.seconds()
    ratios: dict[tuple[str, int], list[float]] = {key: [] for key in networks}
    units = []
    for _ in range(arguments.rounds):
        for key, network in networks.items():
            unit = statistics.median(reference.seconds() for _ in range(5))
            units.append(unit)
            ratios[key].append(network.seconds() / unit)
    found: Cells = {name: {} for name in rules}
    for (name, steps), seen in ratios.items():
        found[name][steps] = statistics.quantiles(seen, n=4) if len(seen) > 1 else seen * 3
    return found, statistics.median(units)


def table(
    title: str, time_steps: Sequence[int], cells: Cells, cell: Callable[[Any], str], **more: dict[str, str]
) -> str:
    """One row a rule, one column a T, and columns of words."""
    rows = []
    for name, by_steps in cells.items():
        figures = [cell(by_steps[t]) if t in by_steps else "—" for t in time_steps]
        rows.append([name, *figures, *(words[name] for words in more.values())])
    return f"{title}\n{aligned(['rule', *(f'T={t}' for t in time_steps), *more], rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="digits_hdlif")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--time-steps", default="1,2,4,8,16")
    parser.add_argument("--rules", help=f"names separated by semicolons, of {'; '.join(LAWS)}")
    parser.add_argument("--measure", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for a peak")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    time_steps = [int(steps) for steps in arguments.time_steps.split(",")]
    rules = [name.strip() for name in arguments.rules.split(";")] if arguments.rules else list(LAWS)
    parts = arguments.measure.split(",")
    if unknown := [*(set(rules) - set(LAWS)), *(set(parts) - set(PARTS))]:
        parser.error(f"unknown: {', '.join(unknown)}; rules are {'; '.join(LAWS)}, measures {', '.join(PARTS)}")
    record: dict[str, Any] = {**vars(arguments), "out": None}
    record["threads"] = torch.get_num_threads()

    if "counts" in parts:
        found = record["counts"] = counts(arguments, rules, time_steps)
        shown = {n: memory_law({t: c["saved_bytes"] for t, c in cells.items()}) for n, cells in found.items()}
        stated = {name: f"{LAWS[name].forward_law}, {LAWS[name].backward_law}" for name in rules}
        print(table("saved, MB", time_steps, found, lambda c: f"{c['saved_bytes'] / 1e6:.3f}", law=shown))
        both = "steps forward / back in an update"
        print(
            table(both, time_steps, found, lambda c: f"{c['forward_steps']:.3g} / {c['backward_steps']:g}", law=stated)
        )
        if broken := broken_laws(found):
            sys.exit("\n".join(broken))
    if "peak" in parts:
        found = record["peak_bytes"] = peaks(arguments, rules, time_steps)
        spread = {name: f"{max(row.values()) / min(row.values()):.3f}" for name, row in found.items()}
        title = "peak resident memory, MB"
        print(table(title, time_steps, found, lambda peak: f"{peak / 1e6:.1f}", **{"largest / smallest": spread}))
    if "time" in parts:
        found, unit = times(arguments, rules, time_steps)
        record.update(times=found, unit_seconds=unit)
        title = f"CPU time of an update over that of STBP at T = 1 ({unit * 1e3:.1f} ms): median [quartiles]"
        print(table(title, time_steps, found, lambda q: f"{q[1]:.2f} [{q[0]:.2f}, {q[2]:.2f}]"))
    if arguments.out:
        write_record(arguments.out, record, seeds="the recipe's own")


if __name__ == "__main__":
    main()
