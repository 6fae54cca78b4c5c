"""What `hdlif export --check` compares: the artefact, ONNX models in engines, NIR read back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployed_graphs import residual_network
from hdlif.artefact import Graph, loads
from hdlif.deploy import nir, onnx
from hdlif.errors import MachineError, MissingExtraError
from hdlif.report import exported
from hdlif.report.exported import SAMPLES, check_artefact, check_onnx, check_read_back, random_frames

WRONG = "another answer than the reference to"


class Reference:
    """An engine of the reference itself, off by `error`."""

    def __init__(self, graph: Graph, error: Callable[[Any], Any]) -> None:
        self.graph, self.error, self.batches = graph, error, list[int]()

    def __call__(self, feeds: Any) -> dict[str, Any]:
        x = feeds["input"]
        self.batches.append(len(x))
        return {"logits": self.error(exported.reference.run(self.graph, x[None], self.graph.time_steps))}


def in_one_engine(monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    # a package that is installed stands for the engine's own
    monkeypatch.setattr(exported, "_ENGINES", {"numpy": lambda _: engine})


def test_an_artefact_has_the_bits_of_the_reference() -> None:
    (found,) = check_artefact(residual_network())
    assert (found.by, found.largest_difference, found.agreement) == ("hdlif.Session", 0, 1)
    assert str(found) == f"checked: hdlif.Session: {found.outputs} outputs equal the reference's bit for bit"


def test_an_artefact_that_reads_back_as_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "loads", lambda content, name: residual_network(seed=1))
    with pytest.raises(MachineError, match=r"hdlif\.Session gives outputs .* nothing was written"):
        check_artefact(residual_network())


def test_whole_batches_are_shown_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network()
    for batch in (1, 3, 40):
        engine = Reference(graph, lambda logits: logits)
        in_one_engine(monkeypatch, engine)
        (found,) = check_onnx(graph, onnx.unrolled(graph, batch=batch), unrolled=True, batch=batch)
        assert set(engine.batches) == {batch}
        assert SAMPLES <= found.inputs == sum(engine.batches) < SAMPLES + batch
        assert not found.largest_difference


def test_an_engine_may_round_otherwise_and_not_answer_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network()
    model = onnx.unrolled(graph)
    in_one_engine(monkeypatch, Reference(graph, lambda logits: logits + np.float32(2**-20)))
    (found,) = check_onnx(graph, model, unrolled=True, batch=1)
    assert 0 < found.largest_difference < 2**-18
    assert "off by" in str(found)
    for factor in (np.float32(-1), np.float32(np.nan)):
        in_one_engine(monkeypatch, Reference(graph, lambda logits, by=factor: by * logits))
        with pytest.raises(MachineError, match=WRONG):
            check_onnx(graph, model, unrolled=True, batch=1)


def test_without_an_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network()
    monkeypatch.setattr(exported, "_ENGINES", {"no_such_engine": None})
    with pytest.raises(MissingExtraError, match=r"hdlif\[engines\]"):
        check_onnx(graph, onnx.unrolled(graph), unrolled=True, batch=1)


@pytest.mark.peers
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", ["unrolled", "step"])
def test_both_forms_run_in_the_engines(engine: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(engine, reason="pip install 'hdlif[engines]'")
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network()
    monkeypatch.setattr(exported, "_ENGINES", {engine: exported._ENGINES[engine]})
    model = onnx.unrolled(graph) if form == "unrolled" else onnx.streamed(graph)
    (found,) = check_onnx(graph, model, unrolled=form == "unrolled", batch=1)
    assert found.by == engine
    assert found.largest_difference < 1e-4
    model = onnx.unrolled(residual_network(seed=1)) if form == "unrolled" else onnx.streamed(residual_network(seed=1))
    with pytest.raises(MachineError, match=WRONG):
        check_onnx(graph, model, unrolled=form == "unrolled", batch=1)


def test_another_network_that_is_read_back_is_refused() -> None:
    graph = residual_network()
    (found,) = check_read_back(graph, graph, "read back")
    assert not found.largest_difference
    with pytest.raises(MachineError, match=WRONG):
        check_read_back(graph, residual_network(seed=1), "read back")


def test_the_extension_of_nir_comes_back_in_its_bytes(tmp_path: Path) -> None:
    pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
    from hdlif.interop import nir as interop

    graph = residual_network()
    nir.write(nir.extended(graph), tmp_path / "net.nir")
    content = interop.read_artefact(tmp_path / "net.nir")
    assert content is not None
    (found,) = check_read_back(graph, loads(content, "net.nir"), "read back")
    assert not found.largest_difference


def test_a_network_of_events_is_shown_counts() -> None:
    graph = residual_network()
    assert (random_frames(graph) % 1).any()
    events = replace(graph, input=replace(graph.input, kind="events"))
    counts = random_frames(events, 4, steps=2)
    assert counts.shape == (2, 4, *graph.input.shape)
    assert counts.max() > 0
    assert not (counts % 1).any()
