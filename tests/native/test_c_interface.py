"""The C interface gives the bits of `hdlif.Session`, and refuses what Python refuses, by codes and texts."""

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import sys
from ctypes import byref, c_double, c_int64, c_void_p
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from c_interface import (
    ARGUMENT,
    ARTEFACT,
    FILE,
    INTERRUPTED,
    LIMIT,
    OF_THE_EXTENSION,
    STATE,
    CallError,
    Floats,
    GoOn,
    Network,
    floats,
)
from cases import every, naming
from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams, u_net
from hdlif._native import instruction_sets
from hdlif.graph.artefact import INPUT, Graph, dumps, load
from hdlif.graph.ops import OPS
from hdlif.runtime import Session, normalise
from one_op import of_one_op
from runtime.test_random_graphs import finite, graphs

FILES = (Path(__file__).parents[1] / "graph/artefact").glob("*.safetensors")
GRAPHS = {
    "tiny": tiny_network(),
    "residual": residual_network(),
    "maps": u_net(),
    "int4": two_streams(encoding="int4"),
    **{op: of_one_op(op) for op in OPS},
    **{path.name: load(path) for path in FILES},
}


def network(graph: Graph, **options: object) -> Network:
    return OF_THE_EXTENSION.network(dumps(graph), **options)


def assert_same_bits(graph: Graph, **options: object) -> None:
    session, opened = Session(graph, 1), network(graph, **options)
    for steps, batch in ((2, 3), (17, 1)):
        x = random_input(graph, steps, batch, seed=steps)
        for frames in (x, x[:1]):
            np.testing.assert_array_equal(finite(opened.run(frames, steps)), finite(session.run(frames, steps)))
    frames = random_input(graph, 20, 1)
    expected = session.run(frames)
    frames = np.ascontiguousarray(frames[:, 0])
    stream = opened.stream()
    for begin, end in ((0, 1), (1, 2), (2, 9), (9, 20)):
        np.testing.assert_array_equal(finite(stream.run(frames[begin:end])), finite(expected[begin:end, 0]))


@every(graph=GRAPHS)
def test_every_op_gives_the_bits_of_the_session(graph: Graph) -> None:
    assert_same_bits(graph)


@settings(max_examples=15)
@given(graph=graphs())
def test_random_graphs_give_the_bits_of_the_session(graph: Graph) -> None:
    assert_same_bits(graph)


@every(instructions=instruction_sets(), threads=[1, 2])
def test_instructions_and_threads_change_no_bit(instructions: str, threads: int) -> None:
    assert_same_bits(residual_network(width=17), threads=threads, instructions=instructions.encode())
    opened = network(tiny_network(), instructions=instructions.encode())
    assert opened.ask("instructions") == instructions.encode()
    sets = [OF_THE_EXTENSION.instruction_set(i) for i in range(len(instruction_sets()) + 1)]
    assert sets == [*(name.encode() for name in instruction_sets()), None]


def test_what_is_known_of_a_network() -> None:
    graph = two_streams()
    opened, session = network(graph), Session(graph, 1)
    assert opened.ask("time_steps") == graph.time_steps
    assert opened.shape("input_shape") == graph.input.shape
    assert opened.ask("input_kind") == b"image"
    assert opened.labels() == list(graph.labels)
    assert opened.ask("label", -1) is None
    assert opened.ask("label", len(graph.labels)) is None
    assert opened.ask("weight_bytes") == session.weight_bytes
    names = [opened.ask("value_name", i).decode() for i in range(opened.ask("values"))]
    assert names == [INPUT, *(node.name for node in graph.nodes)]
    shapes = dict(zip(names, (opened.shape("value_shape", i) for i in range(len(names))), strict=True))
    values = session.values(random_input(graph, 1, 1))
    assert shapes == {name: (*value.shape[2:], 1, 1)[:3] for name, value in values.items()}
    assert opened.shape("value_shape", len(names)) == (0, 0, 0)
    length = ctypes.c_size_t()
    text = ctypes.string_at(opened.ask("graph", byref(length)), length.value)
    assert text in dumps(graph).replace(b'\\"', b'"')
    bytes_, operations = c_int64(), c_double()
    opened.call("cost", 1, 3, 4, byref(bytes_), byref(operations))
    assert (bytes_.value, int(operations.value)) == session._cost(3, 4, True, False, True)


def test_every_value_of_a_run() -> None:
    graph = two_streams()
    opened, session = network(graph), Session(graph, 1)
    x = random_input(graph, 3, 2)
    expected = session.values(x)
    arrays = [np.empty(value.shape, np.float32) for value in expected.values()]
    skipped = 2
    pointers = (Floats * len(arrays))(*(floats(array) for array in arrays))
    pointers[skipped] = Floats()
    logits = np.empty((3, 2, len(graph.labels)), np.float32)
    opened.call("run_values", floats(x), 3, 2, 3, floats(logits), pointers)
    np.testing.assert_array_equal(logits, session.run(x))
    for i, (array, value) in enumerate(zip(arrays, expected.values(), strict=True)):
        if i != skipped:
            np.testing.assert_array_equal(array, value.astype(np.float32))


