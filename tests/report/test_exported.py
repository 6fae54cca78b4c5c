"""What `hdlif export --check` compares: the artefact, ONNX models in engines, NIR read back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployed_graphs import residual_network
from hdlif.deploy import onnx
from hdlif.errors import MachineError, MissingExtraError
from hdlif.graph.artefact import Graph
from hdlif.report import exported
from hdlif.report.exported import SAMPLES, check_artefact, check_onnx, check_read_back, random_frames

GRAPH, OTHER = residual_network(), residual_network(seed=1)


class Reference:
    """An engine that runs the reference and changes its logits."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self.change, self.batches = change, list[int]()

    def __call__(self, feeds: Any) -> dict[str, Any]:
        x = feeds["input"]
        self.batches.append(len(x))
        return {"logits": self.change(exported.reference.run(GRAPH, x[None], GRAPH.time_steps))}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., exported.Compared]:
    """Check the network's ONNX model in one engine."""
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")

    def checked(engine: Any, batch: int = 1) -> exported.Compared:
        # A package that is installed stands for the engine's own.
        monkeypatch.setattr(exported, "_ENGINES", {"numpy": lambda _: engine})
        (found,) = check_onnx(GRAPH, onnx.unrolled(GRAPH, batch=batch), unrolled=True, batch=batch)
        return found

    return checked


def test_an_artefact_has_the_bits_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check_artefact(GRAPH)
    assert (found.by, found.largest_difference, found.agreement) == ("hdlif.Session", 0, 1)
    assert "bit for bit" in str(found)
    monkeypatch.setattr(exported, "loads", lambda content, name: OTHER)
    with pytest.raises(MachineError):
        check_artefact(GRAPH)


def test_whole_batches_are_shown_until_there_are_enough(check: Callable[..., exported.Compared]) -> None:
    for batch in (1, 3, 40):
        engine = Reference(lambda logits: logits)
        found = check(engine, batch)
        assert set(engine.batches) == {batch}
        assert SAMPLES <= found.inputs == sum(engine.batches) < SAMPLES + batch
        assert not found.largest_difference


def test_an_engine_may_round_otherwise_and_not_answer_otherwise(check: Callable[..., exported.Compared]) -> None:
    found = check(Reference(lambda logits: logits + np.float32(2**-20)))
    assert 0 < found.largest_difference < 2**-18
    assert "off by" in str(found)
    for factor in (np.float32(-1), np.float32(np.nan)):
        with pytest.raises(MachineError):
            check(Reference(lambda logits, factor=factor: factor * logits))


def test_without_an_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "_ENGINES", {"no_such_engine": None})
    with pytest.raises(MissingExtraError, match=r"hdlif\[engines\]"):
        check_onnx(GRAPH, None, unrolled=True, batch=1)


@pytest.mark.peers
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", ["unrolled", "step"])
def test_both_forms_run_in_the_engines(engine: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(engine, reason="pip install 'hdlif[engines]'")
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    monkeypatch.setattr(exported, "_ENGINES", {engine: exported._ENGINES[engine]})
    made: Callable[[Graph], Any] = onnx.unrolled if form == "unrolled" else onnx.streamed
    (found,) = check_onnx(GRAPH, made(GRAPH), unrolled=form == "unrolled", batch=1)
    assert found.by == engine
    assert found.largest_difference < 1e-4
    with pytest.raises(MachineError):
        check_onnx(GRAPH, made(OTHER), unrolled=form == "unrolled", batch=1)


def test_another_network_that_is_read_back_is_refused() -> None:
    (found,) = check_read_back(GRAPH, GRAPH, "read back")
    assert not found.largest_difference
    with pytest.raises(MachineError):
        check_read_back(GRAPH, OTHER, "read back")


def test_a_network_of_events_is_shown_counts() -> None:
    assert (random_frames(GRAPH) % 1).any()
    counts = random_frames(replace(GRAPH, input=replace(GRAPH.input, kind="events")), 4, steps=2)
    assert counts.shape == (2, 4, *GRAPH.input.shape)
    assert counts.max() > 0
    assert not (counts % 1).any()
