"""Membranes and spikes out of the values of a run, beside those of the folded network in PyTorch."""

import numpy as np
import pytest
import torch

from cases import every
from deployed_graphs import random_input, residual_network
from hdlif.graph.artefact import Graph
from hdlif.graph.graph import TaskRecord
from hdlif.inputs.series import shown
from hdlif.report.single_neurons import neuron_traces
from hdlif.runtime import Session
from hdlif.runtime.answers import answers, said_so_far
from hdlif.runtime.at_work import layers_at_work
from series_networks import KINDS, STEPS, series_network


def same(graph: Graph, x: np.ndarray) -> None:
    found = layers_at_work(graph, Session(graph).values(x))
    wanted = neuron_traces(graph, torch.from_numpy(x))
    assert list(found) == list(wanted)
    for name, layer in wanted.items():
        np.testing.assert_allclose(found[name].membrane, layer.membrane, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[name].threshold, layer.threshold, rtol=1e-6)
        np.testing.assert_allclose(found[name].spike, layer.spike, rtol=1e-4, atol=1e-4)
        assert found[name].shape == layer.shape
        assert layer.spike.any()


def test_neurons_are_those_of_pytorch() -> None:
    for kind in KINDS:
        graph = series_network(kind)
        readings = np.random.default_rng(0).normal(0.5, 4, (STEPS, 2)).astype(np.float32)
        same(graph, shown(readings, graph.input.mean, graph.input.std)[:, None])
    graph = residual_network()
    same(graph, random_input(graph, graph.time_steps, 1))


@every(
    record=[
        TaskRecord("classify", "mean"),
        TaskRecord("classify", "last"),
        TaskRecord("regress", "mean", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0)),
        TaskRecord("multilabel", "mean"),
    ]
)
def test_what_is_said_after_the_last_step_is_the_answer(record: TaskRecord) -> None:
    outputs = np.random.default_rng(0).normal(0, 3, (STEPS, 1, 3)).astype(np.float32)
    said, (answer,) = said_so_far(outputs[:, 0], record), answers(outputs, record, "abc")
    assert said.shape == (STEPS, 3)
    assert answer
    if record.kind == "classify":
        assert said[-1, answer["class"]] == pytest.approx(answer["probability"], rel=1e-6)
        np.testing.assert_allclose(said.sum(-1), 1, rtol=1e-6)
    else:
        values = answer["prediction"] if record.kind == "regress" else answer["probabilities"]
        np.testing.assert_allclose(said[-1], [values[name] for name in "abc"], rtol=1e-5)
    # and after any other, that of the steps so far
    for steps in (1, 5):
        np.testing.assert_allclose(said[steps - 1], said_so_far(outputs[:steps, 0], record)[-1])


@every(kind=["sequence", "regress"])
def test_answers_at_each_step_are_each_for_itself(kind: str) -> None:
    record = TaskRecord(kind, "each", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0))
    outputs = np.random.default_rng(0).normal(0, 3, (STEPS, 3)).astype(np.float32)
    np.testing.assert_array_equal(said_so_far(outputs, record)[3:], said_so_far(outputs[3:], record))
