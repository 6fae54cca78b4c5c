"""Model files are read alike through the C interface and by Python; the arrays of a native run are checked."""

import contextlib
import ctypes
import platform
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c_interface import ARTEFACT, LIMIT, OF_THE_EXTENSION, CallError
from cases import every, naming
from deployed_graphs import Builder, every_op, random_input, tiny_network
from hdlif._native import Network, check_artefact, instruction_sets
from hdlif.errors import ArtefactError, HdlifError
from hdlif.graph.artefact import INPUT, Graph, TaskRecord, dumps, loads
from hdlif.graph.ops import OPS
from hdlif.runtime import Session
from hostile import one_printable_line
from model_files import GOLDEN, rewritten, signed
from one_op import of_one_op
from runtime.test_random_graphs import finite

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import fuzz_artefact


def accepts(content: bytes) -> bool:
    """Whether Python reads and would run the file; the C interface does so too, or refuses it by a text of one line."""
    limits = {"max_bytes": fuzz_artefact.MAX_BYTES, "max_operations": fuzz_artefact.MAX_OPERATIONS}
    try:
        graph = loads(content, "file")
        session = Session(graph, 1, **limits)
        expected = True
    except HdlifError as caught:
        expected = False
        one_printable_line(caught)
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
    return signed(len(header).to_bytes(8, "little") + header + tensors)


TEXTS: list[tuple[bytes, list[bytes], list[bytes]]] = [
    (
        rb"\"format\":5",
        [rb"\"format\":5", rb" \"format\" :\n\t5 ", rb"\"\\u0066ormat\":5"],
        # a real number, a key twice, and by an escape, single quotes, and a comment
        [
            rb"\"format\":5.0",
            rb"\"format\":5,\"format\":5",
            rb"\"format\":5,\"\\u0066ormat\":5",
            b"'format':5",
            rb"\"format\":5/**/",
        ],
    ),
    (
        rb"\"time_steps\":2}",
        [],
        [
            rb"\"time_steps\":" + end
            for end in (b"2e0}", b"02}", b"+2}", b"0x2}", b"18446744073709551618}", b"2", b"2} 1")
        ],
    ),
    (
        rb"\"mean\":[0.5]",
        [
            rb"\"mean\":[%s]" % number
            for number in (b"-1e-999", b"3.4028234663852886e38", b"-1", b"100000000000000000000")
        ],
        [
            rb"\"mean\":[%s]" % number
            for number in (
                *(b"0.", b".5", b"NaN", b"-Infinity", b"1e999", b"3.5e38", b"0.5,"),
                *(b"1" * 1000, b"1" * 1001, b"1" * 5000 + b".5"),
                *(b"[" * 500 + b"]" * 500, b"[" * 100_000, rb"{\"a\":" * 5000 + b"1" + b"}" * 5000),
            )
        ],
    ),
    (rb"\"stride\":[1,1]", [], [rb"\"stride\":[true,1]", rb"\"stride\":[1 1]"]),
    (
        rb"\"a\"",
        # two surrogates, and UTF-8
        [rb"\"\\ud83d\\ude00\"", b'\\"\xf0\x9f\x98\x80 \xc3\xa9\\"'],
        # no escape, half of one, control characters, and half a pair of surrogates
        [
            *(rb"\"\\x61\"", rb"\"\\u00\"", rb"\"\u0001\"", rb"\"\n\"", rb"\"\\ud83d\"", rb"\"\\ude00\\ud83d\""),
            # a surrogate in UTF-8, an overlong form, a cut code point, and one beyond Unicode
            *(b'\\"\xed\xa0\xbd\\"', b'\\"\xc1\xa1\\"', b'\\"\xe2\x82\\"', b'\\"\xf4\x90\x80\x80\\"'),
        ],
    ),
    # what is not printable
    (rb"\"kind\":\"HDLIF\"", [], [b'\\"kind\\":\\"\xe2\x80\xae\\"']),
    (
        rb"\"labels\":[",
        [],
        [rb"\"labels\":[" + begin for begin in (b"-" + b"7" * 2_000_000 + b",", b"1," * 100_000, b"null,")],
    ),
    (rb"\"output\":\"", [], [rb"\"output\":\"" + b"x" * 100_000]),
    (rb"\"inputs\":[\"input\"]", [], [rb"\"inputs\":[\"input\"],\"more\":1"]),
    (rb"\"role\":\"body\"", [rb"\"role\":\"body\",\"dilation\":[1,1]"], [rb"\"role\":\"body\",\"more\":1"]),
    # of the header itself
    (b'"dtype":"F32"', [rb'"\u0064type":"F\u00332"'], []),
    (b'"conv.weight":{', [], [b'"conv.weight":{"dtype":"U8","shape":[2],"data_offsets":[12,14]},"conv.weight":{']),
    (b"[12,14]", [], [b"[12,18446744073709551630]", b"[-2,0]", b"[11,13]", b"[13,15]"]),
    (b'"shape":[2,1]', [], [b'"shape":[4294967296,4294967297]']),
]
"""Texts of the golden file, and in place of each what is as good and what is refused."""


