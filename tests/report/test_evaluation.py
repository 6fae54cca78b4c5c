"""The deployed form is used for a test set if it is faster and agrees; the checks of `hdlif export --check`."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from cases import naming
from deployed_graphs import residual_network
from hdlif.data import Samples, synthetic
from hdlif.deploy import lower, onnx
from hdlif.errors import AllocationError, MachineError, MissingExtraError
from hdlif.graph.artefact import Graph
from hdlif.recipe import builders
from hdlif.report import evaluation, export_check
from hdlif.report.evaluation import Evaluated, evaluate_network
from hdlif.report.export_check import SAMPLES, check_artefact, check_onnx, check_read_back
from hdlif.runtime import Session
from hdlif.runtime.reference import random_frames
from hdlif.training.tasks import Classify
from single_thread import one_thread  # noqa: F401 - an autouse fixture
from small_recipes import built, recipe

QUANTISED = ("weights={kind: ternary}", "spikes={kind: quantised, bits: 4, step: 0.25, offset: 0.5}")


@cache
def network_and_graph(*overrides: str) -> tuple[nn.Module, Graph]:
    chosen = recipe("data.kind=synthetic", *overrides)
    network = built("data.kind=synthetic", *overrides).eval()
    labels = builders.DATA["synthetic"].labels
    graph = lower(network, input=builders.input_record(chosen), labels=labels, time_steps=chosen.time_steps)
    return network, graph


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setattr(evaluation, "SAMPLED", 20)
    return synthetic(validation=40, augment=[], seed=0).test


def run(network: nn.Module, samples: Samples, graph: Graph | None) -> tuple[Evaluated, list[int], int]:
    """The outcome, the images in the order in which they were counted, and how many of them PyTorch saw."""
    labels, seen = [], 0

    def count(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += arguments[0].shape[1]

    with network.register_forward_pre_hook(count):
        found = evaluate_network(
            network,
            samples,
            task=Classify(tuple(map(str, range(10))), 4),
            batch_size=16,
            graph=graph,
            observe=lambda logits, target: labels.extend(target.tolist()),
        )
    return found, labels, seen


class WrongOnce(Session):
    """Gives the first image that it is given another class."""

    right = False

    def run(self, x: Any, steps: int | None = None) -> Any:
        logits = super().run(x, steps)
        if not self.right:
            logits[:, 0] = -logits[:, 0]
        self.right = True
        return logits


class OutOfMemory(Session):
    """Is refused its memory."""

    def run(self, x: Any, steps: int | None = None) -> Any:
        raise AllocationError("none left")


def test_the_deployed_form_takes_over_where_it_is_faster_and_agrees(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, graph = network_and_graph(*QUANTISED)
    monkeypatch.setattr(evaluation, "_ms_per_image", lambda runs, images: {"pytorch": 1.0, "deployed": 0.5})
    expected, _, _ = run(network, samples, None)
    found, labels, seen = run(network, samples, graph)
    assert (expected.by, found.by, found.agreement, seen) == ("pytorch", "deployed", 1.0, 20)
    # Every image once, and the same answers.
    assert sorted(labels) == sorted(samples.labels.tolist())
    assert found.result.accuracy_per_step == expected.result.accuracy_per_step
    assert found.result.loss == pytest.approx(expected.result.loss, abs=1e-5)


def test_pytorch_answers_all_where_the_deployed_form_is_no_faster_or_cannot(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    low_bits, few = network_and_graph(*QUANTISED), samples.first(39)
    measured = evaluation._ms_per_image
    for case, (network, graph), shown, session, deployed_ms, agreement in (
        ("hardly faster", low_bits, samples, Session, 0.95, None),
        ("slower", low_bits, samples, Session, 2.0, None),
        ("19 of 20 alike", low_bits, samples, WrongOnce, 0.5, 0.95),
        ("beyond the limits of a session", low_bits, samples, partial(Session, max_operations=10), None, None),
        ("out of memory", low_bits, samples, OutOfMemory, None, None),
        ("without low bits", network_and_graph(), samples, None, None, None),
        ("a small set", low_bits, few, None, None, None),
    ):
        times = {} if deployed_ms is None else {"pytorch": 1.0, "deployed": deployed_ms}
        expected, _, _ = run(network, shown, None)
        monkeypatch.setattr(evaluation, "Session", session)
        monkeypatch.setattr(evaluation, "_ms_per_image", (lambda *_, times=times: times) if times else measured)
        with naming(case):
            found, labels, seen = run(network, shown, graph)
            assert (found.by, found.agreement, found.ms_per_image) == ("pytorch", agreement, times)
            assert len(labels) == len(shown) <= seen
            assert found.result.accuracy_per_step == expected.result.accuracy_per_step


def test_timing_takes_both_in_turns_and_leaves_the_first_out(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    # Warming up reads the start alone.
    now = iter([0.0, 0.0, 0.0, 3.2, 0.0, 1.6, 0.0, 6.4, 0.0, 0.8])
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(now))
    found = evaluation._ms_per_image({name: lambda name=name: order.append(name) for name in "ab"}, 32)
    assert order == ["a", "b"] * 3
    assert found == pytest.approx({"a": 100.0, "b": 25.0})


GRAPH, OTHER = residual_network(), residual_network(seed=1)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[export_check.Compared, list[int]]]:
    """Check the network's ONNX model in an engine that runs the reference and changes its logits."""
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")

    def checked(change: Callable[[Any], Any], batch: int = 1) -> tuple[export_check.Compared, list[int]]:
        batches = list[int]()

        def engine(feeds: dict[str, Any]) -> dict[str, Any]:
            batches.append(len(feeds["input"]))
            return {"logits": change(export_check.reference.run(GRAPH, feeds["input"][None], GRAPH.time_steps))}

        # A package that is installed stands for the engine's own.
        monkeypatch.setattr(export_check, "_ENGINES", {"numpy": lambda _: engine})
        (found,) = check_onnx(GRAPH, onnx.unrolled(GRAPH, batch=batch), unrolled=True, batch=batch)
        return found, batches

    return checked


