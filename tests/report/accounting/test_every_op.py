"""The price of every op against an interpreter that does it number by number and counts."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from cases import every, sampled
from deployed_graphs import random_input, residual_network, two_streams
from hdlif.deploy import GraphModule
from hdlif.graph.artefact import INPUT, Graph, Node, infer_values
from hdlif.graph.dataflow import state_names
from hdlif.graph.ops import OPS
from hdlif.report.accounting import profile
from one_op import of_one_op
from report.accounting.one_by_one import SCALAR, Tally
from runtime.test_random_graphs import graphs


def counted(graph: Graph, frames: np.ndarray) -> dict[str, float]:
    """Picojoules of each node on one sample [T or 1, C, H, W], each value computed and checked one by one.

    What each node is given is what PyTorch gave it, whose values are counted: a float sum that cancels is 0 in one
    order of its terms, and not in another.
    """
    types, constant = infer_values(graph), len(frames) == 1
    seen: dict[str, tuple[list[torch.Tensor], torch.Tensor]] = {}

    def observe(node: Node, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[node.name] = list(inputs), output

    with torch.no_grad():
        GraphModule(graph, observer=observe)(torch.from_numpy(frames[:, None]), steps=range(graph.time_steps))
    tallies: dict[str, Tally] = defaultdict(Tally)
    state = {
        f"{node.name}.{name}": np.zeros(types[node.name].shape, np.float32)
        for node in graph.nodes
        for name in state_names(node)
    }
    for t in range(graph.time_steps):
        for node in graph.nodes:
            if t > 0 and constant and types[node.name].constant:
                continue
            inputs, output = seen[node.name]
            frame = [value[min(t, len(value) - 1), 0].numpy() for value in inputs]
            of_inputs = [types[name] for name in node.inputs]
            kept = {name: state[f"{node.name}.{name}"] for name in state_names(node)}
            result = SCALAR[node.op](tallies[node.name], node, t, frame, kept, of_inputs)
            expected = output[min(t, len(output) - 1), 0].numpy()
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4, err_msg=f"{node.op} at step {t}")
        for node in graph.nodes:
            if (keep := OPS[node.op].keep) is not None:
                step = {name: value[min(t, len(value) - 1), 0].numpy() for name, (_, value) in seen.items()}
                step[INPUT] = frames[min(t, len(frames) - 1)]
                keep(node, step, {name: state[f"{node.name}.{name}"] for name in state_names(node)})
    return {node.name: tallies[node.name].energy_pj for node in graph.nodes}


def assert_priced_as_counted(graph: Graph, frames: np.ndarray) -> None:
    expected = counted(graph, frames)
    # the quantiser of a neuron's spikes stands in the neuron's row
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        before = nodes.get(node.inputs[0])
        if node.op == "quantise" and before is not None and OPS[before.op].is_neuron(before):
            expected[node.inputs[0]] += expected.pop(node.name)
    rows = profile(graph, torch.from_numpy(frames[:, None]), counting="honest").layers
    found = {row.name: row.energy_mj * 1e9 for row in rows}
    assert found == pytest.approx(expected, rel=1e-6)


@sampled(len(OPS), op=sorted(OPS), constant=[False, True])
def test_price_of_an_op_equals_what_is_counted_number_by_number(op: str, constant: bool) -> None:
    graph = of_one_op(op, constant=constant)
    assert_priced_as_counted(graph, random_input(graph, 1 if constant else 3, 1)[:, 0] * 3)


@every(build=[residual_network, two_streams])
def test_price_of_a_network_equals_what_is_counted_number_by_number(build) -> None:  # type: ignore[no-untyped-def]
    graph = build(time_steps=2, width=4)
    assert_priced_as_counted(graph, random_input(graph, 2, 1)[:, 0])


@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_price_of_any_graph_equals_what_is_counted_number_by_number(graph: Graph) -> None:
    for steps in (1, graph.time_steps):
        assert_priced_as_counted(graph, random_input(graph, steps, 1)[:, 0])
