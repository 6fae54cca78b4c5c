"""ONNX models, run by ONNX Runtime, compute what the NumPy reference computes."""

import json
import sys
from typing import Any

import numpy as np
import pytest

import own_neurons
from deployed_graphs import Builder, random_input, residual_network, two_streams
from hdlif.deploy.onnx import streamed, unrolled
from hdlif.errors import MissingExtraError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.graph.equations import OPERATIONS, Instruction, Program
from hdlif.nn import AdaptiveHDLIF, EquationNeuron, ResonateHDLIF, SecondOrderHDLIF, SlidingParallelHDLIF
from hdlif.runtime import reference

# Sums of floats are added in another order; with these seeds no code lies on a rounding boundary.
TOLERANCE = 1e-4


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
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("encoding", ["ternary", "binary", "int2", "int4", "int8", "float32"])
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


@pytest.mark.peers
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "graph", [residual_network(), residual_network(2, encoding="binary"), residual_network(1, time_steps=1)]
)
def test_residual_network(graph: Graph, batch: int) -> None:
    assert_equals_reference(graph, batch=batch)


@pytest.mark.peers
@pytest.mark.parametrize("beyond", [0, 2])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("neuron", ["hd_lif", "parallel", "graded_lif", "glif", "soft", "hard"])
def test_neurons(neuron: str, per_step: bool, per_channel: bool, beyond: int) -> None:
    b = Builder((3, 4, 5), 3, 2)
    rows = {"per_step": per_step, "per_channel": per_channel, "beyond": beyond}
    # the second of two reads what changes with time
    x = b.conv(INPUT, 4, encoding="float32")
    for _ in range(2):
        if neuron in ("soft", "hard"):
            x = b.lif(x, reset=neuron, reset_potential=-0.3, **rows)
        else:
            x = getattr(b, neuron)(x, **rows)
        x = b.conv(x, 5)
    assert_equals_reference(b.graph(x))


@pytest.mark.peers
@pytest.mark.parametrize("beyond", [0, 2])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [
        AdaptiveHDLIF(3),
        SecondOrderHDLIF(3),
        ResonateHDLIF(3),
        SlidingParallelHDLIF(3, taps=[1, 0, -1]),
        own_neurons.LIF(3),
        own_neurons.Parallel(3),
    ],
    ids=["adaptive", "second_order", "resonate", "sliding", "lif", "parallel"],
)
def test_neurons_of_an_equation(neuron: EquationNeuron, per_step: bool, beyond: int) -> None:
    program = neuron.program()
    b = Builder((3, 4, 5), 3, 2)
    x = b.conv(INPUT, 4, encoding="float32")
    for per_channel in (True, False):
        x = b.program(x, program=program, per_step=per_step, per_channel=per_channel, beyond=beyond)
        x = b.conv(x, 5)
    assert_equals_reference(b.graph(x))


@pytest.mark.peers
def test_every_operation_of_a_program() -> None:
    """On numbers of few bits, where all operations are exact."""
    instructions = [Instruction(name, (0, 1, 2)[: op.arity], 0.5) for name, op in OPERATIONS.items()]
    total = 4
    for register in range(5, 4 + len(instructions)):
        instructions.append(Instruction("add", (total, register)))
        total = 3 + len(instructions)
    program = Program(("a", "b"), ("row",), tuple(instructions), total, (0, 3))
    b = Builder((3, 4, 5), 3, 2)
    b.program(b.quantise(INPUT, bits=2), program=program)
    b.nodes[-1].tensors["row0"][:] = np.array([[0.25], [-0.5], [1.5]], np.float32)
    assert_equals_reference(b.graph(b.nodes[-1].name))


@pytest.mark.peers
def test_states_and_spikes_that_follow_from_rows_alone_have_the_current_s_shape() -> None:
    program = Program(("a",), ("row",), (Instruction("floor", (2,)),), 3, (2,))
    b = Builder((3, 4, 5), 3, 2)
    assert_equals_reference(b.graph(b.program(INPUT, program=program)))


@pytest.mark.peers
def test_glif_with_rows_of_all_kinds() -> None:
    b = Builder((5, 4, 3), 3, 2)
    y = b.glif(INPUT, per_channel=True, beyond=1)
    tensors = b.nodes[0].tensors
    for i, key in enumerate(tensors):
        tensors[key] = tensors[key][: (1, 3, 4)[i % 3], : (1, 5)[i % 2]]
    assert_equals_reference(b.graph(y))