def test_an_artefact_has_the_bits_of_the_reference_and_what_is_read_back_its_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (found,) = check_artefact(GRAPH)
    assert (found.by, found.largest_difference, found.agreement) == ("hdlif.Session", 0, 1)
    assert "bit for bit" in str(found)
    (found,) = check_read_back(GRAPH, GRAPH, "read back")
    assert not found.largest_difference
    with pytest.raises(MachineError):
        check_read_back(GRAPH, OTHER, "read back")
    monkeypatch.setattr(export_check, "loads", lambda content, name: OTHER)
    with pytest.raises(MachineError):
        check_artefact(GRAPH)
    monkeypatch.setattr(export_check, "_ENGINES", {"no_such_engine": None})
    with pytest.raises(MissingExtraError, match=r"\[engines\]"):
        check_onnx(GRAPH, None, unrolled=True, batch=1)


def test_an_engine_may_round_otherwise_and_not_answer_otherwise(check: Callable[..., Any]) -> None:
    found, batches = check(lambda logits: logits + np.float32(2**-20), 3)
    assert 0 < found.largest_difference < 2**-18
    assert "off by" in str(found)
    # Batches are complete, and there are no more than it takes.
    assert set(batches) == {3}
    assert SAMPLES <= found.inputs == sum(batches) < SAMPLES + 3
    for factor in (np.float32(-1), np.float32(np.nan)):
        with pytest.raises(MachineError):
            check(lambda logits, factor=factor: factor * logits)


@pytest.mark.peers
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", ["unrolled", "step"])
def test_both_forms_run_in_the_engines(engine: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(engine, reason="pip install 'hdlif[engines]'")
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    monkeypatch.setattr(export_check, "_ENGINES", {engine: export_check._ENGINES[engine]})
    made: Callable[[Graph], Any] = onnx.unrolled if form == "unrolled" else onnx.streamed
    (found,) = check_onnx(GRAPH, made(GRAPH), unrolled=form == "unrolled", batch=1)
    assert found.by == engine
    assert found.largest_difference < 1e-4
    with pytest.raises(MachineError):
        check_onnx(GRAPH, made(OTHER), unrolled=form == "unrolled", batch=1)


def test_a_network_of_events_is_shown_counts() -> None:
    assert (random_frames(GRAPH, 4) % 1).any()
    counts = random_frames(replace(GRAPH, input=replace(GRAPH.input, kind="events")), 4, steps=2)
    assert counts.shape == (2, 4, *GRAPH.input.shape)
    assert counts.max() > 0
    assert not (counts % 1).any()
