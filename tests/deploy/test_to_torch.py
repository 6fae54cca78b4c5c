"""The deployed graph as a torch module, whatever its nodes are called."""

import keyword

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hdlif.deploy import GraphModule
from hdlif.errors import StateError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.runtime import reference
from neuron_programs import as_program

PARTS = ["x", "a", ".", "/", "~", "~0", "~1", "", "weight", "scale", "0", " ", "é", "膜", "\u0301", "\n", "\0", "__"]
ATTRIBUTES = sorted(name for name in dir(nn.Module()) if name != INPUT)
NAMES = st.one_of(
    # often names that differ in a separator alone
    st.lists(st.sampled_from(["x", ".", "/", "~", "~1"]), max_size=3).map("".join),
    st.lists(st.sampled_from(PARTS), max_size=5).map("".join),
    st.sampled_from([*ATTRIBUTES, *keyword.kwlist, "graph", "observer", "forward", "output"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
).filter(lambda name: name != INPUT)


def network(names: list[str]) -> Graph:
    """x times 1, 2, 3, ... and plus the same, a spiking neuron after each, by nodes of these names."""
    nodes, x = [], INPUT
    for i, name in enumerate(names):
        row = np.full((1, 1), i + 1, np.float32)
        if i % 2:
            nodes.append(as_program(Node("graded_lif", name, (x,), {}, {"leak": row / 16, "threshold": row / 4})))
        else:
            nodes.append(Node("affine", name, (x,), {}, {"scale": row, "shift": -row / 2}))
        x = name
    logits = "/".join(["logits", *names])
    nodes.append(Node("flatten", logits, (x,)))
    return Graph(tuple(nodes), logits, 2, InputRecord((1, 2, 2), (0.0,), (1.0,)), tuple("abcd"))


def assert_computes_as_the_reference(graph: Graph) -> None:
    x = np.array([[0.5, -1], [2, 3]], np.float32).reshape(1, 1, 1, 2, 2).repeat(2, axis=0)
    module = GraphModule(graph)
    whole, state = module(torch.from_numpy(x), steps=range(2))
    np.testing.assert_array_equal(whole.numpy(), reference.run(graph, x))
    # a state has the names of the nodes, and one step after the other is the same
    first, state = module(torch.from_numpy(x[:1]), steps=range(1))
    second, _ = module(torch.from_numpy(x[1:]), state, range(1, 2))
    np.testing.assert_array_equal(torch.cat([first, second]).numpy(), whole.numpy())
    other = GraphModule(graph)
    other.load_state_dict(module.state_dict())
    assert len(module.state_dict()) == sum(len(node.tensors) for node in graph.nodes)


def test_names_that_differ_in_a_separator_are_two() -> None:
    assert_computes_as_the_reference(network(["x.a", "y", "x/a", "y.z", "x~1a", "y/z"]))


@settings(max_examples=40)
@given(st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_any_names(names: list[str]) -> None:
    assert_computes_as_the_reference(network(names))


def test_a_state_of_unknown_nodes_is_refused() -> None:
    module = GraphModule(network(["a", "b"]))
    x = torch.ones(1, 1, 1, 2, 2)
    _, state = module(x, steps=range(1))
    with pytest.raises(StateError, match=r"state of 'c' .* choose one of b"):
        module(x, {**state, "c": state["b"]}, range(1, 2))
