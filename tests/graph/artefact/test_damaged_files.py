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

from cases import naming
from deployed_graphs import every_op, residual_network, tiny_network
from graph.artefact.test_io import assert_equal
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import dumps, infer_values, load, loads
from hdlif.runtime import Session
from model_files import GOLDEN, at, joined, parts, places, rewritten, signed
from mutations import assert_in_one_line


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


def test_every_flipped_bit_under_a_new_digest_gives_a_checked_graph_or_an_artefact_error() -> None:
    for damaged in flipped_bits(GOLDEN.read_bytes()):
        with contextlib.suppress(ArtefactError):
            dumps(loads(signed(damaged), "flipped"))


def test_rewriting_alone_changes_nothing() -> None:
    assert_equal(loads(rewritten(lambda header, graph: None), "x"), tiny_network())


def headed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


SPACED = headed(b" " * 8 + GOLDEN.read_bytes()[8:])
NO_HEADER = [b"", b"P5 8 8 255\n", headed(b" " * 8), headed(b"[]"), SPACED]
WRONG_HEADER = [b"{", b"{\xff", b'{"a":1,"a":2}', b'{"a":' + b"[" * 100_000, b'{"__metadata__":{"hdlif":1}}']


def test_what_has_no_header_of_safetensors_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.pgm"
    cases = [(content, "is not an artefact") for content in NO_HEADER]
    for content, said in [*cases, *((headed(header), "damaged") for header in WRONG_HEADER)]:
        path.write_bytes(content)
        with naming(content[:40]), pytest.raises(ArtefactError, match=f"^{path}: .*{said}"):
            load(path)


def test_what_only_the_library_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(content: bytes) -> None:
        raise safetensors.SafetensorError("HeaderTooLarge")

    monkeypatch.setattr(safetensors.numpy, "load", refuse)
    with pytest.raises(ArtefactError, match="HeaderTooLarge"):
        load(GOLDEN)


NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([127, 255, 256, 2**15, 2**30, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, -(2**31), 10**400]),
    st.floats(),
    st.sampled_from([0.5, 1e-40, 1e39, -0.0]),
)


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 1


# Wrong, or vast in one way or the other
LIE = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(
        ["", "input", "conv2d", "ternary", "int8", "F32", "U8", "hard", "n0.conv2d", "\ud800", "__metadata__"]
    ),
    st.sampled_from(["y" * 5000, "\x1b[2J\n", ["\0" * 500] * 500, {"k\n" * 300: 1}, nested(300), nested(900)]),
    st.sampled_from([[2**62, 0], [2**62, 0, 2**62, 2**62], [2**30, 2**30, 0], {str(i): i for i in range(3000)}]),
    st.lists(NUMBERS, max_size=5),
    st.builds(dict),
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
    try:
        # with a digest to fit, for a liar has one
        read = loads(signed(bytes(changed)), "lies")
    except ArtefactError as error:
        assert_in_one_line(error)
    else:
        assert_equal(loads(dumps(read), "again"), read)
        if sum(math.prod(value.shape) for value in infer_values(read).values()) < 10_000:
            Session(read, 1).run(np.ones((1, 1, *read.input.shape), np.float32), 2)


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_a_file_claims_it_is_a_checked_graph_or_an_artefact_error(data: st.DataObject) -> None:
    check_what_a_file_claims(data)


@pytest.mark.slow
@settings(max_examples=600)
@given(data=st.data())
def test_more_random_files_are_read_or_refused(data: st.DataObject) -> None:
    check_what_a_file_claims(data)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtefactError):
        loads(content, "noise")
