"""Traces of single neurons: by hand, and that what is drawn is what fired."""

from typing import Any

import numpy as np
import torch

from cases import every
from hdlif.deploy import lower
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.graph.equations import Instruction, Program, to_attributes
from hdlif.recipe.builders import DATA, input_record
from hdlif.report.single_neurons import neuron_traces
from hdlif.runtime.at_work import LayerAtWork
from neuron_programs import as_program
from small_recipes import built, recipe

T = 3


def traced(op: str, tensors: dict[str, Any], x: torch.Tensor, **attributes: Any) -> LayerAtWork:
    """Two channels of one pixel each, into the neurons, into two classes."""
    rows = {role: np.array(values, np.float32) for role, values in tensors.items()}
    nodes = (
        as_program(Node(op, "neurons", (INPUT,), attributes, rows)),
        Node("global_sum_pool", "pooled", ("neurons",)),
    )
    graph = Graph(nodes, "pooled", T, InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0)), ("a", "b"))
    (trace,) = neuron_traces(graph, x).values()
    return trace


X = torch.tensor([0.75, 0.25]).view(1, 1, 2, 1, 1)
LEAKED = [[0.75, 0.25], [0.875, 0.375], [0.9375, 0.4375]]


@every(
    "op",
    "attributes",
    "leak",
    "membrane",
    "spike",
    of=[
        # v = 0.5 after each step; the second neuron stays below.
        ("hd_lif", {}, 0.5, [[0.75, 0.25], [1.0, 0.375], [1.0, 0.4375]], [[0.25, 0], [0.5, 0], [0.5, 0]]),
        # v = 0.25, 0.375 and 0.4375: the threshold is taken off.
        ("lif", {"reset": "soft", "reset_potential": 0.0}, 0.5, LEAKED, [[1, 0], [1, 0], [1, 0]]),
        ("graded_lif", {}, 0.5, LEAKED, [[0.25, 0], [0.375, 0], [0.4375, 0]]),
        ("parallel", {}, None, [[0.75, 0.25]] * 3, [[0.25, 0]] * 3),
    ],
)
def test_membrane_is_leaked_potential_and_current(
    op: str, attributes: dict[str, Any], leak: float | None, membrane: list[list[float]], spike: list[list[float]]
) -> None:
    tensors = {"threshold": [[0.5]]} | ({} if leak is None else {"leak": [[leak]]})
    trace = traced(op, tensors, X, **attributes)
    assert trace.membrane.tolist() == membrane
    assert trace.threshold.tolist() == [[0.5, 0.5]] * T
    assert trace.spike.tolist() == spike
    assert trace.shape == (2, 1, 1)


def test_every_step_has_its_input_and_every_channel_its_threshold() -> None:
    thresholds = [[0.5, 1.0], [0.25, 2.0], [4.0, 8.0]]
    x = torch.tensor([[0.75, 0.25], [0.0, 0.0], [2.0, 1.0]]).view(T, 1, 2, 1, 1)
    trace = traced("parallel", {"threshold": thresholds}, x)
    assert trace.threshold.tolist() == thresholds
    assert trace.membrane.tolist() == x.flatten(1).tolist()
    program = Program((), (), (Instruction("absolute", (0,)),), 1, ())
    bare = traced("program", {}, -X, kind="Absolute", **to_attributes(program))
    assert bare.membrane.tolist() == [[-0.75, -0.25]] * T
    assert bool(np.isnan(bare.threshold).all())
    assert bare.states == {}


@every(kind=["lif", "glif", "graded_lif", "hdlif", "parallel_hdlif", "own_neurons:AdaptiveHDLIF"])
def test_what_is_emitted_follows_from_membrane_and_threshold(kind: str) -> None:
    overrides = [f"neuron={{kind: {kind}}}", "model.blocks=[1]"]
    graph = lower(built(*overrides), input=input_record(recipe()), labels=DATA["digits"].labels, time_steps=4)
    traces = neuron_traces(graph, torch.randn(1, 1, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert len(traces) > 1
    for trace in traces.values():
        assert trace.membrane.shape == trace.threshold.shape == trace.spike.shape
        if kind in ("lif", "glif"):
            expected = (trace.membrane >= trace.threshold).astype(np.float32)
        else:
            expected = (trace.membrane - trace.threshold).clip(0)
        np.testing.assert_allclose(trace.spike, expected, rtol=1.3e-6, atol=1e-5)
        if "Adaptive" in kind:
            # The threshold is θ + a of the step before.
            (adaptation,) = trace.states.values()
            assert bool(adaptation.any())
            np.testing.assert_allclose(trace.threshold[1:], trace.threshold[:1] + adaptation[:-1], 1.3e-6, 1e-5)
    assert any(trace.spike.any() for trace in traces.values())