@every(kind=["image", "events"])
def test_normalised_inputs_have_the_bits_of_python(kind: str) -> None:
    graph = residual_network()
    record = type(graph.input)((3, 9, 7), (0.1, 0.45, 0.3), (0.2, 0.07, 1.3), kind=kind)
    graph = Graph(graph.nodes, graph.output, graph.time_steps, record, graph.labels)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 7)).astype(np.float32)
    found = pixels.copy()
    network(graph).call("normalise", floats(found), len(found), floats(found))
    np.testing.assert_array_equal(found, normalise(pixels, record))


def series_network() -> Graph:
    """All its values are single pixels, so that delays are frames that lie in the runtime."""
    b = Builder((3, 1, 1), 5, 0)
    x = b.hd_lif(b.conv(INPUT, 6, kernel=(1, 1), padding=(0, 0), encoding="float32"))
    late = b.delay(x)
    b.lead_back(late, x)
    y = b.hd_lif(b.add("add", x, late))
    return b.graph(b.quantise(y))


@every(graph=[residual_network(), of_one_op("delay"), series_network()])
def test_a_state_is_a_value_of_bytes_that_python_knows(graph: Graph) -> None:
    content = dumps(graph)
    opened, session = OF_THE_EXTENSION.network(content), Session(graph, 1)
    frames = random_input(graph, 12, 1)
    expected, state = [], None
    for frame in frames[:5]:
        logits, state = session.step(frame, state)
        expected.append(logits[0])
    assert state is not None
    stream, other = opened.stream(), opened.stream()
    np.testing.assert_array_equal(stream.run(np.ascontiguousarray(frames[:5, 0])), expected)
    saved = stream.save()
    t, values = state.pop("t"), b"".join(np.ascontiguousarray(value).tobytes() for value in state.values())
    sums = np.zeros(len(graph.labels), np.float32)
    for logits in expected:
        sums += logits
    body = b"HDLIFST\2" + bytes.fromhex(session.digest) + struct.pack("<q", int(t)) + sums.tobytes() + values
    assert saved == body + hashlib.sha256(body).digest()
    assert session.digest.encode() in content
    assert [opened.ask("state_name", i).decode() for i in range(len(state))] == list(state)
    assert opened.ask("state_name", len(state)) is None
    shapes = [opened.shape("state_shape", i) for i in range(len(state))]
    assert shapes == [(*value.shape[1:], 1, 1)[:3] for value in state.values()]

    rest = np.ascontiguousarray(frames[5:, 0])
    goes_on = stream.run(rest)
    other.run(rest[:3])
    other.load(saved)
    assert (stream.steps(), other.steps()) == (12, 5)
    np.testing.assert_array_equal(other.run(rest), goes_on)
    assert other.save() == stream.save()
    other.call("reset")
    assert other.steps() == 0
    np.testing.assert_array_equal(other.run(np.ascontiguousarray(frames[:5, 0])), expected)


def refused(call: object, *arguments: object) -> CallError:
    with pytest.raises(CallError) as caught:
        call(*arguments)  # type: ignore[operator]
    text = str(caught.value)
    assert text.isprintable(), text
    assert 0 < len(text.encode()) <= 1000
    return caught.value


def test_bytes_that_are_no_state_are_refused_and_change_nothing() -> None:
    opened = network(residual_network())
    stream = opened.stream()
    frame = random_input(residual_network(), 1, 1)[0]
    stream.run(frame)
    saved = stream.save()
    foreign = network(residual_network(seed=1)).stream().save()
    negative = saved[:40] + struct.pack("<q", -1) + saved[48:-32]
    negative += hashlib.sha256(negative).digest()
    # Every changed byte and length: tests/runtime/test_going_on.py.
    for state in (b"", saved[:-1], saved + b"\0", foreign, negative):
        assert refused(stream.load, state).status == STATE
        assert stream.save() == saved
    assert refused(stream.call, "save", ctypes.create_string_buffer(8), 8).status == ARGUMENT


def test_arguments_are_checked() -> None:
    graph = tiny_network()
    opened = network(graph)
    x, logits = random_input(graph, 3, 2), np.empty((3, 2, 7), np.float32)
    for arguments in (
        (None, 3, 2, 3, floats(logits)),
        (floats(x), 3, 2, 3, None),
        (floats(x), 3, 0, 3, floats(logits)),
        (floats(x), 1, 2**20 + 1, 1, floats(logits)),
        (floats(x), 1, 2, 0, floats(logits)),
        (floats(x), 1, 2, -3, floats(logits)),
        (floats(x), 1, 2**20, 2**13, floats(logits)),
        (floats(x), 2, 2, 3, floats(logits)),
    ):
        with naming(arguments):
            assert refused(opened.call, "run", *arguments).status == ARGUMENT
    for options in (
        {"threads": 257},
        {"threads": -1},
        {"instructions": b"abacus"},
        {"max_bytes": -1},
        {"size": 4},
        {"size": 4096},
    ):
        with naming(options):
            assert refused(partial(network, graph, **options)).status == ARGUMENT
    handle = c_void_p()
    assert refused(OF_THE_EXTENSION.call, "open", None, 0, None, byref(handle)).status == ARGUMENT
    assert refused(OF_THE_EXTENSION.call, "open", b"", 0, None, None).status == ARGUMENT
    handle.value = 1
    assert refused(OF_THE_EXTENSION.call, "open_file", None, None, byref(handle)).status == ARGUMENT
    assert handle.value is None
    assert refused(OF_THE_EXTENSION.call, "stream_open", None, byref(handle)).status == ARGUMENT
    assert refused(opened.stream().call, "run", None, 1, floats(logits)).status == ARGUMENT
    assert refused(opened.stream().call, "run", floats(x), 0, floats(logits)).status == ARGUMENT
    OF_THE_EXTENSION.close(None)
    OF_THE_EXTENSION.stream_close(None)


