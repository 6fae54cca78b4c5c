"""Time steps a second of training a series network: by every rule, beside SpikingJelly and snnTorch.

    OMP_NUM_THREADS=1 python benchmarks/bench_series_training.py [--recipe hapt_hdlif] [--time-steps 128,1024]
                      [--batch-size N] [--rounds N] [--rows "NAME;..."] [--before SRC] [--out FILE.json]

The recipe's network (causal convolutions over time, `hdlif.models.conv1d`) on random series, and networks of the same
layers out of the peers' (series_peers.py: what each takes at once, and how its batch norm counts). A figure is T over
the CPU seconds of an update of one batch: forward and backward passes of all that the rule runs, and SGD's step. Of a
rule that draws, the mean over updates whose last steps are spread evenly over T. One thread; rounds alternate between
all rows; median and quartiles over rounds. "beside" is how many times as fast as a peer by the same rule, in the same
round. Peers train LIF neurons of fixed leak and threshold, as "LIF" is here; "HD-LIF" learns both for each channel.

--before: the folder `src` of another commit of this project, whose rows are timed in the same rounds in a process of
their own, and "beside before" is how many times as fast a row is now; rows that it does not know are left out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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


def ours(name: str, time_steps: int, arguments: argparse.Namespace) -> Timed:
    from bench_rules import Network
    from random_series import series_recipe

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
    from hdlif.training import sgd
    from random_series import CHANNELS, CLASSES, series_recipe
    from series_peers import PEERS, Shape

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


def work(arguments: argparse.Namespace) -> None:
    """Answer each line, the name of a row and a T, with the seconds of an update; null for one that is not known."""
    torch.set_num_threads(1)
    from hdlif.measure.allocator import keep_freed_memory

    keep_freed_memory()
    made: dict[tuple[str, int], Timed | None] = {}
    for line in sys.stdin:
        name, time_steps = json.loads(line)
        key = name, time_steps
        if key not in made:
            try:
                made[key] = (ours if ROWS[name].rule else peer)(name, time_steps, arguments)
            except Exception as error:  # Of another commit: whatever is not there yet.
                print(f"{name}: {error}", file=sys.stderr)
                made[key] = None
        timed = made[key]
        print(json.dumps(timed and timed()), flush=True)


class Worker:
    """A process that times rows, with the package of a source folder; the installed one by default."""

    def __init__(self, arguments: argparse.Namespace, source: Path | None = None) -> None:
        command = ["--recipe", arguments.recipe, "--batch-size", str(arguments.batch_size), "--worker"]
        if source is not None:
            command += ["--before", str(source.resolve())]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, name: str, time_steps: int) -> float | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, time_steps]) + "\n")
        self.process.stdin.flush()
        answer: float | None = json.loads(self.process.stdout.readline())
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *raised: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


def shown(values: list[float], digits: int = 0) -> str:
    low, median, high = quartiles(values)
    return f"{median:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def measured(
    workers: Mapping[str, Worker], names: list[str], time_steps: list[int], rounds: int
) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Seconds by commit, row and T, one for each round."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {commit: {} for commit in workers}
    keys = [(steps, name, commit) for steps in time_steps for name in names for commit in workers]
    # Peers are the same with any commit.
    keys = [key for key in keys if ROWS[key[1]].rule or key[2] == "now"]
    for number in range(rounds + 1):
        for steps, name, commit in keys:
            seconds = workers[commit](name, steps)
            # The first is to warm up.
            if seconds is not None and number:
                found[commit].setdefault(name, {}).setdefault(steps, []).append(seconds)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return found


def table(found: Mapping[str, Any], time_steps: list[int]) -> str:
    from hdlif.report.tables import aligned

    now, before = found["now"], found.get("before", {})
    head, rows = ["steps a second"], []
    for steps in time_steps:
        head += [f"T={steps}", *(["beside before"] if before else []), "beside SpikingJelly", "beside snnTorch"]
    for name, by_steps in now.items():
        cells = [name]
        for steps in time_steps:
            seconds = by_steps.get(steps)
            cells.append("" if seconds is None else shown([steps / one for one in seconds]))
            others = [now.get(f"{library}, {ROWS[name].beside}", {}) for library in ("SpikingJelly", "snnTorch")]
            for other in [before.get(name, {}), *others] if before else others:
                theirs = other.get(steps)
                both = None if theirs is None or seconds is None else zip(theirs, seconds, strict=True)
                cells.append("" if both is None else shown([a / b for a, b in both], 2))
        rows.append(cells)
    return aligned(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="hapt_hdlif")
    parser.add_argument("--time-steps", default="128,1024")
    parser.add_argument("--batch-size", type=int, default=0, help="the recipe's by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", default=";".join(ROWS), help="names separated by semicolons")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        if arguments.before is not None:
            # Before what an editable installation finds, which is left for the compiled extension.
            sys.meta_path.sort(key=lambda finder: "editable" in type(finder).__module__)
            sys.path.insert(0, str(arguments.before))
        work(arguments)
        return
    names = [name.strip() for name in arguments.rows.split(";")]
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"unknown: {'; '.join(unknown)}; rows are {'; '.join(ROWS)}")
    from recorded import write_record

    time_steps = [int(steps) for steps in arguments.time_steps.split(",")]
    with Worker(arguments) as now:
        if arguments.before is None:
            found = measured({"now": now}, names, time_steps, arguments.rounds)
        else:
            with Worker(arguments, arguments.before) as before:
                found = measured({"now": now, "before": before}, names, time_steps, arguments.rounds)
    print(table(found, time_steps))
    if arguments.out:
        record = {"recipe": arguments.recipe, "batch_size": arguments.batch_size, "rounds": arguments.rounds}
        record |= {"threads": 1, "seconds": found}
        write_record(arguments.out, record, seeds="the recipe's own")


if __name__ == "__main__":
    main()
