"""Seconds of training until Fashion-MNIST is known: by our rules, beside SpikingJelly, snnTorch and plain PyTorch.

    python benchmarks/bench_time_to_accuracy.py [--rows "NAME;..."] [--seeds 42,43,44] [--epochs 4]
                      [--rates 0.03,0.1,0.3] [--tuning-updates 150] [--time-steps 4] [--batch-size 128]
                      [--train N] [--validation 5000] [--threads 1] [--rounds 7] [--only trainings|seconds]
                      [--data-root DIR] --out DIR

All rows train the same network, six convolutions of 32, 64 and 128 channels (`fashion_mnist` of
bench_training.py, which says what rows are, and refuses them where small networks of the same weights differ in their
logits): the training images but the last N for validation, flipped at random, in one order for all rows of a seed, by
SGD with Nesterov momentum of 0.9, weight decay of 5e-4 and a cosine from the learning rate to 0.

tuning: each row trains with each learning rate, for as many updates on all sides (a cosine over these), with the seed
    0; the rate of the highest validation accuracy is taken.
trainings: with each seed. Validation accuracy is measured four times an epoch; a threshold is reached at the first of
    these where accuracy is at or above it. An accuracy is that of the logits' mean over all T steps, for all rows.
seconds: of an update of each row, in turns in processes of their own, by the clock: of the network as its first seed
    has left it, on batches that lie in memory; of a random rule the mean over last steps that are spread evenly.
    Medians and quartiles over rounds. Nothing else should run.

Seconds to an accuracy are the updates to it times the seconds of an update: validation, and making batches, are not in
them. OUT/result.json has everything; a training that is stopped goes on from its last measurement, and what is there is
not done again. Start trainings and seconds at different times where the machine is busy.

    pip install 'hdlif[peers]'
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_training import (
    FASTEST_OF,
    NAIVE,
    PEERS,
    ROWS,
    Cell,
    differences,
    library_versions,
    plans_of_peer,
    plans_of_rule,
    quartiles,
    recipe_of,
    row_named,
    shape_of,
    threads_of,
    timed_plans,
)
from hdlif import builders
from hdlif.learning import Plan
from hdlif.measure.allocator import keep_freed_memory
from hdlif.report.tables import aligned
from hdlif.runs.files import write_json
from hdlif.runs.provenance import hardware, measured, versions
from hdlif.training import Updater, fabric_class, sgd
from hdlif.training.optim import OnePass
from hdlif.whole_files import whole_file
from training_peers import WIDTHS

NETWORK = "fashion_mnist"
THRESHOLDS = (0.90, 0.91, 0.92)
A_ROUND = 4
"""Measurements of accuracy in an epoch; and updates that are timed in a round, of a rule that draws none."""
TUNING_SEED = 0
DEFAULT_ROWS = ("HD-LIF random step", "HD-LIF w1.5 s4 random step", NAIVE, *FASTEST_OF)


@dataclass(frozen=True)
class Settings:
    """What all trainings share."""

    epochs: int
    tuning_updates: int
    time_steps: int
    batch_size: int
    train: int
    validation: int
    threads: int
    data_root: str


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        updates: None for all epochs; of a learning rate that is tried so many.
    """

    row: str
    seed: int
    rate: float
    updates: int | None = None

    @property
    def name(self) -> str:
        kind = "tuning" if self.updates else "training"
        return f"{kind} {self.row}, seed {self.seed}, rate {self.rate}"


