"""What an update of a convolutional network costs: by our rules, beside SpikingJelly, snnTorch and plain PyTorch.

    python benchmarks/bench_training.py [--networks resnet18,vgg_snn] [--width N] [--rows "NAME;..."]
                      [--batch-sizes 16,64,128] [--time-steps 1,4,8,16,64] [--threads N]
                      [--rounds N] [--out FILE.json]

resnet18: pre-activation ResNet-18 with the CIFAR stem, on 3x32x32, constant in time, of 100 classes. vgg_snn: VGG-SNN
on T frames of 2x48x48 of 10 classes. They are those of the recipes `cifar100_resnet18_hdlif` and
`dvs_cifar10_vgg_snn_hdlif`, with one batch norm for all steps; the peers' are the same layers in the same order, with
as many weights (training_peers.py says how each trains). Inputs and weights are random: the compressed rows, which skip
zeros, depend on how many spikes there are, and "density" is the share that is not 0 in the first steps. A trained
network has fewer.

Rows: HD-LIF learns a λ and θ for each layer and step, LIF has fixed ones, as the peers' has; "w1.5 s4" has ternary
weights and 4-bit spikes. Our neurons run on the path "fused", or ", path steps" after a name, and the steps of a
random rule that have no graph four at once, or ", one by one"; ", channels last" lays weights and maps out so. ", bf16"
runs under PyTorch's autocast to bfloat16, also the peers' rows; where the processor multiplies that, these are timed
by default. "Naive random step" is HD-LIF in plain PyTorch, fp32, with PyTorch's batch norm. A window of 4 is one of T
steps where T is less.

Cells: the first batch size at each T, the others at T = 4 (at the first T where 4 is not asked for).

time: an update of one batch, which is in memory: forward and backward passes of all that the rule runs, and the step
    of SGD with Nesterov momentum (PyTorch's in one pass, for all rows); by the clock, and CPU seconds of all threads. A
    random rule's figure is the mean of updates whose last steps are spread evenly from the first to the last that it
    may draw: the steps that an update runs are linear in its last one, so that this is the mean over all. Each row has
    a process of its own, which lives as long as the run; a round is one figure of each row in turns, each after an
    untimed update of the same row, and memory is given back between them. Medians and quartiles over rounds.
beside: how many times as fast a row is, in the same round, as the fastest of SpikingJelly STBP, SpikingJelly SLTT and
    snnTorch STBP, of those that ran; as the naive random step, in whichever precision they are faster; and HD-LIF as
    LIF with the same rule of ours.

Nothing is timed where small networks (width 4, T = 3, float64) with the same weights differ in their logits by more
than 1e-6: a line says what differs, and the exit code is 1. Libraries' LIF neurons are compared with ours, the naive
ones with our HD-LIF; with running statistics, and step by step with those of the batch.

bench_memory_curve.py compares peaks of memory.

    pip install 'hdlif[peers]'
"""

import argparse
import contextlib
import ctypes
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hdlif.report.allocator import keep_freed_memory
from hdlif.report.provenance import hardware, versions
from recorded import write_record
from training_comparison import differences
from training_rows import BFLOAT16, ROWS, TIMED, VARIANTS, Cell, Ours, Theirs, row_named, timed_plans, training_of
from training_tables import Figures, cell_record, table

OTHERS_AT = 4
"""The T of the batch sizes after the first."""


def seconds_of(training: Ours | Theirs) -> dict[str, float]:
    """Of an update, by the clock and of the CPU, after one that is not timed."""
    plans = timed_plans(training.plans())
    training.update(plans[-1])

    cpu, clock = time.process_time(), time.perf_counter()
    for plan in plans:
        training.update(plan)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return {"clock": clock / len(plans), "cpu": cpu / len(plans)}


