"""The C interface gives the bits of `hdlif.Session`, and refuses what Python refuses, by codes and texts."""

import ctypes
import os
import random
import shutil
import struct
import subprocess
import sys
from ctypes import byref, c_double, c_int64, c_void_p
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
from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams
from hdlif._native import instruction_sets
from hdlif.errors import HdlifError
from hdlif.graph.artefact import INPUT, Graph, dumps, load, loads
from hdlif.graph.ops import OPS
from hdlif.runtime import Session, normalise
from one_op import of_one_op
from runtime.test_random_graphs import finite, graphs

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import fuzz_artefact

FILES = Path(__file__).parents[1] / "graph/artefact"
GRAPHS = {
    "tiny": tiny_network(),
    "residual": residual_network(),
    "int4": two_streams(encoding="int4"),
    **{op: of_one_op(op) for op in OPS},
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


@pytest.mark.parametrize("name", GRAPHS)
def test_every_op_gives_the_bits_of_the_session(name: str) -> None:
    assert_same_bits(GRAPHS[name])


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_random_graphs_give_the_bits_of_the_session(graph: Graph) -> None:
    assert_same_bits(graph)


@pytest.mark.parametrize("instructions", instruction_sets())
@pytest.mark.parametrize("threads", [1, 2])
def test_instructions_and_threads_change_no_bit(instructions: str, threads: int) -> None:
    assert_same_bits(residual_network(width=17), threads=threads, instructions=instructions.encode())
    opened = network(tiny_network(), instructions=instructions.encode())
    assert opened.ask("instructions") == instructions.encode()
    sets = [OF_THE_EXTENSION.instruction_set(i) for i in range(len(instruction_sets()) + 1)]
    assert sets == [*(name.encode() for name in instruction_sets()), None]


@pytest.mark.parametrize("path", sorted(FILES.glob("*.safetensors")), ids=lambda path: path.name.split(".")[0])
def test_shipped_files(path: Path) -> None:
    graph = load(path)
    opened = OF_THE_EXTENSION.network(path.read_bytes())
    x = random_input(graph, 3, 2)
    np.testing.assert_array_equal(opened.run(x, 3), Session(graph, 1).run(x))


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


@pytest.mark.parametrize("kind", ["image", "events"])
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


@pytest.mark.parametrize(
    "graph", [residual_network(), of_one_op("delay"), series_network()], ids=["maps", "delays", "series"]
)
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
    digest = bytes.fromhex(content[content.index(b"digest") + 11 :][:64].decode().strip('\\":'))
    assert saved == b"HDLIFST\1" + digest + struct.pack("<q", int(t)) + values
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
    negative = saved[:40] + struct.pack("<q", -1) + saved[48:]
    for state, said in (
        (b"", "no state"),
        (saved[:-1], "damaged"),
        (saved + b"\0", "damaged"),
        (b"X" + saved[1:], "no state"),
        (saved[:7] + b"\2" + saved[8:], "no state"),
        (foreign, "another artefact"),
        (negative, "damaged"),
    ):
        error = refused(stream.load, state)
        assert error.status == STATE
        assert said in str(error)
        assert stream.save() == saved
    assert refused(stream.call, "save", ctypes.create_string_buffer(8), 8).status == ARGUMENT


def test_arguments_are_checked() -> None:
    graph = tiny_network()
    opened = network(graph)
    x, logits = random_input(graph, 3, 2), np.empty((3, 2, 7), np.float32)
    for name, arguments in {
        "x is null": (None, 3, 2, 3, floats(logits)),
        "logits are null": (floats(x), 3, 2, 3, None),
        "no batch": (floats(x), 3, 0, 3, floats(logits)),
        "a large batch": (floats(x), 1, 2**20 + 1, 1, floats(logits)),
        "no steps": (floats(x), 1, 2, 0, floats(logits)),
        "negative steps": (floats(x), 1, 2, -3, floats(logits)),
        "many steps": (floats(x), 1, 2**20, 2**13, floats(logits)),
        "other steps": (floats(x), 2, 2, 3, floats(logits)),
    }.items():
        assert refused(opened.call, "run", *arguments).status == ARGUMENT, name
    for options, said in (
        ({"threads": 257}, "threads"),
        ({"threads": -1}, "threads"),
        ({"instructions": b"abacus"}, "abacus"),
        ({"max_bytes": -1}, "limits"),
        ({"size": 4}, "size"),
        ({"size": 4096}, "size"),
    ):
        error = refused(lambda options=options: network(graph, **options))
        assert error.status == ARGUMENT
        assert said in str(error)
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
    assert str(error).startswith(f"{path}: is not an artefact")


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
    sys.exit(0 if error.status == FILE and "is no regular file" in str(error) else str(error))
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
    error = refused(lambda: network(graph, max_bytes=100))
    assert error.status == LIMIT
    error = refused(lambda: network(graph, max_bytes=20_000))
    assert error.status == LIMIT
    assert "max_bytes" in str(error)
    assert refused(lambda: network(graph, max_operations=10)).status == LIMIT
    session = Session(graph, 1)
    bytes_, operations = session._cost(1, graph.time_steps, True, False, True)
    opened = network(graph, max_bytes=bytes_ + 1, max_operations=operations + 1)
    opened.run(random_input(graph, 1, 1), graph.time_steps)
    error = refused(opened.run, random_input(graph, 1, 4), graph.time_steps)
    assert error.status == LIMIT
    assert "operations" in str(error) or "bytes" in str(error)
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


def accepts(content: bytes) -> bool:
    """Whether Python reads and would run the file; the C interface does so too, or refuses it by a text of one line."""
    limits = {"max_bytes": fuzz_artefact.MAX_BYTES, "max_operations": fuzz_artefact.MAX_OPERATIONS}
    try:
        graph = loads(content, "file")
        session = Session(graph, 1, **limits)
        expected = True
    except HdlifError:
        expected = False
    opened, error = None, None
    try:
        opened = OF_THE_EXTENSION.network(content, **limits)
    except CallError as caught:
        error = caught
    assert (opened is not None) == expected, error or "the C interface takes what Python refuses"
    if opened is None:
        assert error is not None
        assert error.status in (ARTEFACT, LIMIT), error
        assert str(error).isprintable(), error
        assert 0 < len(str(error)) <= 1000
        return False
    x = random_input(graph, 2, 1)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(finite(opened.run(x, 2)), finite(session.run(x)))
    return True


def header_of(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:8], "little")
    return content[8 : 8 + length], content[8 + length :]


