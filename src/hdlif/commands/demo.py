"""`hdlif demo`: four networks trained online, compared, deployed, run without PyTorch, and reported."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdlif.cli.provenance import hardware, versions
from hdlif.commands.eval import session_logits
from hdlif.commands.report import report
from hdlif.commands.train import in_one_process, measure_peak, train
from hdlif.data import Samples
from hdlif.deploy import export
from hdlif.errors import DataError, did_you_mean
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, write_json
from hdlif.recipe.runs.folders import begun, check_free, is_demo
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.live import live_page
from hdlif.report.runs import Artefact
from hdlif.runtime import Session
from hdlif.training import progress_bar
from hdlif.whole_files import whole_file

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
LIVE_PAGE = "live.html"
DATA_SETS = ("digits", "fashion_mnist")
LATENCY_RUNS = 50


@dataclass(frozen=True)
class DemoResult:
    """Four trainings, each by the name of its folder, and the last one's deployed file."""

    networks: tuple[TrainResult, ...]
    artefact: Artefact
    data: str
    seed: int | None
    versions: Mapping[str, Any]
    hardware: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As OUT/summary.json has it."""
        return {
            "networks": [network.as_dict() for network in self.networks],
            "artefact": self.artefact,
            "data": self.data,
            "seed": self.seed,
            "versions": self.versions,
            "hardware": self.hardware,
        }


def demo(
    *,
    data: str = "digits",
    data_root: Path | None = None,
    out: Path = Path("runs/demo"),
    page: bool = False,
    progress: bool = False,
    memory_repeats: int = 1,
) -> DemoResult:
    """Train, compare, deploy, run, report; returns what OUT/summary.json holds.

    With `page`, OUT/live.html is a page that runs the deployed network (`hdlif.report.live`).
    An earlier demo in OUT is replaced. Peak memory, which takes processes of its own, is measured last,
    `memory_repeats` times a network.

    Raises:
        ExistingRunError: OUT holds a training.
        DataError: `data` has no set of recipes, or its files are absent.
    """
    if data not in DATA_SETS:
        raise DataError(f'--data "{data}" has no demo; {did_you_mean(data, DATA_SETS)}')
    check_alone("hdlif demo")
    if not is_demo(out):
        check_free(out)
        for name in NETWORKS:
            # An unfinished demo leaves trainings of its own recipes.
            if not begun(out / name, load_recipe(f"{data}_{name}")):
                check_free(out / name)
    trained = {}
    with progress_bar(enabled=progress) as bar:
        for name in NETWORKS:
            options: dict[str, Any] = {"data_root": data_root, "progress": bar, "memory_repeats": 0}
            trained[name] = in_one_process(train(f"{data}_{name}", out=out / name, overwrite=True, **options))
        path = out / f"{data}{ARTEFACT_SUFFIX}"
        threads = trained[NETWORKS[-1]].threads_used
        artefact = deploy_and_compare(out / NETWORKS[-1], path, data_root=data_root, threads=threads)
        whole = {name: measure_peak(one, out / name, memory_repeats, bar) for name, one in trained.items()}
    networks = tuple(replace(one, name=name) for name, one in whole.items())
    result = DemoResult(networks, artefact, data, networks[0].seed, versions(), hardware())
    write_json(out / "summary.json", result.as_dict())
    report([out], out=out / "report.html")
    if page:
        write_live_page(path, out / LIVE_PAGE)
    return result


def write_live_page(artefact: Path, out: Path) -> None:
    """The page of a deployed network of pictures, all of it or nothing."""
    content = live_page(artefact.read_bytes(), artefact.name)
    with whole_file(out) as temporary:
        temporary.write_text(content, "utf-8")


def deploy_and_compare(run: Path, path: Path, *, data_root: Path | None, threads: int) -> Artefact:
    """Export the network of a run folder, run the whole test set through the runtime, and compare with PyTorch.

    Args:
        threads: of the runtime.
    """
    trained = load_trained(run)
    recipe = trained.recipe
    kind = builders.data_kind(recipe)
    export(trained.network, path, input=builders.input_record(recipe), labels=kind.labels, time_steps=recipe.time_steps)
    test = builders.build_data(recipe, data_root).test
    session = Session(path, threads)
    logits = session_logits(session, test)
    with torch.inference_mode():
        steps = range(recipe.time_steps)
        parts = [trained.network(x, steps=steps)[0] for x, _ in test.sequences(64)]
    expected = torch.cat(parts, dim=1).numpy()
    agreement = np.mean(logits.mean(0).argmax(-1) == expected.mean(0).argmax(-1))
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "argmax_agreement": float(agreement),
        "max_logit_difference": float(np.abs(logits - expected).max()),
        "latency_ms": latency_ms(session, test),
        "accuracy": float(np.mean(logits.mean(0).argmax(-1) == test.labels.numpy())),
        "images": len(test),
    }


def latency_ms(session: Session, test: Samples) -> float:
    """Median milliseconds of one image over all T steps, over the first test images."""
    frames = [x.numpy() for x, _ in test.first(LATENCY_RUNS).sequences(1)]
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        session.run(frame)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e3)
