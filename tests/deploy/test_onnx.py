"""ONNX models, run by ONNX Runtime, compute what the NumPy reference computes."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch import nn

import own_neurons
from cases import every
from deployed_graphs import Builder, random_input, residual_network, two_streams, u_net
from hdlif.deploy import lower
from hdlif.deploy.onnx import streamed, unrolled
from hdlif.graph.artefact import INPUT, Graph, InputRecord
from hdlif.graph.equations import OPERATIONS, Instruction, Program
from hdlif.models import resnet
from hdlif.nn import (
    HDLIF,
    AdaptiveHDLIF,
    ParallelHDLIF,
    ResonateHDLIF,
    SecondOrderHDLIF,
    Sequential,
    SlidingParallelHDLIF,
)
from hdlif.runtime import reference
from runtime.test_native_equals_reference import rows_of_all_kinds

# Sums of floats are added in another order; with these seeds no code is on a rounding boundary.
TOLERANCE = 1e-4
ENCODINGS = ("ternary", "binary", "int2", "int4", "int8", "float32")


def run(model: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def assert_equals_reference(graph: Graph, *, batch: int = 3, beyond: int = 3) -> None:
    """Both forms; the streamed one goes on beyond the trained steps."""
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    x = random_input(graph, 1, batch)
    expected = reference.run(graph, x, graph.time_steps + beyond)
    logits = run(unrolled(graph, batch=batch), {"input": x[0]})["logits"]
    np.testing.assert_allclose(logits, expected[: graph.time_steps], atol=TOLERANCE, rtol=TOLERANCE)
    model = streamed(graph)
    shapes = {i.name: [d.dim_value or batch for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name not in ("input", "t")}
    state["t"] = np.array(0, np.int64)
    for t, step in enumerate(expected):
        result = run(model, {"input": x[0], **state})
        np.testing.assert_allclose(result["logits"], step, atol=TOLERANCE, rtol=TOLERANCE)
        assert result["t.next"] == t + 1
        state = {name: result[f"{name}.next"] for name in state}


@pytest.mark.peers
@every(weights=["int8", "int4"], encoding=ENCODINGS)
def test_weights_that_stay_integers_give_the_same_logits_from_a_smaller_file(encoding: str, weights: str) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network(encoding=encoding, width=16)
    x = random_input(graph, 1, 2)
    expected = reference.run(graph, x, graph.time_steps)
    for model in (unrolled(graph, batch=2, weights=weights), streamed(graph, weights=weights)):
        held = {i.data_type for i in model.graph.initializer if len(i.dims) == 4}
        small = onnx.TensorProto.INT4 if weights == "int4" and encoding != "int8" else onnx.TensorProto.INT8
        assert (small in held) == (encoding != "float32")
        assert model.opset_import[0].version == (21 if small == onnx.TensorProto.INT4 and small in held else 17)
    whole = unrolled(graph, batch=2)
    model = unrolled(graph, batch=2, weights=weights)
    assert encoding == "float32" or len(model.SerializeToString()) < 0.7 * len(whole.SerializeToString())
    np.testing.assert_allclose(run(model, {"input": x[0]})["logits"], expected, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.peers
def test_openvino_reads_weights_of_4_bits() -> None:
    openvino = pytest.importorskip("openvino", reason="pip install 'hdlif[engines]'")
    graph = residual_network(width=16)
    x = random_input(graph, 1, 1)
    compiled = openvino.compile_model(
        openvino.Core().read_model(unrolled(graph, weights="int4").SerializeToString()),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    (logits,) = compiled({"input": x[0]}).values()
    expected = reference.run(graph, x, graph.time_steps)
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE, rtol=TOLERANCE)


def ends_in_a_neuron() -> Graph:
    b = Builder((2, 3, 3), 2, 0)
    x = b.hd_lif(b.add("global_sum_pool", INPUT))
    return Graph(tuple(b.nodes), x, 2, b.record(), ("a", "b"))


@pytest.mark.peers
@every(
    graph={
        "ternary": residual_network(),
        "binary": residual_network(2, encoding="binary"),
        "one step": residual_network(1, time_steps=1),
        "two streams": two_streams(),
        "maps": u_net(),
        "a neuron at the end": ends_in_a_neuron(),
    },
    batch=[1, 3],
)
def test_networks(graph: Graph, batch: int) -> None:
    assert_equals_reference(graph, batch=batch)


NEURONS: dict[str, Callable[..., str]] = {
    "soft": partial(Builder.lif, reset="soft"),
    "hard": partial(Builder.lif, reset="hard", reset_potential=-0.3),
    "hd_lif": Builder.hd_lif,
    "parallel": Builder.parallel,
    "graded_lif": Builder.graded_lif,
    "glif": Builder.glif,
    **{
        type(neuron).__name__: partial(Builder.program, program=neuron.program())
        for neuron in (
            AdaptiveHDLIF(3),
            SecondOrderHDLIF(3),
            ResonateHDLIF(3),
            SlidingParallelHDLIF(3, taps=[1, 0, -1]),
            own_neurons.LIF(3),
            own_neurons.Parallel(3),
        )
    },
}


@pytest.mark.peers
@every("per_step", "per_channel", "beyond", of=[(False, False, 0), (True, False, 0), (True, True, 2)], neuron=NEURONS)
def test_neurons(neuron: Callable[..., str], per_step: bool, per_channel: bool, beyond: int) -> None:
    """The second of two reads what changes with time."""
    b = Builder((3, 4, 5), 3, 2)
    x = b.conv(INPUT, 4, encoding="float32")
    for _ in range(2):
        x = b.conv(neuron(b, x, per_step=per_step, per_channel=per_channel, beyond=beyond), 5)
    assert_equals_reference(b.graph(x))


def every_operation(b: Builder) -> str:
    """On numbers of few bits, where all operations are exact."""
    instructions = [Instruction(name, (0, 1, 2)[: op.arity], 0.5) for name, op in OPERATIONS.items()]
    total = 4
    for register in range(5, 4 + len(instructions)):
        instructions.append(Instruction("add", (total, register)))
        total = 3 + len(instructions)
    program = Program(("a", "b"), ("row",), tuple(instructions), total, (0, 3))
    x = b.program(b.quantise(INPUT, bits=2), program=program)
    b.nodes[-1].tensors["row0"][:] = np.array([[0.25], [-0.5], [1.5]], np.float32)
    return x


def rows_alone(b: Builder) -> str:
    """States and spikes that follow from rows have the current's shape all the same."""
    return b.program(INPUT, program=Program(("a",), ("row",), (Instruction("floor", (2,)),), 3, (2,)))


