import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from cases import every
from deployed_graphs import Builder, random_input, residual_network, tiny_network
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import (
    INPUT,
    Graph,
    Value,
    dumps,
    infer_values,
    is_artefact,
    load,
    save,
    tensor_bytes,
)
from hdlif.runtime import Session, reference

GOLDEN = Path(__file__).parent / "tiny.hdlif.safetensors"


def assert_equal(a: Graph, b: Graph) -> None:
    assert (a.output, a.time_steps, a.input, a.labels) == (b.output, b.time_steps, b.input, b.labels)
    assert len(a.nodes) == len(b.nodes)
    for x, y in zip(a.nodes, b.nodes, strict=True):
        assert (x.op, x.name, x.inputs, dict(x.attributes)) == (y.op, y.name, y.inputs, dict(y.attributes))
        assert x.tensors.keys() == y.tensors.keys()
        for role in x.tensors:
            np.testing.assert_array_equal(x.tensors[role], y.tensors[role], strict=True)


@every(encoding=["float32", "ternary", "binary", "int2", "int4", "int8"])
def test_round_trip(tmp_path: Path, encoding: str) -> None:
    graph = residual_network(encoding=encoding)
    save(graph, tmp_path / "net.hdlif.safetensors")
    assert_equal(load(tmp_path / "net.hdlif.safetensors"), graph)
    assert [path.name for path in tmp_path.iterdir()] == ["net.hdlif.safetensors"]
    assert dumps(residual_network(encoding=encoding)) == (tmp_path / "net.hdlif.safetensors").read_bytes()


def test_golden_bytes() -> None:
    assert dumps(tiny_network()) == GOLDEN.read_bytes()
    assert_equal(load(GOLDEN), tiny_network())


def test_the_neurons_of_a_file_give_the_bits_that_they_gave() -> None:
    """LIF of both resets, graded LIF, HD-LIF, Parallel and GLIF; the digest is of the version that wrote the file."""
    graph = load(GOLDEN.with_name("neurons.hdlif.safetensors"))
    kinds = {"HDLIF", "ParallelHDLIF", "LIF", "GradedLIF", "GLIF"}
    assert {node.attributes["kind"] for node in graph.nodes if node.op == "program"} == kinds
    x = random_input(graph, 5, 3)
    digest = "4df4ac8032d00920dfb7a417dab0969d572a6ac623a08cc6faaff4e8b5b34162"
    for logits in (reference.run(graph, x), Session(graph).run(x)):
        assert hashlib.sha256(logits.tobytes()).hexdigest() == digest


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.hdlif.safetensors"
    save(tiny_network(), path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(residual_network(), path)
    assert path.read_bytes() == GOLDEN.read_bytes()
    assert len(list(tmp_path.iterdir())) == 1


def test_tensor_bytes_are_the_files() -> None:
    encodings = ("ternary", "binary", "int2", "int4", "int8")
    for graph in (tiny_network(), *(residual_network(encoding=encoding) for encoding in encodings)):
        content = dumps(graph)
        stored = len(content) - 8 - int.from_bytes(content[:8], "little")
        assert sum(tensor_bytes(node) for node in graph.nodes) == stored
    # 7 ternary weights in 2 bytes; 1 leak and 2 thresholds in 12
    assert [tensor_bytes(node) for node in tiny_network().nodes] == [2, 12, 0]


def test_a_breach_of_the_format_is_never_written() -> None:
    graph = tiny_network()
    first = graph.nodes[0]
    wrong = replace(first, tensors={"weight": np.full_like(first.tensors["weight"], 2)})
    fields = [{"frames": "rows"}, {"kind": "series", "resize": "none"}, {"resize": "pool"}]
    inputs = [replace(graph, input=replace(graph.input, **changed)) for changed in fields]
    for breach in (replace(graph, time_steps=0), replace(graph, nodes=(wrong, *graph.nodes[1:])), *inputs):
        with pytest.raises(ArtefactError):
            dumps(breach)


def test_values_that_an_op_does_not_take_are_refused() -> None:
    """A vector for a map, maps of other sizes, and a step that is not above 0."""
    for make in (
        lambda b: b.add("sum_pool", b.add("flatten", INPUT), kernel=(2, 2), stride=(1, 1)),
        lambda b: b.concat(INPUT, b.conv(INPUT, 3, padding=(0, 0))),
        lambda b: b.quantise(INPUT, inverse_step=-1.0),
    ):
        b = Builder((3, 3, 3), 1, 0)
        make(b)
        with pytest.raises(ArtefactError, match=r"^n"):
            b.values()


@every("encoding", "least", of=[("int2", -2), ("int4", -8), ("int8", -128)])
def test_the_least_value_of_the_bits_is_no_weight(encoding: str, least: int) -> None:
    graph = residual_network(encoding=encoding)
    weight = next(node for node in graph.nodes if node.attributes.get("encoding") == encoding).tensors["weight"]
    weight[0, 0, 0, 0] = least
    with pytest.raises(ArtefactError, match=f"weight: .* {encoding}"):
        infer_values(graph)


def test_what_is_joined_holds_codes_only_where_both_parts_do() -> None:
    b = Builder((3, 2, 2), 2, 0)
    few, many = b.quantise(INPUT, bits=1), b.quantise(b.parallel(INPUT), bits=4, per_step=True)
    codes, mixed = b.concat(few, many), b.concat(few, INPUT)
    part = b.slice(codes, 1, 5)
    values = b.values()
    assert values[codes] == Value((6, 2, 2), 15, constant=False)
    assert values[mixed] == Value((6, 2, 2), None, constant=True)
    assert values[part] == Value((4, 2, 2), 15, constant=False)


def test_integer_sums_that_may_pass_an_int32_are_refused() -> None:
    # 66,312 channels x 255 x 127 > 2^31, though 66,312 x 255 is far below
    for channels in (66_311, 66_312):
        b = Builder((1, 1, channels), 1, 0)
        y = b.linear(b.quantise(b.add("flatten", INPUT), bits=8), 1, encoding="int8")
        graph = Graph(tuple(b.nodes), y, 1, b.record(), ("only",))
        with pytest.raises(ArtefactError, match=r"2\^31") if channels == 66_312 else contextlib.nullcontext():
            infer_values(graph)


def test_an_artefact_is_known_by_what_it_holds(tmp_path: Path) -> None:
    content = GOLDEN.read_bytes()
    other = safetensors.numpy.save({"a": np.zeros(1, np.float32)}, {"hdlif": '{"recipe": {}}'})
    plain = safetensors.numpy.save({"a": np.zeros(1, np.float32)})
    cases = {
        b"": False,
        b"noise": False,
        b"\xff" * 64: False,
        content[:20]: False,
        other: False,
        plain: False,
        content: True,
        content[:-1]: True,
    }
    for held, expected in cases.items():
        path = tmp_path / "file"
        path.write_bytes(held)
        assert is_artefact(path) is expected
    assert not is_artefact(tmp_path)
    assert not is_artefact(tmp_path / "absent")
