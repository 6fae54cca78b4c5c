"""Train the experiments of benchmarks/experiments.yaml, and record each one as soon as it is finished.

    python benchmarks/experiments.py [ARM ...] [--list | --best] [--data-root DIR] [--runs DIR] [--processes N]
                                     [--minutes M]

An arm is a recipe with overrides, trained once per seed and trial, each time on one thread. Arms are listed in the
order of their importance. A training that has a record is skipped. After M minutes, on Ctrl-C and on SIGTERM, running
trainings save a checkpoint and stop; the next call resumes them.
"""

import argparse
import fcntl
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from recorded import write_record

HERE = Path(__file__).parent
HDLIF = (sys.executable, "-m", "hdlif")
NOT_RECORDED = ("recipe", "layers", "neurons", "ranks")
"""Large parts of a summary, which the command and the commit reproduce."""


@dataclass(frozen=True)
class Job:
    """One training: an arm with a seed, and with a trial if the arm has trials."""

    arm: str
    seed: int
    arguments: tuple[str, ...]
    """Arguments of `hdlif train`, without paths."""
    trial: str = ""

    @property
    def name(self) -> str:
        return "_".join(part for part in (self.arm, self.trial, str(self.seed)) if part)

    def command(self) -> list[str]:
        return ["train", *self.arguments, "--set", f"seed={self.seed}", "--threads", "1", "--memory-repeats", "1"]


def load_jobs(path: Path, arms: list[str]) -> list[Job]:
    """Read the jobs of these arms, or of all, in order."""
    listed = yaml.safe_load(path.read_text("utf-8"))
    unknown = set(arms) - {one["arm"] for one in listed}
    if unknown:
        raise SystemExit(f"{path}: has no arm {', '.join(sorted(unknown))}; python benchmarks/experiments.py --list")
    jobs = []
    for one in listed:
        if arms and one["arm"] not in arms:
            continue
        # An arm with trials is trained with each combination of their overrides, and named after them.
        for trial in itertools.product(*(choices.items() for choices in one.get("trials", ()))):
            named = "_".join(str(choice) for choice, _ in trial)
            overrides = [*one.get("set", ()), *(override for _, override in trial)]
            words = [word for override in overrides for word in ("--set", override)]
            words += ["--twin", one["twin"]] if "twin" in one else []
            jobs += [Job(one["arm"], seed, (one["recipe"], *words), named) for seed in one["seeds"]]
    return jobs


class Runner:
    """Train jobs with `program`, each in its own process, until they are finished or `stop` is set."""

    def __init__(
        self, runs: Path, records: Path, data_root: Path | None = None, program: Sequence[str] = HDLIF
    ) -> None:
        self.runs, self.records, self.program = runs, records, program
        self.paths = [] if data_root is None else ["--data-root", str(data_root)]
        self.stop = threading.Event()

    def record_path(self, job: Job) -> Path:
        return self.records / f"{job.name}.json"

    def __call__(self, job: Job) -> str:
        """Train and record a job unless it is recorded or another process trains it; return its state."""
        self.runs.mkdir(parents=True, exist_ok=True)
        with (self.runs / f"{job.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return "running elsewhere"
            if self.record_path(job).exists():
                return "recorded"
            return "interrupted" if self.stop.is_set() else self._train(job)

    def _train(self, job: Job) -> str:
        out = self.runs / job.name
        begun = "--resume" if (out / "last.safetensors").exists() else "--overwrite"
        command = [*self.program, *job.command(), *self.paths, "--out", str(out), begun]
        with (self.runs / f"{job.name}.log").open("a") as log:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            # In a session of its own, so that Ctrl-C reaches this process alone, which stops the training once.
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            while process.poll() is None:
                if self.stop.wait(0.2):
                    process.terminate()
                    process.wait()
        if process.returncode:
            return "interrupted" if self.stop.is_set() else f"failed: see {log.name}"
        summary = json.loads((out / "summary.json").read_text("utf-8"))
        figures = {key: value for key, value in summary.items() if key not in NOT_RECORDED}
        figures["commit"] = summary["versions"].get("hdlif_commit")
        figures["command"] = shlex.join(["hdlif", *job.command(), "--data-root", "DIR"])
        write_record(self.record_path(job), {"arm": job.arm} | figures, seeds=[job.seed])
        return "recorded"


def trial_scores(jobs: Sequence[Job], runner: Runner) -> dict[str, dict[str, float]]:
    """Return the validation score of each recorded trial of a search, by arm."""
    found: dict[str, dict[str, float]] = {}
    for job in jobs:
        if job.arm.startswith("search") and (path := runner.record_path(job)).exists():
            found.setdefault(job.arm, {})[job.trial] = json.loads(path.read_text("utf-8"))["validation_score"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="*", metavar="ARM")
    parser.add_argument("--list", action="store_true", help="print the jobs and their commands, and train nothing")
    parser.add_argument(
        "--best", action="store_true", help="print the trial with the best validation score of each arm"
    )
    parser.add_argument("--file", type=Path, default=HERE / "experiments.yaml")
    parser.add_argument("--records", type=Path, default=HERE / "records/experiments")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float)
    given = parser.parse_args()
    jobs = load_jobs(given.file, given.arms)
    runner = Runner(given.runs, given.records, given.data_root)
    if given.list:
        for job in jobs:
            state = "recorded" if runner.record_path(job).exists() else "to train"
            print(f"{job.name}: {state}: {shlex.join(['hdlif', *job.command()])}")
        return
    if given.best:
        for arm, scores in trial_scores(jobs, runner).items():
            best = max(scores, key=scores.__getitem__)
            print(f"{arm}: {best} with {scores[best]:.4f}, of {len(scores)} trials")
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop.set())
    if given.minutes is not None:
        timer = threading.Timer(60 * given.minutes, runner.stop.set)
        timer.daemon = True
        timer.start()
    begun = time.monotonic()
    with ThreadPoolExecutor(given.processes) as pool:
        for job, state in zip(jobs, pool.map(runner, jobs), strict=True):
            print(f"{job.name}: {state} after {(time.monotonic() - begun) / 60:.0f} min", flush=True)


if __name__ == "__main__":
    main()
