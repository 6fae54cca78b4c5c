"""Networks that find boxes or masks, beside one another: how good on the test images, how large, how fast.

    python benchmarks/bench_places.py NAME=RUN ... [--data-root DIR] [--resamples N] [--repeats N] [--out FILE]

Each RUN is a folder that `hdlif train` has finished, all on the same data. Its network is deployed, and what it
answers for the test images is measured by the run's own task. The intervals hold 95 % of as many resamples of these
images (bootstrap, with seed 0): those of the first figure, and of its difference to the first NAME on the same images.
Times are of one image, on one and two threads, all networks in turns.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdlif.graph.artefact import dumps
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.report.accounting import dense_macs
from hdlif.report.engine_times import in_turns, spread
from hdlif.report.tables import aligned
from hdlif.runtime import Session
from hdlif.training.tasks import Task
from recorded import write_record

TIMED_IMAGES = 8
THREADS = (1, 2)
FROM_SUMMARY = ("seed", "best_epoch", "train_seconds", "peak_bytes", "parameters", "sops", "nops", "energy_mj")


def metrics(task: Task, outputs: torch.Tensor, targets: torch.Tensor, chosen: np.ndarray) -> dict[str, float]:
    """What the task measures of these images: outputs [T, N, ...], targets [N, ...]."""
    tally = task.tally()
    numbers = torch.from_numpy(chosen)
    tally(outputs[:, numbers], targets[numbers])
    return dict(tally.evaluation().metrics)


def measured(run: Path, data_root: Path | None) -> dict[str, Any]:
    """The figures of one run, a function that measures chosen images, and what is timed."""
    trained, summary = load_trained(run), json.loads((run / "summary.json").read_text("utf-8"))
    recipe, graph = trained.recipe, trained.graph()
    session = Session(graph, 1)
    found, images, targets = [], [], []
    for x, target in builders.build_data(recipe, data_root).test.sequences(1):
        images.append(x.contiguous().numpy())
        found.append(torch.from_numpy(session.run(images[-1])))
        targets.append(target)
    outputs, answers = torch.cat(found, 1), torch.cat(targets)
    task, count = builders.build_measured_task(recipe), len(images)
    measure = partial(metrics, task, outputs, answers)
    figures = measure(np.arange(count))
    return {
        "images": images[:TIMED_IMAGES],
        "measure": measure,
        "graph": graph,
        "record": {
            "recipe": summary["name"],
            "time_steps": recipe.time_steps,
            "size": list(graph.input.shape[1:]),
            "epochs": recipe.training.epochs,
            "test_images": count,
            "metrics": figures,
            "metric": next(iter(figures)),
            "file_bytes": len(dumps(graph)),
            "macs_per_step": sum(dense_macs(graph).values()),
            **{key: summary[key] for key in FROM_SUMMARY},
        },
    }


def resampled(one: dict[str, Any], resamples: int) -> np.ndarray:
    """The first figure of each resample of the test images, the same ones for every network."""
    generator, count, metric = np.random.default_rng(0), one["record"]["test_images"], one["record"]["metric"]
    return np.array([one["measure"](generator.integers(0, count, count))[metric] for _ in range(resamples)])


def interval(values: np.ndarray) -> list[float]:
    """What holds 95 % of them."""
    return [float(value) for value in np.quantile(values, (0.025, 0.975))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    named = dict(run.split("=", 1) for run in given.runs)
    found = {name: measured(Path(run), given.data_root) for name, run in named.items()}
    base = next(iter(found.values()))
    for one in found.values():
        one["record"]["ms"] = {}
    for threads in THREADS:
        runs = {name: Session(one["graph"], threads).run for name, one in found.items()}
        # The networks may have several time steps, and images constant in time are one array for all of them.
        taken = in_turns(runs, base["images"], given.repeats, 3)
        for name, one in found.items():
            one["record"]["ms"][str(threads)] = spread([1e3 * seconds for turn in taken for seconds in turn[name]])
    drawn = {name: resampled(one, given.resamples) for name, one in found.items()}
    of_base = next(iter(drawn.values()))
    for name, one in found.items():
        record = one["record"]
        record["interval"] = interval(drawn[name])
        record["difference"] = record["metrics"][record["metric"]] - base["record"]["metrics"][record["metric"]]
        record["difference_interval"] = interval(drawn[name] - of_base)
    networks = {name: one["record"] for name, one in found.items()}
    print(
        aligned(
            ["network", "T", "metric", "test", "interval", "kB", "ms, 1 thread", "2 threads", "train s"],
            [
                [
                    name,
                    str(one["time_steps"]),
                    one["metric"],
                    f"{one['metrics'][one['metric']]:.3f}",
                    "{:.3f} to {:.3f}".format(*one["interval"]),
                    f"{one['file_bytes'] / 1e3:.0f}",
                    *(f"{one['ms'][str(threads)]['median']:.1f}" for threads in THREADS),
                    f"{one['train_seconds']:.0f}",
                ]
                for name, one in networks.items()
            ],
        )
    )
    if given.out:
        write_record(given.out, {"networks": networks, "resamples": given.resamples}, seeds="of the runs")


if __name__ == "__main__":
    main()
