"""Time a deployed network on the compiled runtime and on other engines, and check that their outputs agree."""

import json
import math
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.errors import (
    ArtefactError,
    DataError,
    InputError,
    MissingExtraError,
    RecipeError,
    TrainingError,
    cut,
    did_you_mean,
)
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord, infer_values
from hdlif.graph.ops import OPS
from hdlif.inputs.python_processes import module_command
from hdlif.report.accounting import activity, dense_macs, priced
from hdlif.report.accounting.operations import FLOAT_MAC_PJ, INT8_MULTIPLY_PJ, INT32_ADD_PJ, MJ_PER_PJ
from hdlif.report.engines import CALIBRATION_IMAGES, ENGINES, OURS, PEERS, Floats, Material, Run, file_bytes
from hdlif.report.provenance import installed_versions
from hdlif.runtime import Session, normalise
from hdlif.runtime.answers import alike, answers
from hdlif.runtime.images import fit_images

STARTS = 3
CALLS = 5
"""Number of timed calls of an engine in each round of latency measurements."""
WARM_SECONDS = 0.05
"""Seconds of warm-up before an engine's timed calls. A core that has slept is slow at first, and other engines' data
have displaced the engine's data from the caches."""
SETTLE_SECONDS = 0.02
"""Seconds of pause before an engine runs, so the previous engine's threads stop waiting for work."""
PROFILED_IMAGES = 4
TESTED_IMAGES = 1000
"""Number of labelled test images on which accuracies are measured."""
MAC_PJ = {"int8": INT8_MULTIPLY_PJ + INT32_ADD_PJ, "float32": FLOAT_MAC_PJ}
"""Energy of a dense engine's multiply-accumulate, as priced by `hdlif.report.accounting`."""
TWIN = "twin: "
"""Prefix of the names of engines that run the ordinary twin."""
EARLY = ", early"
"""Suffix of the name of hdlif's engine with early exit."""


def engines_of(against: Sequence[str] | None) -> list[str]:
    """Return the names of the engines selected by the option `--against`."""
    for peer in against or ():
        if peer not in PEERS:
            raise InputError(f'--against "{peer}" is unknown; {did_you_mean(peer, PEERS)}')
    names = [name for peer in (PEERS if against is None else dict.fromkeys(against)) for name in PEERS[peer]]
    absent = {name: [p for p in ENGINES[name].packages if find_spec(p) is None] for name in names}
    if against is not None:
        for name, packages in absent.items():
            if packages:
                raise MissingExtraError.of(f"{name}: {', '.join(packages)}", "engines")
    return [name for name in names if not absent[name]]


def check_twin(path: Path, twin: Graph, ours: Graph) -> None:
    """Raise `ArtefactError` if a twin network's input, labels or task differ from the original network's."""
    for what in ("input", "labels", "task"):
        if getattr(twin, what) != getattr(ours, what):
            raise ArtefactError(
                f"{path}: the networks have different {what}; train both from the same recipe (hdlif train RECIPE "
                "--twin ordinary)"
            )


@dataclass(frozen=True)
class BenchImages:
    """Normalised images [N, C, H, W] for timing and calibration, and a description of where they come from.

    Attributes:
        tested, labels: test images and their classes, if the images have classes.
    """

    compared: Floats
    calibration: Floats
    source: str
    tested: Floats | None = None
    labels: NDArray[np.int64] | None = None


