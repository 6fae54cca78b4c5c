"""Compare a deployed network, run by the runtime, with the original PyTorch network on a run's test set."""

import time
from pathlib import Path

import numpy as np
import torch

from hdlif.data import Samples
from hdlif.graph.artefact import save
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.report.runs import Artefact
from hdlif.runtime import Session

LATENCY_RUNS = 50


def deploy_and_compare(run: Path, path: Path, *, data_root: Path | None, threads: int) -> Artefact:
    """Export a run folder's network, and compare its test results in the runtime and in PyTorch.

    Args:
        threads: number of threads in the runtime.
    """
    trained = load_trained(run)
    recipe = trained.recipe
    save(trained.graph(), path)
    test = builders.build_data(recipe, data_root).test
    session = Session(path, threads)
    logits = np.concatenate([session.run(x.contiguous().numpy()) for x, _ in test.sequences(64)], axis=1)
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
    """Return the median latency per image in milliseconds, measured on the first test images."""
    frames = [x.numpy() for x, _ in test.first(LATENCY_RUNS).sequences(1)]
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        session.run(frame)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e3)