@pytest.mark.peers
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
def test_ops_on_each_entry(per_step: bool, moving: bool) -> None:
    b = Builder((3, 4, 5), 3, 3)
    x = b.hd_lif(INPUT) if moving else INPUT
    x = b.affine(x, per_step=per_step)
    y = b.seca(x, per_step=per_step)
    z = b.quantise(b.add("add", x, y), per_step=per_step, per_channel=True, offset=0.25)
    assert_equals_reference(b.graph(b.add("add", z, INPUT)))


@pytest.mark.peers
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_quantiser_at_its_offsets(offset: float) -> None:
    b = Builder((3, 4, 5), 2, 3)
    assert_equals_reference(b.graph(b.quantise(b.affine(INPUT), bits=2, inverse_step=2.0, offset=offset)))


@pytest.mark.peers
def test_a_surplus_that_others_read_too_is_not_negative() -> None:
    b = Builder((3, 4, 5), 3, 3)
    spikes = b.hd_lif(INPUT)
    assert_equals_reference(b.graph(b.add("add", b.quantise(spikes), spikes)))


@pytest.mark.peers
@pytest.mark.parametrize("neuron", ["hd_lif", "parallel"])
def test_pools(neuron: str) -> None:
    b = Builder((3, 9, 8), 3, 4)
    x = b.quantise(getattr(b, neuron)(INPUT), bits=3)
    x = b.add("sum_pool", x, kernel=(2, 3), stride=(1, 2))
    x = b.add("max_pool", x, kernel=(3, 2), stride=(2, 1), padding=(1, 0))
    pooled = b.affine(b.add("global_sum_pool", x), scale=0.1)
    assert_equals_reference(b.graph(pooled))


@pytest.mark.peers
@pytest.mark.parametrize("encoding", ["float32", "ternary", "binary", "int2", "int4", "int8"])
def test_convolutions_and_linear_layers(encoding: str) -> None:
    b = Builder((3, 7, 6), 2, 5)
    codes = b.quantise(b.hd_lif(INPUT))
    x = b.affine(b.conv(codes, 4, kernel=(2, 3), stride=(2, 1), padding=(1, 0), encoding=encoding), scale=0.1)
    x = b.quantise(b.hd_lif(x, per_channel=True))
    assert_equals_reference(b.graph(b.linear(b.add("flatten", x), 6, encoding=encoding)))


@pytest.mark.peers
def test_upsampling() -> None:
    b = Builder((3, 3, 4), 3, 2)
    x = b.add("upsample", b.quantise(b.hd_lif(INPUT)), factor=(2, 3))
    assert_equals_reference(b.graph(b.conv(x, 4)))


@pytest.mark.peers
@pytest.mark.parametrize("encoding", ["float32", "int4"])
def test_dilated_and_grouped_convolutions(encoding: str) -> None:
    b = Builder((3, 7, 6), 3, 2)
    x = b.conv(INPUT, 6, dilation=(2, 1), padding=(2, 0), groups=3, encoding=encoding)
    x = b.conv(b.quantise(b.hd_lif(x)), 4, dilation=(1, 3), padding=(1, 3), groups=2, encoding=encoding)
    assert_equals_reference(b.graph(x))


@pytest.mark.peers
@pytest.mark.parametrize("batch", [1, 3])
def test_slices_and_concatenations(batch: int) -> None:
    assert_equals_reference(two_streams(), batch=batch)
    # of what never changes and what does, in both orders
    b = Builder((3, 4, 5), 3, 3)
    x = b.affine(INPUT)
    joined = b.concat(b.concat(b.slice(x, 1, 3), b.affine(x, per_step=True)), b.slice(x, 0, 1))
    assert_equals_reference(b.graph(joined), batch=batch)


@pytest.mark.peers
def test_logits_that_never_change_and_an_affine_whose_sums_others_read() -> None:
    b = Builder((3, 4, 5), 3, 6)
    sums = b.conv(INPUT, 3, encoding="float32")
    assert_equals_reference(b.graph(b.add("add", b.affine(sums), sums)))


@pytest.mark.peers
def test_a_network_may_end_in_a_neuron() -> None:
    b = Builder((2, 3, 3), 2, 0)
    x = b.hd_lif(b.add("global_sum_pool", INPUT))
    record = InputRecord(b.shape, (0.5, 0.5), (0.25, 0.25))
    assert_equals_reference(Graph(tuple(b.nodes), x, 2, record, ("a", "b")))


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


def test_absent_onnx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    graph = Graph((Node("flatten", "x", (INPUT,)),), "x", 1, InputRecord((1, 1, 1), (0.0,), (1.0,)), ("a",))
    with pytest.raises(MissingExtraError, match=r"hdlif\[export\]"):
        unrolled(graph)