@every("old", "fine", "refused", of=TEXTS)
def test_texts_of_a_header_are_taken_as_python_takes_them(old: bytes, fine: list[bytes], refused: list[bytes]) -> None:
    header, tensors = header_of(GOLDEN.read_bytes())
    assert old in header
    for new in (*fine, *refused):
        with naming(new[:60]):
            assert accepts(with_header(header.replace(old, new, 1), tensors)) == (new in fine)


def compare(count: int, seed: int) -> int:
    """Mutations of what fuzzing begins with, several on top of each other; how many both readers take."""
    draw, seeds, taken = random.Random(seed), list(fuzz_artefact.seeds()), 0
    for _ in range(count):
        content = draw.choice(seeds)
        for _ in range(draw.choice((1, 1, 2, 3))):
            content = fuzz_artefact.mutate(content, draw)
        taken += accepts(signed(content))
    return taken


def test_what_python_refuses_the_c_interface_refuses_and_the_other_way_round() -> None:
    assert 20 < compare(300, seed=0) < 280


@pytest.mark.slow
def test_the_same_of_many_more() -> None:
    assert compare(10_000, seed=1) > 1000


def network(content: bytes, threads: int = 1) -> Network:
    return Network(content, threads, instruction_sets()[-1])


def test_arrays_of_a_run_are_checked() -> None:
    opened = network(dumps(tiny_network()))
    x, logits = np.zeros((1, 3, 1, 2, 2), np.float32), np.empty((2, 3, 7), np.float32)
    potential = np.zeros((3, 2, 2, 7), np.float32)
    opened.run(x, 2, 0, [potential], logits)
    for arguments in [
        (x[:, :, :, :1], 2, 0, [potential], logits),
        (x[:, :0], 2, 0, [potential[:0]], logits[:, :0]),
        (x, 0, 0, [potential], logits[:0]),
        (x, 3, 0, [potential], logits),
        (x, 2, -1, [potential], logits),
        (x, 2, 0, [], logits),
        (x, 2, 0, [potential[:2]], logits),
        (x, 2, 0, [potential], logits[:1]),
    ]:
        with pytest.raises((ValueError, TypeError)):
            opened.run(*arguments)
    # a converted copy would swallow the results
    for arguments in [
        (x.astype(np.float64), 2, 0, [potential], logits),
        (x, 2, 0, [potential.astype(np.float64)], logits),
        (x, 2, 0, [np.asfortranarray(potential)], logits),
        (x, 2, 0, [potential], logits.astype(np.float64)),
    ]:
        with pytest.raises(TypeError):
            opened.run(*arguments)
    # 2^30 steps of 2^20 images of 2^14 classes are 2^64 logits: none, counted in 64 bits
    b = Builder((1, 1, 1), 1, 0)
    logits_of_many = b.linear(b.add("flatten", INPUT), 2**14, encoding="binary")
    many = network(dumps(Graph(tuple(b.nodes), logits_of_many, 1, b.record(), ("",) * 2**14)))
    with pytest.raises(ValueError, match="steps: a batch takes at most"):
        many.run(np.zeros((1, 2**20, 1, 1, 1), np.float32), 2**30, 0, [], np.empty((0, 1, 1), np.float32))
    for values in ([], [logits] * 4):
        with pytest.raises(ValueError, match="values"):
            opened.run_values(x, 2, logits, values)
    for threads in (0, 257):
        with pytest.raises(ValueError, match="threads"):
            network(dumps(tiny_network()), threads=threads)


