"""Time steps a second of training a series network: by every rule, beside SpikingJelly and snnTorch.

    OMP_NUM_THREADS=1 python benchmarks/bench_series_training.py [--recipe hapt_hdlif] [--time-steps 128,1024]
                      [--batch-size N] [--rounds N] [--rows "NAME;..."] [--out FILE.json]

The recipe's network (causal convolutions over time, `hdlif.models.conv1d`) on random series, and networks of the same
layers out of the peers' (series_peers.py: what each takes at once, and how its batch norm counts). A figure is T over
the CPU seconds of an update of one batch: forward and backward passes of all that the rule runs, and SGD's step. Of a
rule that draws, the mean over updates whose last steps are spread evenly over T. One thread; rounds alternate between
all rows; median and quartiles over rounds. "beside" is how many times as fast as a peer by the same rule, in the same
round. Peers train LIF neurons of fixed leak and threshold, as "LIF" is here; "HD-LIF" learns both for each channel.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from bench_rules import Network
from hdlif.report.allocator import keep_freed_memory
from hdlif.report.tables import aligned
from hdlif.training import sgd
from random_series import CHANNELS, CLASSES, series_recipe
from recorded import write_record
from series_peers import PEERS, Shape

PLANS = 4
"""Timed of a rule that draws."""
LIF = "neuron={kind: lif, leak: 0.9, learned: false, per_step: false}"


@dataclass(frozen=True)
class Row:
    """What is timed.

    Attributes:
        rule, more: overrides of the recipe; a peer by its name has none.
        beside: the rule that peers have.
    """

    rule: str = ""
    more: tuple[str, ...] = ()
    beside: str = ""


ROWS: Mapping[str, Row] = {
    "HD-LIF, STBP": Row("{kind: stbp}", beside="STBP"),
    "HD-LIF, STBP, path steps": Row("{kind: stbp}", ("neuron.path=steps",), "STBP"),
    "LIF, STBP": Row("{kind: stbp}", (LIF,), "STBP"),
    "LIF, STBP, path steps": Row("{kind: stbp}", (LIF, "neuron.path=steps"), "STBP"),
    "SpikingJelly, STBP": Row(),
    "snnTorch, STBP": Row(),
    "HD-LIF, SLTT": Row("{kind: sltt}", beside="SLTT"),
    "HD-LIF, SLTT, chunk 16": Row("{kind: sltt, chunk: 16}", beside="SLTT"),
    "LIF, SLTT": Row("{kind: sltt}", (LIF,), "SLTT"),
    "LIF, SLTT, chunk 16": Row("{kind: sltt, chunk: 16}", (LIF,), "SLTT"),
    "SpikingJelly, SLTT": Row(),
    "HD-LIF, OTTT": Row("{kind: ottt}"),
    "HD-LIF, OTTT, chunk 16": Row("{kind: ottt, chunk: 16}"),
    "HD-LIF, NDOT": Row("{kind: ndot}"),
    "HD-LIF, forward mode": Row("{kind: forward_mode}"),
    "HD-LIF, forward mode, chunk 16": Row("{kind: forward_mode, chunk: 16}"),
    "HD-LIF, random step": Row("{kind: stochastic_step}"),
    "HD-LIF, random step, chunk 1": Row("{kind: stochastic_step, chunk: 1}"),
    "HD-LIF, random step, chunk 16": Row("{kind: stochastic_step, chunk: 16}"),
    "HD-LIF, window of 16": Row("{kind: stochastic_window, length: 16}"),
    "HD-LIF, window of 16, chunk 1": Row("{kind: stochastic_window, length: 16, chunk: 1}"),
    "HD-LIF, window of 16, chunk 16": Row("{kind: stochastic_window, length: 16, chunk: 16}"),
}

Timed = Callable[[], float]
"""CPU seconds of an update."""
Seconds = dict[str, dict[int, list[float]]]
"""By row and T, one for each round."""


def ours(name: str, time_steps: int, arguments: argparse.Namespace) -> Timed:
    row = ROWS[name]
    overrides = [f"rule={row.rule}", *row.more]
    if arguments.batch_size:
        overrides.append(f"data.batch_size={arguments.batch_size}")
    network = Network(series_recipe(arguments.recipe, time_steps, overrides))
    plans = sorted(network.plans, key=lambda plan: plan.steps[-1])
    count = min(PLANS, len(plans))
    chosen = [plans[(2 * place + 1) * len(plans) // (2 * count)] for place in range(count)]

    def seconds() -> float:
        start = time.process_time()
        for plan in chosen:
            network.run(plan)
        return (time.process_time() - start) / count

    return seconds


def peer(name: str, time_steps: int, arguments: argparse.Namespace) -> Timed:
    recipe = series_recipe(arguments.recipe, time_steps)
    model = recipe.model.arguments
    torch.manual_seed(recipe.seed)
    network, backward = PEERS[name](Shape(CHANNELS, model["widths"], model["kernel"], model["dilations"], CLASSES))
    optimizer = sgd(network.train(), learning_rate=1e-4, momentum=0.9, weight_decay=recipe.training.weight_decay)
    batch = arguments.batch_size or recipe.data.batch_size
    x, target = torch.randn(time_steps, batch, CHANNELS), torch.randint(CLASSES, (batch,))

    def seconds() -> float:
        start = time.process_time()
        backward(x, target)
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start

    return seconds


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


def shown(values: list[float], digits: int = 0) -> str:
    low, median, high = quartiles(values)
    return f"{median:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def measured(arguments: argparse.Namespace, names: list[str], time_steps: list[int]) -> Seconds:
    made = {
        (steps, name): (ours if ROWS[name].rule else peer)(name, steps, arguments)
        for steps in time_steps
        for name in names
    }
    found: Seconds = {name: {steps: [] for steps in time_steps} for name in names}
    for number in range(arguments.rounds + 1):
        for (steps, name), timed in made.items():
            seconds = timed()
            # The first round warms up.
            if number:
                found[name][steps].append(seconds)
        print(f"round {number} of {arguments.rounds}", file=sys.stderr, flush=True)
    return found


def table(found: Seconds, time_steps: list[int]) -> str:
    libraries, rows = ("SpikingJelly", "snnTorch"), []
    for name, by_steps in found.items():
        cells = [name]
        for steps in time_steps:
            seconds = by_steps[steps]
            cells.append(shown([steps / one for one in seconds]))
            for library in libraries:
                theirs = found.get(f"{library}, {ROWS[name].beside}", {}).get(steps)
                cells.append(shown([a / b for a, b in zip(theirs, seconds, strict=True)], 2) if theirs else "")
        rows.append(cells)
    columns = [[f"T={steps}", *(f"beside {library}" for library in libraries)] for steps in time_steps]
    return aligned(["steps a second", *itertools.chain(*columns)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="hapt_hdlif")
    parser.add_argument("--time-steps", default="128,1024")
    parser.add_argument("--batch-size", type=int, default=0, help="the recipe's by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", default=";".join(ROWS), help="names separated by semicolons")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.rows.split(";")]
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"unknown: {'; '.join(unknown)}; rows are {'; '.join(ROWS)}")
    torch.set_num_threads(1)
    keep_freed_memory()
    time_steps = [int(steps) for steps in arguments.time_steps.split(",")]
    found = measured(arguments, names, time_steps)
    print(table(found, time_steps))
    if arguments.out:
        record = {"recipe": arguments.recipe, "batch_size": arguments.batch_size, "rounds": arguments.rounds}
        record |= {"threads": 1, "seconds": found}
        write_record(arguments.out, record, seeds="the recipe's own")


if __name__ == "__main__":
    main()
