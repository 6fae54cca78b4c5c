"""Damaged model files, and files that ask for too much, nest too deep or are none: refused in one printable line.

Fields that hold what they must not: test_fields.py; files of chance, by both readers: tests/native/test_reader.py.
"""

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from cases import every, naming
from deployed_graphs import residual_network, tiny_network
from hdlif.errors import AllocationError, ArtefactError
from hdlif.graph.artefact import dumps, infer_values, is_artefact, load, loads
from hdlif.graph.artefact.files import MAX_FILE_BYTES, MAX_HEADER_BYTES
from hdlif.graph.graph import MAX_NODES
from hdlif.runtime import Session
from model_files import GOLDEN, rewritten, signed
from special_files import special_files

LONGEST_MESSAGE = 1000


def assert_refused(call: Callable[[], object], name: str) -> str:
    with pytest.raises(ArtefactError) as refused:
        call()
    message = str(refused.value)
    assert message.startswith(f"{name}: ")
    assert message.isprintable()
    assert len(message) <= len(name) + LONGEST_MESSAGE + 10
    return message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    devices = ("/dev/zero", "/dev/urandom", "/dev/tty", "/dev/null")
    paths = *special_files(tmp_path, ".safetensors").values(), tmp_path / "absent", tmp_path / "large", *devices, ""
    for path in paths:
        with naming(path):
            with pytest.raises(ArtefactError) as refused:
                load(path)
            assert str(refused.value).isprintable()
            with pytest.raises(ArtefactError):
                Session(path)
            assert not path or not is_artefact(Path(path))


def test_a_file_that_is_no_artefact_after_a_promising_header(tmp_path: Path) -> None:
    path = tmp_path / "net"
    for start in (2**63, 2**40, MAX_HEADER_BYTES + 1):
        path.write_bytes(start.to_bytes(8, "little") + b"{" + b" " * 100)
        assert "header length" in assert_refused(lambda: load(path), str(path))
        assert not is_artefact(path)


def test_a_graph_of_too_many_nodes_is_refused() -> None:
    graph = tiny_network()
    nodes = [*graph.nodes, *[replace(graph.nodes[1], name=f"more{i}", inputs=("conv",)) for i in range(MAX_NODES - 2)]]
    with pytest.raises(ArtefactError, match=f"{MAX_NODES + 1} nodes"):
        infer_values(replace(graph, nodes=tuple(nodes)))

    def change(header: dict[str, Any], graph: dict[str, Any]) -> None:
        graph["nodes"] = [0] * 10**6

    message = assert_refused(lambda: loads(rewritten(change), "hostile"), "hostile")
    assert "the graph has 1000000 nodes" in message


@every(name=["a\nb", "\x1b[31m", "\u202e", "x" * 5000, "", " ", "\0"])
def test_names_of_nodes_reach_no_message_unescaped(name: str) -> None:
    def change(header: dict[str, Any], graph: dict[str, Any]) -> None:
        graph["nodes"][1]["name"] = name
        graph["nodes"][1]["op"] = name

    assert_refused(lambda: loads(rewritten(change), "hostile"), "hostile")


@every("error", "expected", of=[(MemoryError, AllocationError), (safetensors.SafetensorError, ArtefactError)])
def test_errors_of_the_library_and_memory_that_is_not_granted_are_ours(
    error: type[Exception], expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(content: bytes) -> None:
        raise error("HeaderTooLarge")

    monkeypatch.setattr(safetensors.numpy, "load", refuse)
    with pytest.raises(expected, match="hostile: "):
        loads(dumps(residual_network()), "hostile")


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


def test_every_flipped_bit_is_refused_and_under_a_new_digest_gives_a_checked_graph_or_an_artefact_error() -> None:
    content = GOLDEN.read_bytes()
    for position, bit in itertools.product(range(len(content)), range(8)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        with pytest.raises(ArtefactError, match=r"^flipped: "):
            loads(bytes(damaged), "flipped")
        with contextlib.suppress(ArtefactError):
            dumps(loads(signed(bytes(damaged)), "flipped"))


def headed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


SPACED = headed(b" " * 8 + GOLDEN.read_bytes()[8:])
NO_HEADER = [b"", b"P5 8 8 255\n", headed(b" " * 8), headed(b"[]"), SPACED]
WRONG_HEADER = [b"{", b"{\xff", b'{"a":1,"a":2}', b'{"a":' + b"[" * 100_000, b'{"__metadata__":{"hdlif":1}}']


def test_what_has_no_header_of_safetensors_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.pgm"
    cases = [(content, "is not a model file") for content in NO_HEADER]
    for content, said in [*cases, *((headed(header), "damaged") for header in WRONG_HEADER)]:
        path.write_bytes(content)
        with naming(content[:40]), pytest.raises(ArtefactError, match=f"^{path}: .*{said}"):
            load(path)