def changed(graph: Graph, draw: random.Random) -> Graph:
    """An attribute, an input, a tensor or the place of a node drawn anew."""
    nodes = list(graph.nodes)
    n = draw.randrange(len(nodes))
    node = nodes[n]
    match draw.randrange(4):
        case 0 if node.attributes:
            key = draw.choice(sorted(node.attributes))
            node = replace(node, attributes={**node.attributes, key: draw.choice(VALUES)})
        case 1:
            names = (INPUT, *(other.name for other in nodes))
            node = replace(node, inputs=tuple(draw.choice(names) for _ in range(draw.choice((1, 1, 2)))))
        case 2 if node.tensors:
            role = draw.choice(sorted(node.tensors))
            node = replace(node, tensors={**node.tensors, role: draw.choice(nodes).tensors.get(role, np.ones((1, 1)))})
        case _:
            node = replace(node, op=draw.choice([other.op for other in nodes]))
    nodes[n] = node
    return replace(graph, nodes=tuple(nodes))


VALUES = (
    *(0, 1, -1, 2, 3, 8, 9, 255, 256, 2**15, 0.5, 1e39, None, True),
    *("", "input", "int4", "float32", (1, 1), (2, 2), (1,)),
)


def test_what_python_writes_is_read() -> None:
    """Python's schema and the reader agree on what a network is: what the one lets be written the other reads."""
    draw, written = random.Random(0), 0
    graphs = [every_op(), *(of_one_op(op) for op in OPS)]
    for _ in range(600):
        graph = changed(draw.choice(graphs), draw)
        with contextlib.suppress(ArtefactError):
            content = dumps(graph)
            written += 1
            try:
                check_artefact(content)
            except ArtefactError as error:
                raise AssertionError(f"the reader refuses what Python writes: {error}") from error
    assert written > 20


CPUINFO = Path("/proc/cpuinfo")
AVX2 = {"avx2", "bmi1", "bmi2", "fma"}
AVX512 = AVX2 | {"avx512bw", "avx512dq", "avx512f", "avx512vl"}
TILE_PERMISSION = 158, 0x1023, 18  # arch_prctl: to ask for the state that tiles are


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not CPUINFO.exists(), reason="needs Linux on x86-64"
)
def test_the_instruction_sets_are_those_that_linux_names() -> None:
    line = next(line for line in CPUINFO.read_text("utf-8").splitlines() if line.startswith("flags"))
    flags = set(line.partition(":")[2].split())
    sets = {"avx2": AVX2, "avx512": AVX512, "amx": AVX512 | {"amx_tile", "amx_int8"}}
    named = [name for name, needed in sets.items() if needed <= flags]
    if "amx" in named and ctypes.CDLL(None).syscall(*TILE_PERMISSION) != 0:
        named.remove("amx")
    assert instruction_sets() == ["scalar", *named]


def test_the_outputs_of_a_detector_follow_from_its_strides() -> None:
    """A score for each of 2 classes and 4 distances, at 2 x 3 places of one level and 1 x 2 of another."""
    b = Builder((1, 4, 6), 2, 0)
    x = b.linear(b.add("flatten", INPUT), 6 * (2 * 3 + 1 * 2))
    labels = tuple(map(str, range(48)))
    content = dumps(Graph(tuple(b.nodes), x, 2, b.record(), labels))

    def detector(**fields: object) -> bytes:
        task = {"ahead": 0, "combine": "mean", "delay": 0, "kind": "detect", "mean": [], "std": [], "threshold": 0.5}
        task |= {"strides": [2, 4], "overlap": 0.6} | fields
        return rewritten(lambda header, graph: graph.update(task=task, labels=["red", "white"]), content)

    check_artefact(detector())
    for fields in (
        *({"strides": strides} for strides in ([2], [2, 3], [4, 2], [2, 2], [], [0, 2], [2, 2048], 2)),
        *({"overlap": overlap} for overlap in (0, -1, 1.5, "x")),
        {"kind": "classify"},
        {"kind": "segment"},
    ):
        with naming(str(fields)), pytest.raises(ArtefactError):
            check_artefact(detector(**fields))


def test_boxes_are_of_whole_images() -> None:
    b = Builder((2, 1, 1), 2, 0)
    record = replace(b.record(), kind="series", resize="none", frames="rows")
    x = b.linear(b.add("flatten", INPUT), 6)
    graph = Graph(tuple(b.nodes), x, 2, record, tuple("abcdef"))
    task = TaskRecord("detect", strides=(1,), overlap=0.6)
    content = rewritten(lambda header, graph: graph.update(task=vars(task), labels=["red", "white"]), dumps(graph))
    with pytest.raises(ArtefactError, match="takes whole images or frames of events at each step"):
        check_artefact(content)
    with pytest.raises(ArtefactError, match='"detect" takes whole images or frames of events at each step'):
        dumps(replace(graph, task=task, labels=("red", "white")))
