"""Files that ask for too much, nest too deep or are no files: refused soon, by one printable line."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from c_networks import fresh
from cases import every
from deployed_graphs import residual_network, tiny_network
from hdlif.errors import AllocationError, ArtefactError
from hdlif.graph.artefact import dumps, infer_values, is_artefact, load, loads
from hdlif.graph.artefact.files import MAX_FILE_BYTES, MAX_HEADER_BYTES
from hdlif.graph.ops.graph import MAX_NODES
from hdlif.runtime import Session
from model_files import rewritten

LONGEST_MESSAGE = 1000


def assert_refused(call: Callable[[], object], name: str) -> str:
    with pytest.raises(ArtefactError) as refused:
        call()
    message = str(refused.value)
    assert message.startswith(f"{name}: ")
    assert message.isprintable()
    assert len(message) <= len(name) + LONGEST_MESSAGE + 10
    return message


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def socket_file(folder: Path) -> Path:
    # a path of a socket has at most 100 bytes
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(folder)
        made.bind("socket")
        os.chdir(before)
    return folder / "socket"


def too_long(folder: Path) -> Path:
    with (folder / "long").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    return folder / "long"


def link_to_itself(folder: Path) -> Path:
    (folder / "link").symlink_to("link")
    return folder / "link"


PATHS: dict[str, Callable[[Path], Path | str]] = {
    "absent": lambda folder: folder / "absent",
    "folder": lambda folder: folder,
    "pipe": fifo,
    "socket": socket_file,
    "zeros": lambda folder: "/dev/zero",
    "random": lambda folder: "/dev/urandom",
    "terminal": lambda folder: "/dev/tty",
    "null": lambda folder: "/dev/null",
    "too long": too_long,
    "link to itself": link_to_itself,
    "no path": lambda folder: f"{folder}/a\0b",
    "long name": lambda folder: folder / ("a" * 300),
    "control characters": lambda folder: folder / "a\n\x1b[31mb",
    "surrogate": lambda folder: folder / "a\udc80\ud800",
    "empty": lambda folder: "",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")
@every(make=PATHS)
def test_what_is_no_regular_file_is_refused_at_once(make: Callable[[Path], Path | str], tmp_path: Path) -> None:
    path = make(fresh(tmp_path))
    with pytest.raises(ArtefactError) as refused:
        load(path)
    assert str(refused.value).isprintable()
    with pytest.raises(ArtefactError):
        Session(path)
    if path:
        assert not is_artefact(Path(path))


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


def test_memory_that_is_not_granted_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(content: bytes) -> None:
        raise MemoryError

    content = dumps(residual_network())
    monkeypatch.setattr(safetensors.numpy, "load", refuse)
    with pytest.raises(AllocationError, match="hostile: "):
        loads(content, "hostile")