def test_a_file_is_opened_by_its_path(tmp_path: Path) -> None:
    handle = c_void_p()
    path = tmp_path / "tiny.hdlif.safetensors"
    path.write_bytes(dumps(tiny_network()))
    OF_THE_EXTENSION.call("open_file", bytes(path), None, byref(handle))
    assert OF_THE_EXTENSION.time_steps(handle) == 2
    OF_THE_EXTENSION.close(handle)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for other in (tmp_path, pipe, tmp_path / "absent", tmp_path / "a\nb"):
        error = refused(OF_THE_EXTENSION.call, "open_file", bytes(other), None, byref(handle))
        assert error.status == FILE
        assert handle.value is None
    path.write_bytes(b"no artefact")
    error = refused(OF_THE_EXTENSION.call, "open_file", bytes(path), None, byref(handle))
    assert error.status == ARTEFACT
    assert str(error).startswith(f"{path}: ")


REPLACES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* As if another program put a FIFO where a file was when it was looked at. */
int stat(const char *path, struct stat *status)
{
    int (*found)(const char *, struct stat *) = (int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "stat");
    const int result = found(path, status);
    if (getenv("FIFO") != NULL)
        rename(getenv("FIFO"), path);
    return result;
}
"""
OPENS = """
import sys
from ctypes import byref, c_void_p
from c_interface import FILE, OF_THE_EXTENSION, CallError
import os
path, os.environ["FIFO"] = sys.argv[1:]
try:
    OF_THE_EXTENSION.call("open_file", path.encode(), None, byref(c_void_p()))
except CallError as error:
    sys.exit(0 if error.status == FILE and "is not a regular file" in str(error) else str(error))
sys.exit("it was opened")
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs LD_PRELOAD and a C compiler")
def test_a_fifo_that_takes_the_place_of_a_file_while_it_is_opened_is_refused(tmp_path: Path) -> None:
    path, pipe, code, replacing = (tmp_path / name for name in ("tiny.safetensors", "pipe", "r.c", "r.so"))
    path.write_bytes(dumps(tiny_network()))
    os.mkfifo(pipe)
    code.write_text(REPLACES)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(replacing), str(code), "-ldl"], check=True)
    command = [sys.executable, "-c", OPENS, str(path), str(pipe)]
    surroundings = {**os.environ, "LD_PRELOAD": str(replacing), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=surroundings, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert not pipe.exists()


def test_limits_hold() -> None:
    graph = residual_network()
    for limits in ({"max_bytes": 100}, {"max_bytes": 20_000}, {"max_operations": 10}):
        assert refused(partial(network, graph, **limits)).status == LIMIT
    session = Session(graph, 1)
    bytes_, operations = session._cost(1, graph.time_steps, True, False, True)
    opened = network(graph, max_bytes=bytes_ + 1, max_operations=operations + 1)
    opened.run(random_input(graph, 1, 1), graph.time_steps)
    assert refused(opened.run, random_input(graph, 1, 4), graph.time_steps).status == LIMIT
    frames = np.zeros((1000, *graph.input.shape), np.float32)
    refusing = network(graph, max_operations=operations + 1).stream()
    assert refused(refusing.run, frames).status == LIMIT


def test_what_a_caller_stops_ends_and_loses_the_stream_alone() -> None:
    b = Builder((8, 64, 64), 1, 0)
    x = INPUT
    for _ in range(4):
        x = b.hd_lif(b.conv(x, 64, encoding="float32"))
    graph = b.graph(b.add("global_sum_pool", x))
    asked, answer = [], [0]

    @GoOn
    def go_on(context: object) -> int:
        asked.append(context)
        return answer[0]

    opened = network(graph, go_on=go_on, context=7)
    frames = np.ones((200, 1, *graph.input.shape), np.float32)
    assert refused(opened.run, frames, len(frames)).status == INTERRUPTED
    assert asked == [7]
    stream = opened.stream()
    assert refused(stream.run, np.ascontiguousarray(frames[:, 0])).status == INTERRUPTED
    assert stream.steps() == -1
    assert refused(stream.run, frames[0]).status == STATE
    assert refused(stream.save).status == STATE
    # on a busy machine a single step may be asked about
    answer[0] = 1
    stream.call("reset")
    stream.run(frames[0])
    assert stream.steps() == 1