def images_of(
    record: InputRecord, data: str | None, data_root: Path | None, overrides: Sequence[str] = (), *, compared: int
) -> BenchImages:
    """Return a data set's images at the network's input size, or noise if `data` is None."""
    if record.kind != "image":
        raise InputError(f"the network takes input of kind {record.kind}; `hdlif bench` supports only images")
    if data is None:
        if overrides:
            raise RecipeError(f"--set {cut(overrides[0])} applies to the data of --data; add --data, or remove it")
        rng = np.random.default_rng(0)
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (record.mean, record.std))
        pixels = (mean + std * rng.standard_normal((compared + CALIBRATION_IMAGES, *record.shape))).clip(0, 1)
        x = normalise(np.round(255 * pixels), record)
        return BenchImages(x[:compared], x[compared:], "noise of the input's mean and deviation (no --data)")
    from hdlif.recipe import builders
    from hdlif.recipe.runs.recipe_data import data_keys, in_root, names_path
    from hdlif.recipe.runs.tested_data import sets_named

    if data in builders.DATA and (kind := builders.DATA[data].input.kind) != record.kind:
        raise DataError(
            f"--data {data} has input of kind {kind}, but the network takes images; choose a data set of images"
        )
    known = record if names_path(in_root(data, data_root)) else None
    sets = sets_named(data, data_root, Path(data), record=known, keys=data_keys(overrides))
    tested, calibration = (
        normalise(fit_images(part.read(torch.arange(min(count, len(part)))).numpy(), record), record)
        for part, count in ((sets.test, max(compared, TESTED_IMAGES)), (sets.train, CALIBRATION_IMAGES))
    )
    # Repeat test images if there are too few.
    run = np.resize(tested, (compared, *record.shape))
    labels = sets.test.labels[: len(tested)].numpy()
    source = f"{len(tested):,} test images of {data}, calibrated on {len(calibration):,} training images"
    return BenchImages(run, calibration, source, *((tested, labels) if labels.ndim == 1 else ()))


@dataclass(frozen=True)
class Candidate:
    """An engine that has loaded a network and runs single images or batches.

    Attributes:
        engine: name of the engine in `ENGINES`.
        reference: name of the candidate that runs the same network on `hdlif`.
        confidence: confidence for early exit on `hdlif`, which returns only the final logits of each image; or None.
    """

    engine: str
    reference: str
    graph: Graph
    path: Path
    one: Run
    many: Run
    confidence: float | None = None

    def on_one_thread(self) -> Run:
        """Load the candidate's file again, and return a function that runs single images on one thread."""
        return _loaded(self.engine, self.path, 1, self.confidence)


def _loaded(engine: str, path: Path, threads: int, confidence: float | None = None) -> Run:
    if confidence is None:
        return ENGINES[engine].load(path, threads)
    session = Session(path, threads)
    return lambda x: session.run(x[None], confidence=confidence).logits[None]


def prepare(name: str, material: Material, threads: int, batch: int, *, reference: str = OURS) -> Candidate:
    engine = ENGINES[name]
    paths = [engine.write(material, size) for size in (1, batch)]
    one, many = (engine.load(path, threads) for path in paths)
    return Candidate(name, reference, material.graph, paths[0], one, many)


def early(whole: Candidate, confidence: float, threads: int) -> Candidate:
    """Return a copy of an `hdlif` candidate with early exit."""
    run = _loaded(OURS, whole.path, threads, confidence)
    return replace(whole, one=run, many=run, confidence=confidence)


def mean_steps(candidate: Candidate, images: Floats) -> float:
    """Return the mean number of time steps per image with the candidate's early exit."""
    assert candidate.confidence is not None
    return float(Session(candidate.path).run(images[None], confidence=candidate.confidence).steps.mean())


