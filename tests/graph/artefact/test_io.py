"""Model files as they are written and read: the same graph, golden bytes, and weights packed by hand."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from cases import every
from deployed_graphs import Builder, random_input, residual_network, tiny_network
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, Value, dumps, infer_values, is_artefact, load, save, tensor_bytes
from hdlif.graph.artefact.packing import pack, packed_bytes, unpack
from hdlif.runtime import Session, reference
from model_files import GOLDEN


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


@every("encoding", "least", of=[("ternary", 2), ("int2", -2), ("int4", -8), ("int8", -128)])
def test_a_value_beyond_the_encoding_is_no_weight(encoding: str, least: int) -> None:
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


shapes = stn.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7)


HELD: dict[str, tuple[list[int], int]] = {
    "ternary": ([-1, 0, 1], 5),
    "binary": ([-1, 1], 8),
    "int2": ([-1, 0, 1], 4),
    "int4": (list(range(-7, 8)), 2),
    "int8": (list(range(-127, 128)), 1),
}
"""Of each encoding its values, and how many of them a byte holds."""


@given(encoding=st.sampled_from(sorted(HELD)), data=st.data())
def test_what_is_packed_comes_back(encoding: str, data: st.DataObject) -> None:
    values, per_byte = HELD[encoding]
    weights = data.draw(stn.arrays(np.int8, shapes, elements=st.sampled_from(values)))
    packed = pack(weights, encoding)
    assert packed.dtype == np.uint8
    assert packed.size == packed_bytes(weights.size, encoding) == -(-weights.size // per_byte)
    np.testing.assert_array_equal(unpack(packed, weights.shape, encoding), weights, strict=True)


def test_worked_examples() -> None:
    np.testing.assert_array_equal(pack(np.array([-3, 5, -7], np.int8), "int4"), [0x5D, 0x09])
    np.testing.assert_array_equal(pack(np.array([-1, 0, 1, 1, -1], np.int8), "int2"), [0b01010011, 0b11])
    np.testing.assert_array_equal(pack(np.array([-127, 5], np.int8), "int8"), [0x81, 5])
    np.testing.assert_array_equal(pack(np.array([-1, 0, 1, 1, 0, 1], np.int8), "ternary"), [156, 2])
    np.testing.assert_array_equal(pack(np.array([1, -1, 1, 1, -1, -1, -1, -1, 1], np.int8), "binary"), [13, 1])


def test_every_byte_up_to_242_is_five_weights_and_no_other() -> None:
    packed = np.arange(243, dtype=np.uint8)
    weights = unpack(packed, (243, 5), "ternary")
    assert len(np.unique(weights, axis=0)) == 243
    np.testing.assert_array_equal(pack(weights, "ternary"), packed)
    for byte in range(243, 256):
        packed[100] = byte
        with pytest.raises(ArtefactError, match=rf"layer\.weight: byte {byte} at offset 100 is above 242"):
            unpack(packed, (243, 5), "ternary", name="layer.weight")


@every("encoding", "last", of=[("ternary", 3), ("binary", 2), ("int2", 4), ("int4", 0x21)])
def test_fill_must_be_zero_and_sizes_must_fit(encoding: str, last: int) -> None:
    with pytest.raises(ArtefactError, match="padding of the last byte"):
        unpack(np.array([last], np.uint8), (1,), encoding)
    for size in (0, 2):
        with pytest.raises(ArtefactError, match=f"{size} bytes"):
            unpack(np.zeros(size, np.uint8), (1,), encoding)