def give_memory_back() -> None:
    """All that is free, to the kernel."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def work(arguments: argparse.Namespace) -> None:
    """Answer each line, a cell, with the figures of an update of the row."""
    row = row_named(arguments.worker)
    keep_freed_memory()
    cell, training, density = None, None, None
    for line in sys.stdin:
        asked = Cell(**json.loads(line))
        answer: dict[str, Any]
        try:
            if asked != cell:
                cell = training = density = None
                training = training_of(row, asked, arguments.width)
                training.draw()
                density = training.density() if isinstance(training, Ours) else None
                cell = asked
            assert training is not None
            answer = {**seconds_of(training), "density": density}
        except (RuntimeError, ValueError, ImportError, MemoryError) as error:
            # What was made is given up; the other rows go on.
            cell = training = None
            answer = {"failure": _first_line(error)}
        print(json.dumps(answer), flush=True)
        give_memory_back()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


class Worker:
    """A process that times one row."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command(arguments, "--worker", name)],
            env={**os.environ, **threads_of(arguments)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, cell: Cell) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(dataclasses.asdict(cell)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            return {"failure": f"its process has ended ({self._process.wait()})"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def command(arguments: argparse.Namespace, *more: str) -> list[str]:
    """Of a process of this file."""
    options = []
    if arguments.width is not None:
        options += ["--width", str(arguments.width)]
    if arguments.threads is not None:
        options += ["--threads", str(arguments.threads)]
    return [__file__, *options, *more]


def threads_of(arguments: argparse.Namespace) -> dict[str, str]:
    return {} if arguments.threads is None else {"OMP_NUM_THREADS": str(arguments.threads)}


def measured(cell: Cell, names: Iterable[str], workers: Callable[[str], Worker], rounds: int) -> dict[str, Figures]:
    """The figures of all rows in a cell."""
    figures = {name: Figures(name) for name in names}
    for number in range(1, rounds + 1):
        for name, found in figures.items():
            if found.failure is not None:
                continue
            answer = workers(name)(cell)
            if "failure" in answer:
                # Ratios are of rows that have all rounds.
                found.failure, found.clock, found.cpu = answer["failure"], [], []
                continue
            found.clock.append(answer["clock"])
            found.cpu.append(answer["cpu"])
            found.density = answer["density"]
        print(f"{cell}: round {number} of {rounds}", file=sys.stderr, flush=True)
    return figures


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    sizes, time_steps = arguments.batch_sizes, arguments.time_steps
    of_others = OTHERS_AT if OTHERS_AT in time_steps else time_steps[0]
    pairs = [(sizes[0], steps) for steps in time_steps] + [(size, of_others) for size in sizes[1:]]
    return [Cell(network, size, steps) for network in arguments.networks for size, steps in pairs]


def _numbers(text: str) -> list[int]:
    found = [int(number) for number in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def _names(text: str, known: Iterable[str]) -> list[str]:
    found = [name.strip() for name in text.split(",")]
    if unknown := [name for name in found if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose of {', '.join(known)}")
    return found


def rows_of_machine() -> list[str]:
    """All rows; and in bfloat16 too, where the processor multiplies that."""
    fast = any("bf16" in one or "amx" in one for one in hardware()["instruction_sets"])
    return [*ROWS, *([name + BFLOAT16 for name in ROWS] if fast else [])]


def parsed(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(TIMED), type=partial(_names, known=TIMED))
    parser.add_argument("--width", type=int, help="of the first layer, of which the others are multiples; its recipe's")
    parser.add_argument("--rows", help="names separated by semicolons; all by default")
    parser.add_argument("--batch-sizes", default="16,64,128", type=_numbers)
    parser.add_argument("--time-steps", default="1,4,8,16,64", type=_numbers)
    parser.add_argument("--threads", type=int, help="PyTorch's own number by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", metavar="ROW", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    arguments.rows = [name.strip() for name in arguments.rows.split(";")] if arguments.rows else rows_of_machine()
    for name in arguments.rows:
        try:
            row_named(name)
        except KeyError:
            parser.error(f"unknown: {name}; rows are {'; '.join(ROWS)}; ours also with {' or '.join(VARIANTS)}")
    if (arguments.width or 1) < 1 or arguments.rounds < 1:
        parser.error("--width and --rounds are at least 1")
    return arguments


def main(given: Sequence[str] | None = None) -> None:
    arguments = parsed(given)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    if arguments.worker:
        work(arguments)
        return
    peers = dict.fromkeys(row.peer for row in map(row_named, arguments.rows) if row.peer)
    try:
        found = [line for network in arguments.networks for peer in peers for line in differences(peer, network)]
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'hdlif[peers]', or leave its rows out (--rows)")
    if found:
        sys.exit("\n".join([*found, "nothing is timed: these do not compute the same"]))
    record: dict[str, Any] = {**vars(arguments), "threads": torch.get_num_threads()}
    for key in ("out", "worker"):
        del record[key]
    record |= {"versions": versions() | library_versions(), "hardware": hardware(), "cells": []}
    running: dict[str, Worker] = {}

    def worker(name: str) -> Worker:
        if name not in running or running[name].has_ended:
            running[name] = Worker(name, arguments)
        return running[name]

    try:
        for cell in cells_of(arguments):
            figures = measured(cell, arguments.rows, worker, arguments.rounds)
            print(table(cell, figures), flush=True)
            record["cells"] += cell_record(cell, figures)
            if arguments.out:
                write_record(arguments.out, record, seeds="the recipes' own")
    finally:
        for one in running.values():
            one.close()


def library_versions() -> dict[str, str]:
    found = {}
    for name in ("spikingjelly", "snntorch"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    main()
