"""Early exit in C: the decisions of the oracle in float32, and in fixed point none that is too early."""

import ctypes
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c_networks import fresh
from cases import every, naming
from deployed_graphs import random_input, residual_network
from hdlif.deploy.c import fixed_point, kernels, translate
from hdlif.deploy.c.building import FLAGS, Library, compiler
from hdlif.deploy.c.early_exit import DECAY, ONE, _mean_in_1024ths
from hdlif.errors import InputError
from hdlif.graph.artefact import TaskRecord
from hdlif.graph.graph import Graph
from hdlif.runtime import Session, reference
from series_networks import series_network

STEPS = 9
QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def run_until_sure(library: Library, frames: np.ndarray, outputs: int, total: type) -> tuple[int, np.ndarray]:
    """The steps that ran, and the sums."""
    state, work = library.new_state(), library._work
    sums = np.full(outputs, 99, total)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (frames, sums)]
    run = library._library[f"{library._source.name}_run_until_sure"]
    return run(state, work, pointers[0], ctypes.c_uint32(STEPS), pointers[1]), sums


def network(combine: str, *, static: bool) -> Graph:
    task = TaskRecord("classify", combine)
    return replace(residual_network() if static else series_network(task=task), task=task)


@every(combine=["mean", "last"], static=[True, False])
def test_float32_stops_where_the_oracle_is_sure(combine: str, static: bool, tmp_path: Path) -> None:
    confidence = 0.97 if static else 0.6
    graph = replace(network(combine, static=static), confidence=confidence)
    x = random_input(graph, 1 if static else STEPS, 16)
    logits, outputs = reference.run(graph, x, STEPS), len(graph.labels)
    library = Library(translate(graph), fresh(tmp_path), flags=QUICK)
    found = [run_until_sure(library, np.ascontiguousarray(x[:, k]), outputs, np.float32) for k in range(16)]
    expected = logits if combine == "last" else np.cumsum(logits, axis=0, dtype=np.float32)
    for k, (steps, sums) in enumerate(found):
        np.testing.assert_array_equal(sums, expected[steps - 1, k])
    # What a session decides: tests/runtime/test_early.py.
    assert [steps for steps, _ in found] == Session(graph).run(x, STEPS, confidence="auto").steps.tolist()
    assert len({steps for steps, _ in found}) > 2


@every(combine=["mean", "last"], static=[True, False])
def test_fixed_point_is_never_sure_too_early(combine: str, static: bool, tmp_path: Path) -> None:
    confidence = 0.97 if static else 0.6
    graph = replace(network(combine, static=static), confidence=confidence)
    x, outputs = random_input(graph, 1 if static else STEPS, 16), len(graph.labels)
    fixed = fixed_point(graph, x, STEPS)
    frames = fixed.frame(x)
    integers = fixed.run(frames, STEPS)
    library = Library(translate(graph, fixed=fixed), fresh(tmp_path), flags=QUICK)
    sums = integers if combine == "last" else integers.cumsum(0)
    counts = 1 if combine == "last" else np.arange(1, STEPS + 1)[:, None, None]
    most = probability(sums / counts / 2.0 ** fixed.fractions[graph.output])
    found = []
    for k in range(16):
        steps, given = run_until_sure(library, np.ascontiguousarray(frames[:, k], np.int16), outputs, np.int32)
        np.testing.assert_array_equal(given, sums[steps - 1, k])
        assert steps == STEPS or most[steps - 1, k] >= confidence
        # Before, it was at most a little above.
        assert (most[: steps - 1, k] < confidence + 0.01 * (1 - confidence)).all()
        found.append(steps)
    assert len(set(found)) > 2


def test_a_confidence_that_fixed_point_never_reaches_is_refused() -> None:
    graph = replace(network("mean", static=True), confidence=1.0)
    fixed = fixed_point(graph, random_input(graph, 1, 4), STEPS)
    translate(graph)
    with pytest.raises(InputError, match="confidence = 1 is never reached"):
        translate(graph, fixed=fixed)
    translate(replace(graph, confidence=0.9999), fixed=fixed)


def probability(logits: np.ndarray) -> np.ndarray:
    """Of the most probable class, in float64."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    found: np.ndarray = powers.max(-1) / powers.sum(-1)
    return found


FRACTIONS = (-3, 0, 3, 9, 10, 14, 30)


def test_the_test_in_fixed_point_is_near_and_never_above_the_softmax_in_any_format(tmp_path: Path) -> None:
    confidences, outputs = (0.4, 0.9, 0.999), 5
    text = "#include <stdint.h>\n" + kernels.text_of("decay", {"table": ", ".join(map(str, DECAY))})
    names = {}
    for fraction in FRACTIONS:
        for confidence in confidences:
            name = f"n{len(names)}"
            names[fraction, confidence] = name
            text += f"typedef int32_t {name}_total;\n" + kernels.text_of(
                "sure_fixed",
                {
                    "name": name,
                    "outputs": str(outputs),
                    "mean": _mean_in_1024ths(fraction),
                    "limit": str(math.floor(ONE / np.float32(confidence))),
                },
            )
    (tmp_path / "sure.c").write_text(text)
    built = tmp_path / "sure.so"
    command = [compiler(), *FLAGS, "-Wno-missing-prototypes", "-shared", "-fPIC", "-o", built, tmp_path / "sure.c"]
    subprocess.run(command, check=True)
    library, rng = ctypes.CDLL(str(built)), np.random.default_rng(0)
    for (fraction, confidence), name in names.items():
        decided = {True: 0, False: 0}
        for steps in (1, 3, 100, 2**15):
            for spread in (1, 4, 30):
                size = min(max(spread * 2.0**fraction, 1), 2**15 - 1)
                means = rng.uniform(-size, size, (200, outputs))
                sums = np.clip(np.rint(means * steps), -(2**15) * steps, (2**15 - 1) * steps).astype(np.int32)
                most = probability(sums / steps / 2.0**fraction)
                for row, true in zip(sums, most, strict=True):
                    sure = bool(library[f"{name}_is_sure"](ctypes.c_void_p(row.ctypes.data), ctypes.c_uint32(steps)))
                    decided[sure] += 1
                    with naming(fraction, confidence, steps, row.tolist(), true):
                        assert not sure or true >= confidence
                        # Below 10 bits after the point of a mean over many steps, none is lost: it is divided last.
                        near = 1 / (1 + 1.01 * (1 / true - 1) + 2e-5)
                        assert sure or near <= confidence or fraction < 0
        assert min(decided.values()) > 20 or not 0 <= fraction <= 10
