"""Damaged model files: whatever the bytes are, a checked graph, or an error that begins with the file's name."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from deployed_graphs import every_op, residual_network, tiny_network
from graph.artefact.test_io import assert_equal
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import dumps, infer_values, load, loads
from hdlif.runtime import Session
from model_files import GOLDEN, at, joined, parts, places, put, rewritten, signed


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place() -> None:
    for graph in (tiny_network(), residual_network()):
        assert signed(dumps(graph)) == dumps(graph)


def test_every_truncation_is_refused() -> None:
    content = GOLDEN.read_bytes()
    for length in range(len(content)):
        with pytest.raises(ArtefactError, match=r"^cut: "):
            loads(content[:length], "cut")
        with pytest.raises(ArtefactError, match=r"^cut: "):
            loads(signed(content[:length]), "cut")
    for longer in (content + b"\0", signed(content + b"\0")):
        with pytest.raises(ArtefactError, match=r"digest|14 of 15 bytes"):
            loads(longer, "longer")


def flipped_bits(content: bytes) -> Iterator[bytes]:
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            yield bytes(damaged)


def test_every_flipped_bit_is_refused() -> None:
    for damaged in flipped_bits(GOLDEN.read_bytes()):
        with pytest.raises(ArtefactError, match=r"^flipped: "):
            loads(damaged, "flipped")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_changed_byte_is_refused(data: st.DataObject) -> None:
    content = bytearray(dumps(residual_network()))
    # The header is the larger part; half the examples fall on tensors.
    first = data.draw(st.sampled_from([0, 8 + int.from_bytes(content[:8], "little")]))
    position = data.draw(st.integers(first, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ArtefactError, match=r"^changed: .*(export it again|--to artefact`)$"):
        loads(bytes(content), "changed")


def test_a_changed_weight_that_is_a_legal_code_is_refused(tmp_path: Path) -> None:
    content = bytearray(GOLDEN.read_bytes())
    content[-1] += 1
    # the digest apart, nothing is wrong with it
    loads(signed(bytes(content)), "x")
    path = tmp_path / "net.hdlif.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"^{path}: digest"):
        load(path)


def test_every_flipped_bit_under_a_new_digest_gives_a_checked_graph_or_an_artefact_error() -> None:
    for damaged in flipped_bits(GOLDEN.read_bytes()):
        with contextlib.suppress(ArtefactError):
            dumps(loads(signed(damaged), "flipped"))


def test_rewriting_alone_changes_nothing() -> None:
    assert_equal(loads(rewritten(lambda header, graph: None), "x"), tiny_network())


LIES = {
    "version": (put("graph/format", 4), "format"),
    "version without a digest": (lambda header, graph: graph.update(format=2) or graph.pop("digest"), "format"),
    "version type": (put("graph/format", [3]), "format"),
    "no digest": (lambda header, graph: graph.pop("digest"), "digest"),
    "short digest": (put("graph/digest", "0"), "digest"),
    "digest in capitals": (put("graph/digest", "A" * 64), "digest"),
    "unknown key": (put("graph/extra", 1), "extra"),
    "metadata key": (put("header/__metadata__/more", "x"), "metadata"),
    "no metadata": (lambda header, graph: header.pop("__metadata__"), "metadata"),
    "metadata that are none": (put("header/__metadata__", 3), "metadata"),
    "another record": (lambda header, graph: graph.clear(), "metadata hold no graph"),
    "dtype": (put("header/neuron.row0/dtype", "U8"), "data_offsets"),
    "unknown dtype": (put("header/neuron.row0/dtype", "F16"), "dtype"),
    "shape in header": (put("header/conv.weight/shape", [3]), "data_offsets"),
    "shape as bool": (put("header/conv.weight/shape", [True]), "shape"),
    "negative shape": (put("header/conv.weight/shape", [-2]), "shape"),
    "vast shape": (put("header/conv.weight/shape", [2**62, 2**62]), "shape"),
    "vast shape of nothing": (put("header/conv.weight/shape", [2**62, 0]), "shape"),
    "deep shape": (put("header/conv.weight/shape", [1] * 100_000), "shape"),
    "offsets overlap": (put("header/conv.weight/data_offsets", [0, 2]), "begins at|data_offsets"),
    "offsets beyond": (put("header/conv.weight/data_offsets", [2**40, 2**40 + 2]), "data_offsets"),
    "offsets backwards": (put("header/conv.weight/data_offsets", [14, 12]), "data_offsets"),
    "missing tensor": (lambda header, graph: header.pop("conv.weight"), "begins at|not in the file|bytes behind"),
    "tensor of nobody": (put("header/x", {"dtype": "U8", "shape": [0], "data_offsets": [14, 14]}), "no node"),
    "weight shape": (put("graph/nodes/0/tensors/weight/shape", [11, 1, 1, 1]), r"conv\.weight"),
    "weight shape that packs alike": (put("graph/nodes/0/tensors/weight/shape", [8, 1, 1, 1]), "labels"),
    "weight as float": (put("graph/nodes/0/attributes/encoding", "float32"), r"conv\.weight"),
    "weight as binary": (put("graph/nodes/0/attributes/encoding", "binary"), "weight"),
    "encoding": (put("graph/nodes/0/attributes/encoding", "quaternary"), "weight|encoding"),
    "encoding of another type": (put("graph/nodes/0/attributes/encoding", {}), "weight|encoding"),
    "leak shape": (put("graph/nodes/1/tensors/row0/shape", [1]), r"neuron\.row0"),
    "tensor twice": (put("graph/nodes/1/tensors/row1/tensor", "neuron.row0"), "row1"),
    "tensor is the metadata": (put("graph/nodes/1/tensors/row0/tensor", "__metadata__"), "not in the file"),
    "op": (put("graph/nodes/1/op", "progam"), "neuron: op = progam"),
    "own output as input": (put("graph/nodes/0/inputs", ["conv"]), "topological order"),
    "cycle": (put("graph/nodes/0/inputs", ["neuron"]), "topological order"),
    "two inputs": (put("graph/nodes/1/inputs", ["conv", "conv"]), "neuron: program has 2 inputs"),
    "same name": (put("graph/nodes/1/name", "conv"), "two values have this name"),
    "name of the input": (put("graph/nodes/0/name", "input"), "two values have this name"),
    "name that is not text": (put("graph/nodes/0/name", "\ud800"), "JSON"),
    "output": (put("graph/output", "nothing"), "output"),
    "labels": (put("graph/labels", ["a"]), "labels"),
    "steps": (put("graph/time_steps", 3), "neuron: row1 has 2 rows"),
    "no step": (put("graph/time_steps", 0), "time_steps = 0"),
    "steps of another type": (put("graph/time_steps", 2.0), "time_steps = 2.0"),
    "stride": (put("graph/nodes/0/attributes/stride", [0, 1]), "stride"),
    "padding": (put("graph/nodes/0/attributes/padding", [1, 1]), "padding"),
    "input shape": (put("graph/input/shape", [1, 2]), r"input\.shape"),
    "channels": (put("graph/input/shape", [2, 2, 2]), r"input\.mean"),
    "std": (put("graph/input/std", [0.0]), r"input\.std"),
    "mean": (put("graph/input/mean", [float("nan")]), "JSON"),
    "vast mean": (put("graph/input/mean", [10**400]), r"input\.mean"),
    "kind": (put("graph/input/kind", "sound"), r"input\.kind"),
    "resize": (put("graph/input/resize", "bilinar"), r"input\.resize"),
    "nodes": (put("graph/nodes", {}), "nodes"),
    "node": (put("graph/nodes/0", None), r"nodes\[0\]"),
}


def test_lies_are_refused_by_field() -> None:
    for name, (change, place) in LIES.items():
        with pytest.raises(ArtefactError, match=rf"^{name}: .*({place})"):
            loads(rewritten(change), name)


@pytest.mark.parametrize(
    "header", [b"{", b"{\xff", b'{"a":1,"a":2}', b'{"a":' + b"[" * 100_000, b'{"__metadata__":{"hdlif":1}}']
)
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(ArtefactError, match=r"^none: h.*damaged"):
        loads(len(header).to_bytes(8, "little") + header, "none")


@pytest.mark.parametrize("content", [b"", b"P5 8 8 255\n", b"\x08" + bytes(7) + b" " * 8, b"\x02" + bytes(7) + b"[]"])
def test_what_has_no_header_is_no_artefact(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.pgm"
    path.write_bytes(content)
    with pytest.raises(ArtefactError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}: is not an artefact (no safetensors header); give a file made by `hdlif export --to artefact`"
    )


def test_a_header_that_begins_with_spaces_is_refused() -> None:
    content = GOLDEN.read_bytes()
    length = int.from_bytes(content[:8], "little")
    with pytest.raises(ArtefactError, match="no safetensors header"):
        loads((length + 8).to_bytes(8, "little") + b" " * 8 + content[8:], "spaced")


def test_what_only_the_library_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(content: bytes) -> None:
        raise safetensors.SafetensorError("HeaderTooLarge")

    monkeypatch.setattr(safetensors.numpy, "load", refuse)
    with pytest.raises(ArtefactError, match=r"is not a safetensors file \(HeaderTooLarge\)"):
        load(GOLDEN)


def test_tensors_that_are_not_finite_are_refused() -> None:
    content = bytearray(GOLDEN.read_bytes())
    content[-14:-10] = np.float32(np.inf).tobytes()
    with pytest.raises(ArtefactError, match="not finite"):
        loads(signed(bytes(content)), "infinite")


NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([127, 255, 256, 2**15, 2**30, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**31), 10**400]),
    st.floats(),
    st.sampled_from([0.5, 1e-40, 1e39, -0.0]),
)
LIE = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(
        ["", "input", "conv2d", "ternary", "int8", "F32", "U8", "hard", "n0.conv2d", "\ud800", "__metadata__"]
    ),
    st.lists(NUMBERS, max_size=5),
    st.builds(dict),
    st.builds(lambda: [[]]),
)


def check_what_a_file_claims(data: st.DataObject) -> None:
    """Each field set to, swapped with or deleted for another, bytes flipped, the file cut; then what is left runs."""
    draw = data.draw
    header, graph, tensors = parts(dumps(every_op()))
    del header["__metadata__"]["hdlif"]
    tree = {"header": header, "graph": graph}
    for _ in range(draw(st.integers(0, 3))):
        paths = list(places(tree))
        *parent, key = draw(st.sampled_from(paths))
        kind = draw(st.sampled_from(["set", "set", "copy", "delete", "insert"]))
        target = at(tree, tuple(parent))
        if kind == "set":
            target[key] = draw(LIE)
        elif kind == "copy":
            target[key] = json.loads(json.dumps(at(tree, draw(st.sampled_from(paths)))))
        elif kind == "delete" and parent:
            del target[key]
        elif isinstance(target, list):
            target.insert(key, json.loads(json.dumps(at(tree, draw(st.sampled_from(paths))))))
    changed = bytearray(joined(tree["header"], tree["graph"], tensors))
    for position in draw(st.lists(st.integers(0, len(changed) - 1), max_size=2)):
        changed[position] ^= 1 << draw(st.integers(0, 7))
    changed = changed[: len(changed) - draw(st.sampled_from([0, 0, 0, 1, 100]))]
    with contextlib.suppress(ArtefactError):
        # with a digest to fit, for a liar has one
        read = loads(signed(bytes(changed)), "lies")
        assert_equal(loads(dumps(read), "again"), read)
        if sum(math.prod(value.shape) for value in infer_values(read).values()) < 10_000:
            Session(read, 1).run(np.ones((1, 1, *read.input.shape), np.float32), 2)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_file_claims_it_is_a_checked_graph_or_an_artefact_error(data: st.DataObject) -> None:
    check_what_a_file_claims(data)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_more_random_files_are_read_or_refused(data: st.DataObject) -> None:
    check_what_a_file_claims(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtefactError):
        loads(content, "noise")