class Trained:
    """A network of a row that learns Fashion-MNIST, some updates at a time."""

    def __init__(self, job: Job, settings: Settings) -> None:
        self._job, self._settings, self._row = job, settings, row_named(job.row)
        cell = Cell(NETWORK, settings.batch_size, settings.time_steps)
        self._recipe = recipe_of(self._row, cell, WIDTHS[NETWORK])
        torch.manual_seed(job.seed)
        self.network: nn.Module
        if self._row.peer:
            self._peer = PEERS[self._row.peer](shape_of(self._recipe, NETWORK, WIDTHS[NETWORK]), settings.time_steps)
            self.network = self._peer.network
        else:
            self.network, self._rule = builders.build_model(self._recipe), builders.build_rule(self._recipe)
        self._optimizer = sgd(self.network, learning_rate=job.rate, momentum=0.9, weight_decay=5e-4)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, self.updates)
        if self._row.peer:
            self._one_pass = OnePass(self._optimizer)
        else:
            fabric = fabric_class()(accelerator="cpu", devices=1, precision="32-true")
            self._update = Updater(fabric, self.network, self._optimizer, self._rule)
        self.done = 0
        self.curve: list[dict[str, float]] = []

    @cached_property
    def _data(self) -> Any:
        data = self._recipe.data.model_copy(update={"validation": self._settings.validation})
        recipe = self._recipe.model_copy(update={"data": data})
        return builders.build_data(recipe, Path(self._settings.data_root), workers=0)

    @property
    def updates(self) -> int:
        """Of the whole training."""
        return self._job.updates or self._settings.epochs * self._of_epoch

    @property
    def _of_epoch(self) -> int:
        return self._settings.train // self._settings.batch_size

    def batch(self, update: int) -> tuple[Tensor, Tensor]:
        """That of the training's update, [1, B, 1, 28, 28]; a function of seed and update alone."""
        epoch, place = divmod(update, self._of_epoch)
        order = torch.randperm(self._settings.train, generator=self._drawing(epoch, 0))
        size = self._settings.batch_size
        train = self._data.train
        train.set_epoch(epoch)
        x, target = train.batch(order[place * size : (place + 1) * size])
        return x[None], target

    def _drawing(self, count: int, what: int) -> torch.Generator:
        return torch.Generator().manual_seed((self._job.seed * 1_000_003 + count) * 2 + what)

    def plans(self) -> Sequence[Any]:
        """What updates may be carried out with, in the order of their last steps."""
        steps = self._settings.time_steps
        return plans_of_peer(self._peer, steps) if self._row.peer else plans_of_rule(self._rule, steps)

    def learn(self, x: Tensor, target: Tensor, plan: Any) -> None:
        """An update with the rate as it stands."""
        self.network.train()
        if isinstance(plan, Plan):
            self._update(x, target, plan)
            return
        self._peer.backward(x.expand(self._settings.time_steps, *x.shape[1:]), target, plan)
        self._one_pass.prepare()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def drawn(self, update: int) -> Any:
        """How the training's update is carried out; plans are as likely as each other."""
        plans = self.plans()
        return plans[int(torch.randint(len(plans), (), generator=self._drawing(update, 1)))]

    def accuracy(self) -> float:
        """Of the validation images."""
        self.network.eval()
        right = count = 0
        samples = self._data.validation
        steps = self._settings.time_steps
        with torch.no_grad():
            for indices in torch.arange(len(samples)).split(self._settings.batch_size):
                x, target = samples.batch(indices)
                if self._row.peer:
                    logits = self._peer.logits(x.expand(steps, *x.shape)).mean(0)
                    self._peer.forget()
                else:
                    logits = self.network(x[None], steps=range(steps))[0].mean(0)
                right += int((logits.argmax(1) == target).sum())
                count += len(target)
        return right / count

    def run(self, kept: Path) -> None:
        """Train to the end, or until the last threshold is reached, from where `kept` stands; it is kept there."""
        if kept.exists():
            self.restore(kept)
        often = self.updates if self._job.updates else max(1, self._of_epoch // A_ROUND)
        spent = self.curve[-1]["clock"] if self.curve else 0.0
        while self.done < self.updates and not self.has_all:
            start = time.perf_counter()
            self.learn(*self.batch(self.done), self.drawn(self.done))
            self._schedule.step()
            self.done += 1
            spent += time.perf_counter() - start
            if self.done % often == 0 or self.done == self.updates:
                self.curve.append({"updates": self.done, "accuracy": self.accuracy(), "clock": spent})
                self.keep(kept)
                shown = f"{self._job.name}: {self.done} of {self.updates}, {self.curve[-1]['accuracy']:.2%}"
                print(shown, file=sys.stderr, flush=True)

    @property
    def has_all(self) -> bool:
        return bool(self.curve) and not self._job.updates and self.curve[-1]["accuracy"] >= max(THRESHOLDS)

    def keep(self, path: Path) -> None:
        parts = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "done": self.done,
            "curve": self.curve,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            torch.save(parts, temporary)

    def restore(self, path: Path) -> None:
        parts = torch.load(path, weights_only=True)
        self.network.load_state_dict(parts["network"])
        self._optimizer.load_state_dict(parts["optimizer"])
        self._schedule.load_state_dict(parts["schedule"])
        self.done, self.curve = parts["done"], parts["curve"]


def kept_at(out: Path, job: Job) -> Path:
    return out / "networks" / f"{job.name}.pt"


def seconds_of(trained: Trained) -> float:
    """Of an update, by the clock, behind one that is not timed."""
    plans = timed_plans(trained.plans())
    plans = plans if len(plans) > 1 else plans * A_ROUND
    batches = [trained.batch(update) for update in range(len(plans))]
    trained.learn(*batches[-1], plans[-1])
    start = time.perf_counter()
    for (x, target), plan in zip(batches, plans, strict=True):
        trained.learn(x, target, plan)
    return (time.perf_counter() - start) / len(plans)


def child(asked: dict[str, Any], out: Path) -> None:
    """A process of one training, or of one row's seconds: an update a line that comes in."""
    keep_freed_memory()
    settings, job = Settings(**asked["settings"]), Job(**asked["job"])
    torch.set_num_threads(settings.threads)
    trained, kept = Trained(job, settings), kept_at(out, job)
    if not asked["times"]:
        trained.run(kept)
        print(json.dumps(trained.curve))
        return
    trained.restore(kept)
    for group in trained._optimizer.param_groups:
        group["lr"] = 1e-6
    for _ in sys.stdin:
        print(json.dumps(seconds_of(trained)), flush=True)


def command(job: Job, settings: Settings, out: Path, *, times: bool = False) -> list[str]:
    asked = {"job": asdict(job), "settings": asdict(settings), "times": times}
    return [sys.executable, __file__, "--child", json.dumps(asked), "--out", str(out)]


def trainings(
    rows: Sequence[str], seeds: Sequence[int], rates: Sequence[float], settings: Settings, out: Path, found: Any
) -> None:
    """What is missing of them, into `found`, which is written behind each."""

    def curve_of(job: Job) -> list[dict[str, float]]:
        asked = command(job, settings, out)
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True, env=environment(settings))
        curve: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
        return curve

    for row in rows:
        of_row = found["rows"].setdefault(row, {"tuning": {}, "trainings": {}})
        for rate in rates:
            if str(rate) not in of_row["tuning"]:
                curve = curve_of(Job(row, TUNING_SEED, rate, settings.tuning_updates))
                of_row["tuning"][str(rate)] = curve[-1]["accuracy"]
                write_json(out / "result.json", found)
    for seed in seeds:
        for row in rows:
            of_row = found["rows"][row]
            if str(seed) not in of_row["trainings"]:
                of_row["trainings"][str(seed)] = curve_of(Job(row, seed, best_rate(of_row)))
                write_json(out / "result.json", found)


