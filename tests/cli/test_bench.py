"""The benchmark itself: who is asked, who is timed, in which order, and what is counted."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from deployed_graphs import Builder, random_input, residual_network
from hdlif.cli.bench import bench, engines_table
from hdlif.errors import ArtefactError, DataError, InputError, MissingExtraError, TrainingError
from hdlif.graph.artefact import INPUT, InputRecord, TaskRecord, save
from hdlif.report import engine_times as module
from hdlif.report import engines
from hdlif.report.accounting import activity, priced
from hdlif.report.engine_times import (
    TWIN,
    BenchImages,
    Candidate,
    accuracy,
    energy_uj,
    engine_macs,
    engines_of,
    images_of,
    in_turns,
    layers_of,
)
from hdlif.report.engines import ENGINES, OURS, Engine
from hdlif.report.engines import main as engine_process
from hdlif.runtime import Session
from report.test_process import signal_stack

TIMED = {"latency_ms", "throughput_per_s", "ratio", "throughput_ratio", "start_seconds", "resident_bytes"}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "STARTS", 1)
    save(residual_network(), tmp_path / "net.hdlif.safetensors")
    return tmp_path / "net.hdlif.safetensors"


def test_unknown_and_absent_engines_are_refused_and_installed_ones_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='did you mean "openvino"'):
        engines_of(["openvin"])
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(MissingExtraError, match="nncf is not installed"):
        engines_of(["torch", "openvino"])
    assert engines_of(["torch", "onnxruntime", "torch"]) == ["torch", "onnxruntime_int8", "onnxruntime"]
    assert engines_of(None) == ["openvino", "openvino_f32", "onnxruntime_int8", "onnxruntime", "torch"]
    assert engines_of([]) == []


def test_engines_take_turns_on_the_same_inputs_after_a_while_that_is_not_timed() -> None:
    calls: list[tuple[str, float]] = []
    runs = {name: (lambda x, name=name: (calls.append((name, float(x[0]))), x)[1]) for name in "abc"}
    rounds = in_turns(runs, [np.array([float(i)], np.float32) for i in range(4)], 3, 2, warm_seconds=0)
    assert [[len(seconds) for seconds in taken.values()] for taken in rounds] == [[2, 2, 2]] * 3
    # one call that is not timed, then two
    assert calls[:6] == [("a", 0), ("a", 0), ("a", 1), ("b", 0), ("b", 0), ("b", 1)]
    assert [name for name, _ in calls[::3]] == [*"abc", *"bca", *"cab"]
    assert all([x for n, x in calls if n == name] == [0, 0, 1, 1, 2, 3, 2, 0, 1] for name in "abc")
    calls.clear()
    (taken,) = in_turns({"a": runs["a"]}, [np.zeros(1, np.float32)], 1, 2, warm_seconds=0.05)
    assert (len(taken["a"]), len(calls) > 3) == (2, True)


def test_macs_of_a_dense_engine_that_computes_constants_once() -> None:
    b = Builder((3, 8, 6), 4, 0)
    stem = b.conv(INPUT, 5, encoding="float32")
    spikes = b.quantise(b.hd_lif(stem))
    body = b.conv(spikes, 7, kernel=(3, 3), stride=(2, 2))
    graph = b.graph(body)
    macs = engine_macs(graph)
    assert (macs[stem], macs[body]) == (5 * 8 * 6 * 3 * 9, 4 * 7 * 4 * 3 * 5 * 9)
    assert macs[graph.output] == 4 * 3 * (7 * 4 * 3)
    assert spikes not in macs


def test_each_stage_has_its_time_and_the_density_of_its_input() -> None:
    graph = residual_network()
    session, images = Session(graph), random_input(graph, 1, 3)[0]
    rows = {row["name"]: row for row in layers_of(session, graph, images, repeats=3)}
    convolutions = [node for node in graph.nodes if node.op == "conv2d"]
    for node in convolutions:
        row = rows[node.name]
        read = np.concatenate([session.values(images[None, i : i + 1])[node.inputs[0]] for i in range(3)])
        assert row["density"] == pytest.approx(np.count_nonzero(read) / read.size)
        assert row["dense_gmacs_per_s"] == pytest.approx(engine_macs(graph)[node.name] / row["ms"] / 1e6)


def test_images_are_noise_or_those_of_a_set_fitted_to_the_network() -> None:
    noise = images_of(InputRecord((1, 16, 16), (0.4,), (0.1,)), None, None, compared=8)
    assert noise.compared.shape == (8, 1, 16, 16)
    assert noise.calibration.shape == (engines.CALIBRATION_IMAGES, 1, 16, 16)
    assert abs(noise.calibration.mean()) < 0.05
    assert 0.9 < noise.calibration.std() < 1.1
    digits = images_of(InputRecord((3, 12, 12), (0.5,) * 3, (0.25,) * 3), "digits", None, compared=400)
    assert digits.compared.shape == (400, 3, 12, 12)
    # there are 360 test images
    np.testing.assert_array_equal(digits.compared[360:], digits.compared[:40])
    assert not np.array_equal(digits.compared[:40], digits.calibration[:40])
    for data in ("delayed_xor", "mackey_glass", "sines", "digits_events"):
        with pytest.raises(DataError, match=f"--data {data} has input of kind"):
            images_of(InputRecord((1, 8, 8), (0.3,), (0.2,)), data, None, compared=8)


def test_an_engine_that_disagrees_is_reported_and_not_timed(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_liar(path: Path, threads: int) -> engines.Run:
        session = Session(path, threads)
        return lambda x: -session.run(x[None])

    liar = Engine((), ENGINES[OURS].write, load_liar, 0.5)
    monkeypatch.setattr(module, "ENGINES", MappingProxyType({**ENGINES, "liar": liar}))
    monkeypatch.setattr(module, "PEERS", {"liar": ("liar",)})
    result = bench(network, against="liar", batch=4, threads=1, repeats=2)
    ours, theirs = result["engines"][OURS], result["engines"]["liar"]
    assert ours["agreement"] == ours["ratio"] == ours["throughput_ratio"] == 1
    assert ours.keys() >= TIMED
    assert theirs["agreement"] == 0
    assert not theirs.keys() & TIMED
    assert "disagrees" in engines_table(result)
    assert ours["file_bytes"] == network.stat().st_size
    json.dumps(result)


def test_the_ordinary_twin_is_timed_in_the_same_run(network: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.hdlif.safetensors"
    save(residual_network(seed=1), twin)
    result = bench(network, twin=twin, against="", batch=4, threads=1, repeats=2)
    assert list(result["engines"]) == [OURS, TWIN + OURS]
    assert result["engines"][TWIN + OURS].keys() >= TIMED
    # It is compared with itself, not with another network.
    assert result["engines"][TWIN + OURS]["agreement"] == 1
    assert re.search(r"^verdict: hdlif takes \S+ ms .* \S+ times as long as twin: hdlif$", engines_table(result), re.M)
    save(replace(residual_network(), labels=("a", "b", "c")), twin)
    with pytest.raises(ArtefactError, match="the networks have different labels"):
        bench(network, twin=twin, against="", batch=4, threads=1, repeats=2)


def test_early_exit_is_timed_beside_the_whole_run(network: Path) -> None:
    """With the confidence that the file has, unless it is told another."""
    save(replace(residual_network(), confidence=0.9), network)
    result = bench(network, against="", batch=4, threads=2, repeats=2)
    assert all(engine["one_thread_ms"]["median"] > 0 for engine in result["engines"].values())
    early = result["engines"]["hdlif, early"]
    assert early.keys() >= TIMED - {"start_seconds", "resident_bytes"}
    assert early["agreement"] > 0.5
    assert 1 < result["early"]["steps"] < residual_network().time_steps
    assert "probability 0.9" in engines_table(result)


def test_accuracy_is_of_the_test_images_whatever_fills_the_last_batch() -> None:
    labels = np.array([1, 0, 2, 1, 1])
    one_hot = np.eye(3, dtype=np.float32)
    # An engine that reads the class off the image, and is wrong about 2.
    images = BenchImages(one_hot, one_hot, "", tested=one_hot[labels], labels=labels)
    engine = Candidate(OURS, OURS, residual_network(), Path(), *[lambda x: (x * [1, 1, 0])[None]] * 2)
    assert accuracy(engine, images, 4, TaskRecord()) == 0.8
    assert accuracy(engine, BenchImages(one_hot, one_hot, ""), 4, TaskRecord()) is None


def test_a_dense_engine_pays_for_every_multiply_accumulate_and_ours_for_what_is_counted() -> None:
    graph = residual_network()
    images = random_input(graph, 1, 2)[0]
    macs = sum(engine_macs(graph).values())

    def energy(engine: str) -> dict[str, float | None]:
        return energy_uj(Candidate(engine, OURS, graph, Path(), *[lambda x: x] * 2), images)

    assert energy("openvino_int8") == {"published": None, "honest": pytest.approx(0.3e-6 * macs)}
    assert energy("openvino")["honest"] == pytest.approx(4.6e-6 * macs)
    counted = priced(activity(graph, torch.from_numpy(images[None])), "honest").energy_mj
    assert energy(OURS)["honest"] == pytest.approx(1e3 * counted)


def test_a_process_reports_its_first_answer_and_its_memory_or_its_error(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", random_input(residual_network(), 1, 2)[0])
    engine_process(OURS, str(network), str(tmp_path / "x.npy"), "1")
    ready, memory = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert 10**7 < json.loads(memory)["resident_bytes"] <= json.loads(memory)["peak_resident_bytes"]
    with pytest.raises(TrainingError, match=r"hdlif run failed: .*absent"):
        list(module._timed_lines("hdlif", "run", tmp_path / "absent", "x.npy"))
    # Ours loads no other engine.
    code = "import sys, hdlif.report.engines; print({'torch', 'onnx', 'onnxruntime', 'openvino'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.peers
def test_all_engines_agree_and_are_timed(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nncf", "onnx", "onnxruntime", "openvino"):
        pytest.importorskip(name, reason="pip install 'hdlif[engines]'")
    monkeypatch.setattr(engines, "CALIBRATION_IMAGES", 20)
    before = signal_stack()
    result = bench(network, batch=4, threads=1, repeats=2)
    # OpenVINO would leave one that is mapped no more.
    assert signal_stack() == before
    assert list(result["engines"]) == [*ENGINES]
    for name in ("openvino_f32", "onnxruntime", "torch"):
        assert result["engines"][name]["agreement"] == 1, name
        assert result["engines"][name]["max_logit_difference"] < 1e-4, name
    # a random network on noise decides nothing clearly, so that INT8 may choose another class
    for name in ("openvino", "openvino_int8", "onnxruntime_int8"):
        assert result["engines"][name]["agreement"] > 0.5, name
    for name, engine in result["engines"].items():
        assert engine["agrees"] == (engine.keys() >= TIMED), name
    assert {"onnx", "openvino", "nncf", "onnxruntime"} <= set(result["versions"])
