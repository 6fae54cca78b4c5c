"""The deployed form classifies a set where it is faster and gives the same classes; elsewhere PyTorch does."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import Tensor, nn

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

TERNARY = (
    "data.kind=synthetic",
    "weights={kind: ternary}",
    "spikes={kind: quantised, bits: 4, step: 0.25, offset: 0.5}",
)


@pytest.fixture
def network() -> nn.Module:
    return built(*TERNARY).eval()


@pytest.fixture
def graph(network: nn.Module) -> Graph:
    chosen = recipe(*TERNARY)
    labels = builders.DATA["synthetic"].labels
    return lower(network, input=builders.input_record(chosen), labels=labels, time_steps=chosen.time_steps)


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setattr(evaluation, "SAMPLED", 20)
    return synthetic(validation=40, augment=[], seed=0).test


def timed(monkeypatch: pytest.MonkeyPatch, **ms: float) -> None:
    monkeypatch.setattr(evaluation, "_ms_per_image", lambda runs, images: {name: ms[name] for name in runs})


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


def test_the_deployed_form_takes_over_where_it_is_faster_and_agrees(
    network: nn.Module, graph: Graph, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, pytorch=1.0, deployed=0.5)
    expected, _, _ = run(network, samples, None)
    found, labels, seen = run(network, samples, graph)
    assert (found.by, found.agreement) == ("deployed", 1.0)
    assert seen == 20
    # Every image once, and the same answers.
    assert sorted(labels) == sorted(samples.labels.tolist())
    assert found.result.accuracy_per_step == expected.result.accuracy_per_step
    assert found.result.loss == pytest.approx(expected.result.loss, abs=1e-5)
    assert expected.by == "pytorch"


def test_pytorch_stays_where_the_deployed_form_is_no_faster(
    network: nn.Module, graph: Graph, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    for deployed in (0.95, 2.0):
        timed(monkeypatch, pytorch=1.0, deployed=deployed)
        found, _, seen = run(network, samples, graph)
        assert (found.by, found.agreement, seen) == ("pytorch", None, len(samples))
        assert found.ms_per_image == {"pytorch": 1.0, "deployed": deployed}


def test_pytorch_goes_on_where_the_deployed_form_disagrees(
    network: nn.Module, graph: Graph, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first image of the sample gets another class: 19 of 20 are too few."""
    timed(monkeypatch, pytorch=1.0, deployed=0.5)
    answer: Callable[..., Any] = Session.run
    calls = 0

    def wrong_once(session: Session, x: Any, steps: int | None = None) -> Any:
        nonlocal calls
        logits = answer(session, x, steps)
        if calls == 0:
            logits[:, 0] = -logits[:, 0]
        calls += 1
        return logits

    monkeypatch.setattr(Session, "run", wrong_once)
    expected, _, _ = run(network, samples, None)
    found, labels, seen = run(network, samples, graph)
    assert (found.by, found.agreement, seen) == ("pytorch", 0.95, len(samples))
    assert found.result.accuracy_per_step == expected.result.accuracy_per_step
    assert len(labels) == len(samples)


def test_a_network_without_low_bits_and_a_small_set_are_pytorchs(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no session is asked for")

    monkeypatch.setattr(evaluation, "Session", refuse)
    network = built("data.kind=synthetic").eval()
    chosen = recipe("data.kind=synthetic")
    labels = builders.DATA["synthetic"].labels
    graph = lower(network, input=builders.input_record(chosen), labels=labels, time_steps=chosen.time_steps)
    assert run(network, samples, graph)[0].by == "pytorch"
    low = built(*TERNARY).eval()
    graph = lower(low, input=builders.input_record(recipe(*TERNARY)), labels=labels, time_steps=4)
    assert run(low, samples.first(39), graph)[0].by == "pytorch"


def test_timing_takes_both_in_turns_and_leaves_the_first_out(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    # Warming up reads the start alone.
    now = iter([0.0, 0.0, 0.0, 3.2, 0.0, 1.6, 0.0, 6.4, 0.0, 0.8])
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(now))
    found = evaluation._ms_per_image({name: lambda name=name: order.append(name) for name in "ab"}, 32)
    assert order == ["a", "b"] * 3
    assert found == pytest.approx({"a": 100.0, "b": 25.0})


def test_a_session_that_grants_too_little_leaves_all_to_pytorch(
    network: nn.Module, graph: Graph, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished training must not end with a limit of the runtime."""
    monkeypatch.setattr(evaluation, "Session", partial(Session, max_operations=10))
    assert run(network, samples, graph)[0].by == "pytorch"
    of_one = Session(graph)
    monkeypatch.setattr(evaluation, "Session", lambda *_, **__: of_one)
    monkeypatch.setattr(of_one, "run", raising(AllocationError("none left")), raising=False)
    found, labels, _ = run(network, samples, graph)
    assert (found.by, found.ms_per_image, len(labels)) == ("pytorch", {}, len(samples))


def raising(error: Exception) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise error

    return call