def compare(candidates: Mapping[str, Candidate], images: Floats, batch: int) -> dict[str, dict[str, Any]]:
    """Measure how closely each engine's outputs agree with the outputs of the `hdlif` runtime."""
    few = images[: max(len(images) // 4, 1)]
    seen = {}
    for name, candidate in candidates.items():
        parts = [candidate.many(images[first : first + batch]) for first in range(0, len(images), batch)]
        parts += [candidate.one(few[i : i + 1]) for i in range(len(few))]
        seen[name] = np.concatenate(parts, axis=1)
    results = {}
    for name, logits in seen.items():
        candidate = candidates[name]
        expected = seen[candidate.reference]
        agreement = float(alike(logits, expected, candidate.graph).mean())
        # Early exit returns one step of logits, and may change classes.
        is_early = candidate.confidence is not None
        results[name] = {
            "agreement": agreement,
            "max_logit_difference": None if is_early else float(np.abs(logits - expected).max()),
            "agrees": is_early or agreement >= ENGINES[candidate.engine].least_agreement,
            "file_bytes": file_bytes(candidate.path),
        }
    return results


def accuracy(candidate: Candidate, images: BenchImages, batch: int, record: TaskRecord) -> float | None:
    """Return the accuracy of an engine on the test images, or None if the images have no class labels."""
    if images.tested is None or images.labels is None or record.kind != "classify":
        return None
    count, classes = len(images.labels), range(1 + int(images.labels.max()))
    # Fill the last batch with images that do not count.
    shown = np.resize(images.tested, (math.ceil(count / batch) * batch, *images.tested.shape[1:]))
    parts = [candidate.many(shown[first : first + batch]) for first in range(0, len(shown), batch)]
    found = answers(np.concatenate(parts, axis=1)[:, :count], record, [str(one) for one in classes])
    given = [None if answer is None else answer["class"] for answer in found]
    return float(np.mean([one == label for one, label in zip(given, images.labels, strict=True)]))


def energy_uj(candidate: Candidate, images: Floats) -> dict[str, float | None]:
    """Return two energies per image in µJ: one for SOPs only, and one for all operations.

    The energy for SOPs is None for dense engines, which run every multiply-accumulate. With early exit, both energies
    are None.
    """
    if candidate.confidence is not None:
        return {"published": None, "honest": None}
    dense = ENGINES[candidate.engine].dense
    if dense is not None:
        macs = sum(engine_macs(candidate.graph).values())
        return {"published": None, "honest": 1e3 * MJ_PER_PJ * MAC_PJ[dense] * macs}
    seen = activity(candidate.graph, torch.from_numpy(images[None, :PROFILED_IMAGES]))
    paper, honest = (priced(seen, counting).energy_mj for counting in ("paper", "honest"))
    return {"published": 1e3 * paper, "honest": 1e3 * honest}


def time_engines(
    timed: Mapping[str, Candidate], results: dict[str, dict[str, Any]], images: Floats, batch: int, repeats: int
) -> None:
    """Measure each engine's latency for single images and throughput for batches, alternating between engines."""
    one = in_turns({name: c.one for name, c in timed.items()}, np.split(images, len(images)), repeats, CALLS)
    batches = np.split(images, len(images) // batch)
    many = in_turns({name: c.many for name, c in timed.items()}, batches, max(3, repeats // 4), 1)
    for name in timed:
        ratios = [statistics.median(r[name]) / statistics.median(r[OURS]) for r in one]
        results[name] |= {
            "latency_ms": spread([1e3 * s for r in one for s in r[name]]),
            "throughput_per_s": statistics.median(batch / s for r in many for s in r[name]),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
            "throughput_ratio": statistics.median(r[name][0] / r[OURS][0] for r in many),
        }


def time_on_one_thread(
    timed: Mapping[str, Candidate], results: dict[str, dict[str, Any]], images: Floats, repeats: int
) -> None:
    """Measure each engine's latency for single images on one thread, alternating between engines."""
    runs = {name: candidate.on_one_thread() for name, candidate in timed.items()}
    rounds = in_turns(runs, np.split(images, len(images)), repeats, CALLS)
    for name in timed:
        results[name]["one_thread_ms"] = spread([1e3 * seconds for taken in rounds for seconds in taken[name]])


def in_turns(
    runs: Mapping[str, Run], inputs: Sequence[Floats], rounds: int, calls: int, *, warm_seconds: float = WARM_SECONDS
) -> list[dict[str, list[float]]]:
    """Time `calls` calls of each runner per round and return the duration of each call in seconds.

    Each runner first warms up for at least `warm_seconds`, with at least one call. A different runner goes first in
    each round. All runners get the same inputs in the same order.
    """
    names, taken = list(runs), []
    for number in range(rounds):
        seconds = {}
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            time.sleep(SETTLE_SECONDS)
            _warm(runs[name], inputs[number % len(inputs)], warm_seconds)
            seconds[name] = [
                _seconds(runs[name], inputs[(number * calls + call) % len(inputs)]) for call in range(calls)
            ]
        taken.append(seconds)
    return taken


def _warm(run: Run, x: Floats, seconds: float) -> None:
    until = time.perf_counter() + seconds
    run(x)
    while time.perf_counter() < until:
        run(x)


def _seconds(run: Run, x: Floats) -> float:
    start = time.perf_counter()
    run(x)
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, minimum and maximum of the values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def start(
    timed: Mapping[str, Candidate], results: dict[str, dict[str, Any]], image: Floats, folder: Path, threads: int
) -> None:
    """Measure each engine's memory and its time to the first output in a fresh process."""
    np.save(folder / "images.npy", image)
    np.save(folder / "image.npy", image[0])
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(STARTS):
        for name, candidate in timed.items():
            measured = _timed_lines(
                "hdlif.report.engines", candidate.engine, candidate.path, folder / "images.npy", threads
            )
            lines = list(measured)
            seconds[name].append(lines[0][0])
            results[name] |= json.loads(lines[-1][1])
            if name == OURS:
                # Start hdlif on the command line, as a user does.
                options = ("--threads", threads, "--confidence", "off")
                answers = _timed_lines("hdlif", "run", candidate.path, folder / "image.npy", *options)
                seconds[name][-1] = next(answers)[0]
    for name in timed:
        results[name]["start_seconds"] = statistics.median(seconds[name])


def _timed_lines(module: str, *arguments: object) -> Iterator[tuple[float, str]]:
    """Run a module in a new process, and yield each line that it prints with the seconds since its start."""
    start = time.perf_counter()
    command = module_command(module, *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            yield time.perf_counter() - start, line
        reason = child.stderr.read().strip().splitlines()[-1:]
    if child.returncode != 0:
        raise TrainingError(f"{module} {arguments[0]} failed: {(reason or [f'exit code {child.returncode}'])[0]}")


def layers_of(session: Session, graph: Graph, images: Floats, *, repeats: int = 20) -> list[dict[str, Any]]:
    """Profile the runtime on single images and return one row per stage.

    Each row contains "name", "op", "ms", "density", "macs" and "dense_gmacs_per_s". "name" is the name of the stage's
    first node, "ms" the median time, and "density" the fraction of non-zero synaptic inputs.
    """
    frames = [images[i : i + 1][None] for i in range(min(len(images), PROFILED_IMAGES))]
    session.stage_seconds(frames[0])
    runs = [session.stage_seconds(frames[i % len(frames)]) for i in range(repeats)]
    density, macs = _densities(session, graph, frames), engine_macs(graph)
    rows = []
    for node in graph.nodes:
        if node.name not in runs[0]:
            continue
        seconds = statistics.median(run.get(node.name, 0.0) for run in runs)
        rows.append(
            {
                "name": node.name,
                "op": node.op,
                "ms": 1e3 * seconds,
                "density": density.get(node.name),
                "macs": macs.get(node.name, 0),
                "dense_gmacs_per_s": macs[node.name] / seconds / 1e9 if node.name in macs else None,
            }
        )
    return rows


def engine_macs(graph: Graph) -> dict[str, int]:
    """Return the number of multiply-accumulates per image that a dense engine computes in each layer."""
    values = infer_values(graph)
    return {name: macs * (1 if values[name].constant else graph.time_steps) for name, macs in dense_macs(graph).items()}


def _densities(session: Session, graph: Graph, frames: Sequence[Floats]) -> dict[str, float]:
    shares: dict[str, list[float]] = {}
    for frame in frames:
        values = session.values(frame)
        for node in graph.nodes:
            if OPS[node.op].is_synapse:
                read = values[node.inputs[0]]
                shares.setdefault(node.name, []).append(np.count_nonzero(read) / read.size)
    return {name: float(np.mean(part)) for name, part in shares.items()}


def engine_versions(names: Sequence[str]) -> dict[str, str]:
    return installed_versions(sorted({package for name in names for package in ENGINES[name].packages}))