def moving_entries(b: Builder) -> str:
    x = b.affine(b.hd_lif(INPUT), per_step=True)
    y = b.seca(x, per_step=True)
    z = b.quantise(b.add("add", x, y), per_step=True, per_channel=True, offset=0.25)
    return b.add("add", z, INPUT)


def surplus_that_others_read(b: Builder) -> str:
    spikes = b.hd_lif(INPUT)
    return b.add("add", b.quantise(spikes), spikes)


def joined_in_both_orders(b: Builder) -> str:
    """Of what never changes and what does."""
    x = b.affine(INPUT)
    return b.concat(b.concat(b.slice(x, 1, 3), b.affine(x, per_step=True)), b.slice(x, 0, 1))


def constant_sums_that_others_read(b: Builder) -> str:
    sums = b.conv(INPUT, 3, encoding="float32")
    return b.add("add", b.affine(sums), sums)


@pytest.mark.peers
@every(
    make=[
        every_operation,
        rows_alone,
        rows_of_all_kinds,
        moving_entries,
        surplus_that_others_read,
        joined_in_both_orders,
        constant_sums_that_others_read,
    ]
)
def test_ops_beside_others(make: Callable[[Builder], str]) -> None:
    """Each op alone: tests/graph/ops/test_every_op.py."""
    b = Builder((3, 7, 6), 3, 3)
    assert_equals_reference(b.graph(make(b)))


@pytest.mark.peers
def test_unrolled_saves_what_can_be_saved() -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    graph = residual_network(time_steps=4)
    nodes = unrolled(graph).graph.node
    count = {op: sum(node.op_type == op for node in nodes) for op in ("Conv", "Gemm", "Relu", "Min")}
    # each convolution once for all steps; two HD-LIF layers, whose last potential nobody reads; no surplus rectified
    assert count == {"Conv": sum(n.op == "conv2d" for n in graph.nodes), "Gemm": 1, "Relu": 0, "Min": 2 * 3}
    # the stem has its affine inside
    stem = next(node for node in nodes if node.op_type == "Conv")
    assert stem.input[0] == "input"
    assert len(stem.input) == 3


@pytest.mark.peers
def test_a_model_says_what_it_takes_and_gives() -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    model = unrolled(residual_network())
    said = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert said == {"mean": [0.5] * 3, "std": [0.25] * 3, "labels": [f"class {i}" for i in range(3)], "time_steps": 4}


def test_a_neuron_that_is_relu_is_written_as_one() -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    network = resnet(
        neuron=lambda place: ParallelHDLIF(1, threshold=0.0, learned=False),
        blocks=[1],
        width=4,
        classes=3,
        in_channels=1,
    )
    graph = lower(network.eval(), input=InputRecord((1, 8, 8), (0.5,), (0.5,)), labels=("a", "b", "c"), time_steps=1)
    kinds = [node.op_type for node in unrolled(graph).graph.node]
    assert kinds.count("Relu") == sum(isinstance(module, ParallelHDLIF) for module in network.modules())
    assert not {"Sub", "Max"} & set(kinds)
    assert_equals_reference(graph)


def test_a_layer_may_have_the_name_of_the_output() -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    layers = {"flat": nn.Flatten(), "logits": nn.Linear(4, 3), "fire": HDLIF(2)}
    graph = lower(
        Sequential(layers).eval(), input=InputRecord((1, 2, 2), (0.5,), (0.5,)), labels=("a", "b", "c"), time_steps=2
    )
    assert "logits" in {node.name for node in graph.nodes}
    assert_equals_reference(graph)