def with_header(header: bytes, tensors: bytes) -> bytes:
    return fuzz_artefact.signed(len(header).to_bytes(8, "little") + header + tensors)


TEXTS = {
    "as it is": (b'\\"format\\":5', b'\\"format\\":5', True),
    "spaces": (b'\\"format\\":5', b' \\"format\\" :\\n\\t5 ', True),
    "escapes": (b'\\"format\\":5', b'\\"\\\\u0066ormat\\":5', True),
    "escapes in the header": (b'"dtype":"F32"', b'"\\u0064type":"F\\u00332"', True),
    "a label of two surrogates": (b'\\"a\\"', b'\\"\\\\ud83d\\\\ude00\\"', True),
    "a real number": (b'\\"format\\":5', b'\\"format\\":5.0', False),
    "an exponent": (b'\\"time_steps\\":2', b'\\"time_steps\\":2e0', False),
    "a leading zero": (b'\\"time_steps\\":2', b'\\"time_steps\\":02', False),
    "a plus": (b'\\"time_steps\\":2', b'\\"time_steps\\":+2', False),
    "hexadecimal": (b'\\"time_steps\\":2', b'\\"time_steps\\":0x2', False),
    "no digit behind the point": (b'\\"mean\\":[0.5]', b'\\"mean\\":[0.]', False),
    "no digit before the point": (b'\\"mean\\":[0.5]', b'\\"mean\\":[.5]', False),
    "NaN": (b'\\"mean\\":[0.5]', b'\\"mean\\":[NaN]', False),
    "infinity": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-Infinity]', False),
    "a number beyond doubles": (b'\\"mean\\":[0.5]', b'\\"mean\\":[1e999]', False),
    "a number beyond floats": (b'\\"mean\\":[0.5]', b'\\"mean\\":[3.5e38]', False),
    "a number below doubles": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-1e-999]', True),
    "the largest float": (b'\\"mean\\":[0.5]', b'\\"mean\\":[3.4028234663852886e38]', True),
    "an integer for a number": (b'\\"mean\\":[0.5]', b'\\"mean\\":[-1]', True),
    "an integer beyond 64 bits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[100000000000000000000]', True),
    "1000 digits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[' + b"1" * 1000 + b"]", False),
    "1001 digits": (b'\\"mean\\":[0.5]', b'\\"mean\\":[' + b"1" * 1001 + b"]", False),
    "steps beyond 64 bits": (b'\\"time_steps\\":2', b'\\"time_steps\\":18446744073709551618', False),
    "true for 1": (b'\\"stride\\":[1,1]', b'\\"stride\\":[true,1]', False),
    "a deviation of 0": (b'\\"std\\":[0.25]', b'\\"std\\":[0]', False),
    "a key twice": (b'\\"format\\":5', b'\\"format\\":5,\\"format\\":5', False),
    "a key twice by an escape": (b'\\"format\\":5', b'\\"format\\":5,\\"\\\\u0066ormat\\":5', False),
    "a tensor twice": (
        b'"conv.weight":{',
        b'"conv.weight":{"dtype":"U8","shape":[2],"data_offsets":[12,14]},"conv.weight":{',
        False,
    ),
    "a comma at the end": (b'\\"mean\\":[0.5]', b'\\"mean\\":[0.5,]', False),
    "no comma": (b'\\"stride\\":[1,1]', b'\\"stride\\":[1 1]', False),
    "single quotes": (b'\\"format\\":5', b"'format':5", False),
    "a comment": (b'\\"format\\":5', b'\\"format\\":5/**/', False),
    "an unknown escape": (b'\\"a\\"', b'\\"\\\\x61\\"', False),
    "half an escape": (b'\\"a\\"', b'\\"\\\\u00\\"', False),
    "a control character": (b'\\"a\\"', b'\\"\\u0001\\"', False),
    "a line break in a string": (b'\\"a\\"', b'\\"\\n\\"', False),
    "half a surrogate pair": (b'\\"a\\"', b'\\"\\\\ud83d\\"', False),
    "the other half": (b'\\"a\\"', b'\\"\\\\ude00\\\\ud83d\\"', False),
    "a surrogate in UTF-8": (b'\\"a\\"', b'\\"\xed\xa0\xbd\\"', False),
    "an overlong form": (b'\\"a\\"', b'\\"\xc1\xa1\\"', False),
    "a cut code point": (b'\\"a\\"', b'\\"\xe2\x82\\"', False),
    "beyond Unicode": (b'\\"a\\"', b'\\"\xf4\x90\x80\x80\\"', False),
    "a label in UTF-8": (b'\\"a\\"', b'\\"\xf0\x9f\x98\x80 \xc3\xa9\\"', True),
    "a kind that is not printable": (b'\\"kind\\":\\"HDLIF\\"', b'\\"kind\\":\\"\xe2\x80\xae\\"', False),
    "lists in lists": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b"[" * 500 + b"]" * 500, False),
    "very many lists in lists": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b"[" * 100_000, False),
    "objects in objects": (b'\\"mean\\":[0.5]', b'\\"mean\\":' + b'{\\"a\\":' * 5000 + b"1" + b"}" * 5000, False),
    "no end": (b'\\"time_steps\\":2}', b'\\"time_steps\\":2', False),
    "something behind": (b'\\"time_steps\\":2}', b'\\"time_steps\\":2} 1', False),
    "null": (b'\\"labels\\":[', b'\\"labels\\":[null,', False),
    "an unknown key": (b'\\"format\\":5', b'\\"format\\":5,\\"more\\":1', False),
    "an unknown key of a node": (b'\\"inputs\\":[\\"input\\"]', b'\\"inputs\\":[\\"input\\"],\\"more\\":1', False),
    "an unknown attribute": (b'\\"role\\":\\"body\\"', b'\\"role\\":\\"body\\",\\"more\\":1', False),
    "an optional attribute": (b'\\"role\\":\\"body\\"', b'\\"role\\":\\"body\\",\\"dilation\\":[1,1]', True),
    "another format": (b'\\"format\\":5', b'\\"format\\":6', False),
    "other metadata": (b'{"hdlif":', b'{"more":"","hdlif":', False),
    "an offset beyond 64 bits": (b"[12,14]", b"[12,18446744073709551630]", False),
    "a negative offset": (b"[12,14]", b"[-2,0]", False),
    "offsets that overlap": (b"[12,14]", b"[11,13]", False),
    "offsets with a gap": (b"[12,14]", b"[13,15]", False),
    "a shape whose product overflows": (b'"shape":[2,1]', b'"shape":[4294967296,4294967297]', False),
    "another dtype": (b'"dtype":"U8"', b'"dtype":"I8"', False),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_a_header_are_taken_as_python_takes_them(name: str) -> None:
    old, new, is_fine = TEXTS[name]
    header, tensors = header_of((FILES / "tiny.hdlif.safetensors").read_bytes())
    assert old in header
    assert accepts(with_header(header.replace(old, new, 1), tensors)) == is_fine


