"""The backward pass of every op beside PyTorch's derivative of the op's torch form, in float64."""

import numpy as np
import pytest
import torch

from cases import every
from deployed_graphs import random_input
from hdlif.deploy.op_form import Parts
from hdlif.deploy.ops import FORMS
from hdlif.graph.dataflow import state_names
from hdlif.graph.graph import Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.graph.op import Passed
from hdlif.graph.ops import OPS
from hdlif.runtime import reference
from one_op import of_one_op

STEPS, BATCH = 3, 2


def passes(graph: Graph, node: Node) -> list[Passed]:
    """Every step of a node in a run on random input."""
    types = infer_values(graph)
    state = {
        f"{one.name}.{name}": np.zeros((BATCH, *types[one.name].shape), np.float32)
        for one in graph.nodes
        for name in state_names(one)
    }
    found = []
    for t, frame in enumerate(random_input(graph, STEPS, BATCH)):
        before = {name: state[f"{node.name}.{name}"].copy() for name in state_names(node)}
        values = reference.evaluate(graph, frame, state, t)
        found.append(Passed(t, [values[name] for name in node.inputs], before))
    return found


def of_torch(node: Node, passed: Passed, gradient: np.ndarray) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients of inputs and tensors, by autograd in float64; of tensors for each sample by itself."""
    inputs = [torch.tensor(x.astype(np.float64))[None].requires_grad_() for x in passed.inputs]
    own = {role: torch.tensor(t.astype(np.float64)).requires_grad_() for role, t in node.tensors.items()}
    states = {name: torch.tensor(value.astype(np.float64)) for name, value in passed.states.items()}
    parts = Parts(node, range(passed.t, passed.t + 1), own, states)
    # A program may end in a comparison, from which nothing flows back.
    output = FORMS[node.op].torch(parts, tuple(inputs))[0] + 0 * sum(x.sum() for x in inputs)
    whole = torch.autograd.grad(
        output, inputs, torch.tensor(gradient.astype(np.float64)), retain_graph=True, allow_unused=True
    )
    each: dict[str, list[torch.Tensor]] = {role: [] for role in own}
    for sample in range(BATCH):
        alone = torch.zeros_like(output)
        alone[sample] = torch.tensor(gradient[sample].astype(np.float64))
        found = (
            torch.autograd.grad(output, list(own.values()), alone, retain_graph=True, allow_unused=True) if own else ()
        )
        for (role, tensor), one in zip(own.items(), found, strict=True):
            each[role].append(torch.zeros_like(tensor) if one is None else one)
    inputs_found = [torch.zeros_like(x)[0] if g is None else g[0] for x, g in zip(inputs, whole, strict=True)]
    return inputs_found, {role: torch.stack(one) for role, one in each.items()}


@every(op=sorted(name for name, op in OPS.items() if op.backward is not None and name != "quantise"))
def test_the_gradients_of_an_op_are_those_of_its_torch_form(op: str) -> None:
    graph = of_one_op(op)
    rng = np.random.default_rng(0)
    for node in [one for one in graph.nodes if one.op == op]:
        shape = (BATCH, *infer_values(graph)[node.name].shape)
        for passed in passes(graph, node):
            gradient = rng.normal(size=shape).astype(np.float32)
            backward = OPS[op].backward
            assert backward is not None
            of_inputs, of_tensors = backward(node, passed, gradient)
            expected, of_rows = of_torch(node, passed, gradient)
            for found, right in zip(of_inputs, expected, strict=True):
                assert found is not None
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, right, atol=1e-4, rtol=1e-4)
            assert of_tensors.keys() == node.tensors.keys()
            for role, found in of_tensors.items():
                right = of_rows[role]
                if OPS[op].is_synapse:
                    np.testing.assert_allclose(found, right, atol=1e-4, rtol=1e-4)
                else:
                    row = right[:, min(passed.t, right.shape[1] - 1)]
                    np.testing.assert_allclose(found, row, atol=1e-4, rtol=1e-4)


def test_a_quantiser_passes_gradients_straight_through() -> None:
    """As in training: times the inverse step, also where a code is 0 or the largest."""
    graph = of_one_op("quantise")
    for node in [one for one in graph.nodes if one.op == "quantise"]:
        for passed in passes(graph, node):
            gradient = np.random.default_rng(0).normal(size=passed.inputs[0].shape).astype(np.float32)
            backward = OPS["quantise"].backward
            assert backward is not None
            (found,), own = backward(node, passed, gradient)
            rows = node.tensors["inverse_step"]
            row = rows[min(passed.t, len(rows) - 1)].reshape(1, -1, *[1] * (gradient.ndim - 2))
            np.testing.assert_array_equal(found, gradient * row)
            assert not own


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_only_the_first_maximum_of_a_window_gets_the_gradient(order: tuple[int, int]) -> None:
    x = np.ones((1, 1, 2, 2), np.float32)
    x[0, 0, order[0], order[1]] = 0
    node = Node("max_pool", "pool", ("input",), {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)})
    backward = OPS["max_pool"].backward
    assert backward is not None
    (found,), _ = backward(node, Passed(0, [x], {}), np.ones((1, 1, 1, 1), np.float32))
    assert found is not None
    np.testing.assert_array_equal(found[0, 0], [[1, 0], [0, 0]])
