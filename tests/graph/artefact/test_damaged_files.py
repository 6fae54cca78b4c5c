"""Damaged model files: whatever the bytes are, a checked graph, or an error that begins with the file's name.

Fields that hold what they must not: test_fields.py; files of chance, by both readers: tests/native/test_texts.py.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import naming
from deployed_graphs import residual_network, tiny_network
from graph.artefact.test_io import assert_equal
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import dumps, load, loads
from model_files import GOLDEN, rewritten, signed


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


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtefactError):
        loads(content, "noise")
