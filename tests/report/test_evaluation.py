"""The deployed form classifies a set where it is faster and gives the same classes; elsewhere PyTorch does."""

from functools import cache, partial
from typing import Any

import pytest
from torch import Tensor, nn

from cases import naming
from hdlif.data import Samples, synthetic
from hdlif.deploy import lower
from hdlif.errors import AllocationError
from hdlif.graph.artefact import Graph
from hdlif.recipe import builders
from hdlif.report import evaluation
from hdlif.report.evaluation import Evaluated, evaluate_network
from hdlif.runtime import Session
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