def test_fills_and_codes_of_packed_weights_are_checked() -> None:
    content = bytearray((FILES / "tiny.hdlif.safetensors").read_bytes())
    assert content[-2:] == b"\x9c\x06"
    for packed, is_fine in ((b"\x9c\x06", True), (b"\x9c\x09", False), (b"\xf3\x06", False), (b"\xf2\x08", True)):
        content[-2:] = packed
        assert accepts(fuzz_artefact.signed(bytes(content))) == is_fine
    for encoding in ("binary", "int2", "int4"):
        b = Builder((3, 1, 1), 1, 0)
        whole = dumps(b.graph(b.linear(b.add("flatten", INPUT), 3, encoding=encoding)))
        # nine weights leave bits of the last byte, which is the file's
        assert accepts(whole)
        assert not accepts(fuzz_artefact.signed(whole[:-1] + bytes([whole[-1] | 0x80])))


def test_every_truncation_is_refused() -> None:
    content = (FILES / "tiny.hdlif.safetensors").read_bytes()
    for length in range(len(content)):
        assert not accepts(content[:length])
    assert not accepts(content + b"\0")


def test_no_changed_byte_runs_unnoticed() -> None:
    content = (FILES / "tiny.hdlif.safetensors").read_bytes()
    draw = random.Random(0)
    for at in range(0, len(content), 3):
        assert not accepts(content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :])


def compare(count: int, seed: int) -> int:
    """Mutations of what fuzzing begins with, several on top of each other; how many both readers take."""
    draw, seeds, taken = random.Random(seed), list(fuzz_artefact.seeds()), 0
    for _ in range(count):
        content = draw.choice(seeds)
        for _ in range(draw.choice((1, 1, 2, 3))):
            content = fuzz_artefact.mutate(content, draw)
        taken += accepts(fuzz_artefact.signed(content))
    return taken


def test_what_python_refuses_the_c_interface_refuses_and_the_other_way_round() -> None:
    assert 20 < compare(300, seed=0) < 280


@pytest.mark.slow
def test_the_same_of_many_more() -> None:
    assert compare(10_000, seed=1) > 1000