def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, **threads_of(argparse.Namespace(threads=settings.threads))}


def best_rate(of_row: Any) -> float:
    return float(max(of_row["tuning"], key=of_row["tuning"].get))


def seconds(rows: Sequence[str], seed: int, rounds: int, settings: Settings, out: Path, found: Any) -> None:
    """Of an update of each row, in turns."""
    workers = {
        row: subprocess.Popen(
            command(Job(row, seed, best_rate(found["rows"][row])), settings, out, times=True),
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for row in rows
    }
    taken: dict[str, list[float]] = {row: [] for row in rows}
    for number in range(1, rounds + 1):
        for row, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            taken[row].append(json.loads(worker.stdout.readline()))
        print(f"seconds: round {number} of {rounds}", file=sys.stderr, flush=True)
    for row, worker in workers.items():
        worker.communicate()
        found["rows"][row]["seconds"] = taken[row]
    found["hardware of seconds"] = hardware()
    write_json(out / "result.json", found)


def updates_to(curve: Sequence[dict[str, float]], threshold: float) -> int | None:
    return next((int(point["updates"]) for point in curve if point["accuracy"] >= threshold), None)


def table(rows: Sequence[str], found: Any) -> str:
    """Of each row: its rate, seconds of an update, best accuracy, and seconds to each threshold over seeds."""
    head = ["row", "rate", "s an update", "best accuracy", *(f"s to {threshold:.0%}" for threshold in THRESHOLDS)]
    lines = []
    for row in rows:
        of_row = found["rows"].get(row)
        if not of_row or not of_row["trainings"]:
            continue
        pace = of_row.get("seconds")
        cells = [f"{best_rate(of_row):g}", "" if not pace else "{1:.3f} [{0:.3f}, {2:.3f}]".format(*quartiles(pace))]
        curves = of_row["trainings"].values()
        cells.append(_spread([100 * max(point["accuracy"] for point in curve) for curve in curves], 2))
        for threshold in THRESHOLDS:
            reached = [updates_to(curve, threshold) for curve in curves]
            known = [one for one in reached if one is not None]
            if not known:
                cells.append("not reached")
                continue
            shown = _spread([one * statistics.median(pace) for one in known] if pace else known, 0)
            missing = "" if len(known) == len(reached) else f" ({len(known)} of {len(reached)} seeds)"
            cells.append(shown + ("" if pace else " updates") + missing)
        lines.append([row, *cells])
    return aligned(head, lines)


def _spread(values: Sequence[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def parsed(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="; ".join(DEFAULT_ROWS), help="names separated by semicolons")
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--rates", default="0.03,0.1,0.3")
    for name, value in {
        "epochs": 4,
        "tuning-updates": 150,
        "time-steps": 4,
        "batch-size": 128,
        "train": 55000,
        "validation": 5000,
        "threads": 1,
        "rounds": 7,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", choices=("trainings", "seconds"))
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    arguments.rows = [name.strip() for name in arguments.rows.split(";")]
    for name in arguments.rows:
        try:
            row_named(name)
        except KeyError:
            parser.error(f"unknown: {name}; rows are {'; '.join(ROWS)}")
    arguments.seeds = [int(seed) for seed in arguments.seeds.split(",")]
    arguments.rates = [float(rate) for rate in arguments.rates.split(",")]
    return arguments


def main(given: Sequence[str] | None = None) -> None:
    arguments = parsed(given)
    if arguments.child:
        child(json.loads(arguments.child), arguments.out)
        return
    names = ("epochs", "tuning_updates", "time_steps", "batch_size", "train", "validation", "threads", "data_root")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    try:
        peers = dict.fromkeys(row.peer for row in map(row_named, arguments.rows) if row.peer)
        off = [line for peer in peers for line in differences(peer, NETWORK)]
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'hdlif[peers]', or leave its rows out (--rows)")
    if off:
        sys.exit("\n".join([*off, "nothing is trained: these do not compute the same"]))
    shared = {name: value for name, value in asdict(settings).items() if name not in ("data_root", "threads")}
    known = arguments.out / "result.json"
    found: Any = measured(arguments.seeds) | {
        "settings": shared,
        "versions": versions() | library_versions(),
        "rows": {},
    }
    if known.exists():
        found = json.loads(known.read_text("utf-8"))
        if found["settings"] != shared:
            sys.exit(f"{known} is of other settings, {found['settings']}; choose another --out")
    if arguments.only != "seconds":
        trainings(arguments.rows, arguments.seeds, arguments.rates, settings, arguments.out, found)
    if arguments.only != "trainings":
        missing = [row for row in arguments.rows if str(arguments.seeds[0]) not in found["rows"][row]["trainings"]]
        if missing:
            sys.exit(f"no trainings of {', '.join(missing)} yet; leave --only seconds out")
        seconds(arguments.rows, arguments.seeds[0], arguments.rounds, settings, arguments.out, found)
    print(table(arguments.rows, found))


if __name__ == "__main__":
    main()
