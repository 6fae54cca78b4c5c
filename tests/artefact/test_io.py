import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from deployed_graphs import Builder, random_input, residual_network, tiny_network
from hdlif.artefact import (
    INPUT,
    Graph,
    InputRecord,
    Node,
    Value,
    dumps,
    infer_values,
    is_artefact,
    load,
    loads,
    save,
    tensor_bytes,
)
from hdlif.errors import ArtefactError
from hdlif.ops.program import program_of
from hdlif.ops.sound import SoundRecord
from hdlif.runtime import Session, reference
from random_programs import random_program

GOLDEN = Path(__file__).parent / "tiny.hdlif.safetensors"


def assert_equal(a: Graph, b: Graph) -> None:
    assert (a.output, a.time_steps, a.input, a.labels) == (b.output, b.time_steps, b.input, b.labels)
    assert len(a.nodes) == len(b.nodes)
    for x, y in zip(a.nodes, b.nodes, strict=True):
        assert (x.op, x.name, x.inputs, dict(x.attributes)) == (y.op, y.name, y.inputs, dict(y.attributes))
        assert x.tensors.keys() == y.tensors.keys()
        for role in x.tensors:
            np.testing.assert_array_equal(x.tensors[role], y.tensors[role], strict=True)


@pytest.mark.parametrize("encoding", ["float32", "ternary", "binary", "int2", "int4", "int8"])
def test_round_trip(tmp_path: Path, encoding: str) -> None:
    graph = residual_network(encoding=encoding)
    save(graph, tmp_path / "net.hdlif.safetensors")
    assert_equal(load(tmp_path / "net.hdlif.safetensors"), graph)
    assert [path.name for path in tmp_path.iterdir()] == ["net.hdlif.safetensors"]


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert dumps(residual_network()) == dumps(residual_network())
    assert dumps(loads(dumps(residual_network()), "x")) == dumps(residual_network())


def test_golden_bytes() -> None:
    assert dumps(tiny_network()) == GOLDEN.read_bytes()
    assert_equal(load(GOLDEN), tiny_network())


def test_what_an_input_does_not_have_by_default_is_written_and_read() -> None:
    graph = tiny_network()
    cropped = replace(graph, input=replace(graph.input, fit="crop"))
    assert b'fit\\":\\"crop' in dumps(cropped)
    assert b"frames" not in dumps(cropped)
    assert loads(dumps(cropped), "x").input == cropped.input
    for key in ("fit", "frames"):
        with pytest.raises(ArtefactError, match=rf"input.{key} = 'crops' is unknown; choose one of"):
            dumps(replace(graph, input=replace(graph.input, **{key: "crops"})))
    for key in ("binning", "sensor"):
        assert key.encode() not in dumps(cropped)
    with pytest.raises(ArtefactError, match=r'input.frames = "rows": a step is shown one row'):
        dumps(replace(graph, input=replace(graph.input, frames="rows")))


def test_a_pixel_a_step_is_of_square_images() -> None:
    image = {"kind": "image", "frames": "pixels"}
    graph = dense_network(time_steps=9, **image)
    assert loads(dumps(graph), "x").input.sample_shape(9) == (1, 3, 3)
    with pytest.raises(ArtefactError, match=r'frames = "pixels" shows a square image, and time_steps = 8 is no square'):
        dumps(dense_network(time_steps=8, **image))
    with pytest.raises(ArtefactError, match=r'input.frames = "pixels": a step is shown one pixel .* of kind table'):
        dumps(dense_network(time_steps=9, **image | {"kind": "table"}))


def test_a_series_is_one_sample_in_time_at_each_step() -> None:
    graph = tiny_network()
    for changed in ({}, {"resize": "none"}):
        with pytest.raises(ArtefactError, match=r'input.kind = "series": it is \[C, T, 1\], .* has shape'):
            dumps(replace(graph, input=replace(graph.input, kind="series", **changed)))


SOUND = SoundRecord(8000, 480, "first", 480, 1, 256, 120, 20.0, 4000.0)


@pytest.mark.parametrize(
    "fields",
    [{"columns": ("ax",)}, {"rates": (100, 50)}, {"windows": (128, 64)}, {"sound": SOUND}, {"shortest": 2}],
    ids=["columns", "rates", "windows", "sound", "shortest"],
)
def test_how_series_are_made_is_written_and_read(fields: dict[str, Any]) -> None:
    graph = dense_network(time_steps=4, **fields)
    content = dumps(graph)
    assert loads(content, "x").input == graph.input
    assert dumps(loads(content, "x")) == content
    (key,) = fields
    assert key.encode() not in dumps(dense_network(time_steps=4))
    # an older file has it not
    assert getattr(loads(dumps(dense_network(time_steps=4)), "x").input, key) in ((), None, 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"columns": ("a", "b")}, r"input.columns = \['a', 'b'\]; it must be 1 names"),
        ({"columns": ("a\n",)}, "is not a printable name"),
        ({"columns": ("a" * 1001,)}, "is not a printable name of 1 to 1000 characters"),
        ({"rates": (1,)}, r"input.rates = \[1\]; it must be two integers in 1..100000"),
        ({"rates": (1, 10**6)}, "input.rates"),
        ({"windows": (8,)}, r"input.windows = \[8\]; it must be two integers in 1..2147483647, of a series"),
        ({"windows": (8, 0)}, "input.windows"),
        ({"windows": (8, 4), "sound": SOUND}, "input.sound gives series of 1 channels"),
        ({"sound": replace(SOUND, rate=0)}, "input.sound.rate = 0; it must be an integer in 1000..384000"),
        ({"sound": replace(SOUND, samples=2**40)}, "input.sound.samples"),
        ({"sound": replace(SOUND, frame=2**15)}, "input.sound.frame"),
        ({"sound": replace(SOUND, mels=2)}, "input.sound gives series of 2 channels"),
        ({"sound": replace(SOUND, clips="last")}, "input.sound.clips = 'last' is unknown; choose one of"),
        ({"sound": replace(SOUND, lowest_hz=5000.0)}, "they must ascend in 0..4000"),
        ({"sound": replace(SOUND, highest_hz=float("nan"))}, "they must ascend"),
        ({"sound": replace(SOUND, hop=500)}, "input.sound.samples = 480; it must be at least hop = 500"),
        ({"sound": replace(SOUND, hop=240)}, "input.sound gives 2 frames, and time_steps = 4; they are equal"),
        ({"sound": SOUND, "columns": ("a",)}, "without names"),
        ({"sound": SOUND, "shortest": 2}, "without names"),
        ({"shortest": 5}, "input.shortest = 5; it must be at most time_steps = 4"),
        ({"shortest": -1}, "input.shortest = -1; it must be the fewest steps of series"),
        ({"shortest": True}, "input.shortest = True; it must be"),
        ({"shortest": 2, "windows": (8, 4)}, "series that are not cut into windows"),
    ],
)
def test_what_no_series_can_be_made_of_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtefactError, match=words):
        dumps(dense_network(time_steps=4, **fields))


def test_a_table_is_a_row_at_every_step() -> None:
    graph = dense_network(time_steps=2, kind="table", frames="constant", columns=("a",))
    assert loads(dumps(graph), "x").input == graph.input
    with pytest.raises(ArtefactError, match=r'input.kind = "table": it is'):
        dumps(dense_network(time_steps=2, kind="table", frames="rows"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"frame\\":256', b'\\"frame\\":"x"'),
        (b'\\"lowest_hz\\":20.0', b'\\"lowest_hz\\":1' + b"0" * 900),
        (b'\\"clips\\":\\"first\\",', b""),
        (b'\\"columns\\":[\\"ax\\"]', b'\\"columns\\":[1]'),
        (b'\\"rates\\":[100,50]', b'\\"rates\\":[100,-50]'),
    ],
)
def test_damaged_fields_of_series_are_refused(old: bytes, new: bytes) -> None:
    fields: dict[str, Any] = {"columns": ("ax",), "rates": (100, 50)}
    content = dumps(
        dense_network(time_steps=4, **({"sound": SOUND} if b"rates" not in old and b"columns" not in old else fields))
    )
    assert old in content
    with pytest.raises(ArtefactError):
        loads(changed_header(old, new, content), "x")


def changed_header(old: bytes, new: bytes, content: bytes) -> bytes:
    """The content with a change of its header, its length and its digest to fit."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(old, new)
    place = content.index(b'\\"digest\\":\\"') + len(b'\\"digest\\":\\"')
    whole = len(header).to_bytes(8, "little") + header + content[8 + length :]
    blank = whole[:place] + b"0" * 64 + whole[place + 64 :]
    return whole[:place] + hashlib.sha256(blank).hexdigest().encode() + whole[place + 64 :]


def dense_network(*, time_steps: int, **fields: Any) -> Graph:
    """Logits of two classes from one number a step."""
    record = InputRecord((1, 1, 1), (0.0,), (1.0,), **{"kind": "series", "resize": "none", "frames": "rows", **fields})
    nodes = (
        Node("flatten", "flat", ("input",)),
        Node(
            "linear",
            "fc",
            ("flat",),
            {"encoding": "float32", "role": "classifier"},
            {"weight": np.array([[1.0], [-1.0]], np.float32)},
        ),
    )
    return Graph(nodes, "fc", time_steps, record, ("up", "down"))


def test_a_dilated_or_grouped_convolution_is_read_as_it_was_written() -> None:
    for attributes in ({"dilation": (2, 1)}, {"groups": 2}):
        b = Builder((2, 5, 5), 2, 0)
        graph = b.graph(b.conv(INPUT, 4, **attributes))
        assert_equal(loads(dumps(graph), "x"), graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 3}, r"groups = 3; it must be an integer that divides the 4 channels of its input and the 4"),
        ({"groups": 0}, "groups = 0; it must be an integer"),
        ({"groups": True}, "groups = True; it must be an integer"),
        ({"groups": 4}, r"weight: shape \[4, 2, 3, 3\] does not fit 1 input channels"),
        ({"dilation": (0, 1)}, "dilation = .* it must be two integers of at least 1"),
        ({"dilation": 2}, "dilation = 2; it must be two integers of at least 1"),
        ({"dilation": (4, 1)}, r"kernel \[3, 3\], dilation \[4, 1\], padding \[1, 1\] do not fit a 5x5 map"),
        ({"padding": (1, 3)}, r"kernel \[3, 3\], padding \[1, 3\] do not fit"),
        ({"dilations": (1, 1)}, r"attributes of conv2d are .*'dilations'.*; they must be"),
    ],
)
def test_groups_and_dilation_are_checked(change: dict[str, object], message: str) -> None:
    b = Builder((4, 5, 5), 2, 0)
    graph = b.graph(b.conv(INPUT, 4, groups=2))
    conv = graph.nodes[0]
    conv = replace(conv, attributes={**conv.attributes, **change})
    with pytest.raises(ArtefactError, match=message):
        dumps(replace(graph, nodes=(conv, *graph.nodes[1:])))


def test_the_neurons_of_a_file_give_the_bits_that_they_gave() -> None:
    """LIF of both resets, graded LIF, HD-LIF, Parallel and GLIF; the digest is of the version that wrote the file."""
    graph = load(GOLDEN.with_name("neurons.hdlif.safetensors"))
    kinds = {"HDLIF", "ParallelHDLIF", "LIF", "GradedLIF", "GLIF"}
    assert {node.attributes["kind"] for node in graph.nodes if node.op == "program"} == kinds
    x = random_input(graph, 5, 3)
    digest = "4df4ac8032d00920dfb7a417dab0969d572a6ac623a08cc6faaff4e8b5b34162"
    for logits in (reference.run(graph, x), Session(graph).run(x)):
        assert hashlib.sha256(logits.tobytes()).hexdigest() == digest


def test_a_program_is_read_as_it_was_written() -> None:
    for seed in range(20):
        b = Builder((2, 3, 3), 2, seed)
        graph = b.graph(b.program(INPUT, per_channel=True))
        assert_equal(loads(dumps(graph), "x"), graph)
        assert program_of(loads(dumps(graph), "x").nodes[0]) == program_of(graph.nodes[0])


def changed_program(**attributes: Any) -> Graph:
    b = Builder((2, 3, 3), 2, 0)
    b.program(INPUT, program=random_program(np.random.default_rng(3), states=2))
    b.nodes[0] = replace(b.nodes[0], attributes={**b.nodes[0].attributes, **attributes})
    return Graph((*b.nodes, Node("global_sum_pool", "p", (b.nodes[0].name,))), "p", 2, b.record(), ("a", "b"))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"kind": ""}, "kind = ''; it must be a printable name"),
        ({"kind": "a\nb"}, "it must be a printable name"),
        ({"after": [0]}, "gives 1 states; it has 2"),
        ({"states": "ab"}, "states = 'ab'; it must be a list"),
        ({"states": ["a", "a"]}, "each must be another"),
        ({"states": ["a b", "c"]}, "a state's name is an identifier"),
        ({"states": [f"s{i}" for i in range(17)]}, "up to 16 printable names"),
        ({"rows": [1]}, "up to 64 printable names"),
        ({"spike": 1.0}, "a register is an integer"),
        ({"spike": True}, "a register is an integer"),
        ({"spike": 10**30}, "gives register"),
        ({"after": 3}, "after = 3; it must be a list"),
        ({"operations": {}}, "operations = {}; it must be a list"),
        ({"operations": [[]]}, r"each is [name, operand, ...]"),
        ({"operations": [["exp", 0]]}, r"each is [name, operand, ...]"),
        ({"operations": [["add", 0]]}, "add has 1 operands; it takes 2"),
        ({"operations": [["add", 0, 99]]}, "a register is read after it is written"),
        ({"operations": [["constant", "1"]]}, 'a constant is ["constant", number]'),
        ({"operations": [["constant", 1e300]]}, "is not a finite float32"),
        ({"operations": [["constant", 10**400]]}, "a constant is a finite float32"),
        ({"operations": [["floor", 0]] * 300}, "takes 300 operations; a program has at most 256"),
    ],
)
def test_a_program_that_breaks_its_form_is_refused(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtefactError, match=re.escape(words)) as refused:
        dumps(changed_program(**attributes))
    assert str(refused.value).isprintable()


def test_rows_of_a_program_are_as_many_as_it_names() -> None:
    graph = changed_program()
    first = graph.nodes[0]
    fewer = replace(first, tensors=dict(list(first.tensors.items())[1:]))
    with pytest.raises(ArtefactError, match="tensors of program are"):
        dumps(replace(graph, nodes=(fewer, *graph.nodes[1:])))


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
    graph.nodes[0].tensors["weight"][0] = 2
    with pytest.raises(ArtefactError, match=r"conv\.weight: holds a value that is not ternary"):
        dumps(graph)
    with pytest.raises(ArtefactError, match="time_steps = 0"):
        dumps(replace(tiny_network(), time_steps=0))


def signed(content: bytes) -> bytes:
    """`content` with the digest of its bytes; as it is where it has no place for one."""
    found = re.search(rb'\\"digest\\": ?\\"([0-9a-f]{64})', content)
    if found is None:
        return content
    head, tail = content[: found.start(1)], content[found.end(1) :]
    return head + hashlib.sha256(head + b"0" * 64 + tail).hexdigest().encode() + tail


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
        with pytest.raises(ArtefactError, match=r"digest = .* is not|the tensors take 14 of 15 bytes"):
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
    with pytest.raises(ArtefactError) as refused:
        load(path)
    assert re.fullmatch(
        rf"{path}: digest = '[0-9a-f]{{64}}' is not that of its bytes; the file is damaged, export it again",
        str(refused.value),
    )


def test_every_flipped_bit_under_a_new_digest_gives_a_checked_graph_or_an_artefact_error() -> None:
    for damaged in flipped_bits(GOLDEN.read_bytes()):
        with contextlib.suppress(ArtefactError):
            dumps(loads(signed(damaged), "flipped"))


def rewritten(change: Callable[[dict[str, Any], dict[str, Any]], None], content: bytes | None = None) -> bytes:
    """A file, by default the golden one, after `change(header, graph)`, with a digest to fit."""
    content = GOLDEN.read_bytes() if content is None else content
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    graph = json.loads(header["__metadata__"]["hdlif"])
    change(header, graph)
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["hdlif"] = json.dumps(graph)
    text = json.dumps(header).encode()
    return signed(len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_rewriting_alone_changes_nothing() -> None:
    assert_equal(loads(rewritten(lambda header, graph: None), "x"), tiny_network())


def put(path: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A change that sets `path`, dotted, in the header (first word "header") or in the graph."""

    def change(header: dict[str, Any], graph: dict[str, Any]) -> None:
        first, *keys, last = path.split("/")
        target: Any = header if first == "header" else graph
        for key in keys:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(last) if isinstance(target, list) else last] = value

    return change


LIES = {
    "version": (put("graph/format", 4), "format = 4; this version of hdlif reads format 5; export it again"),
    "version without a digest": (lambda header, graph: graph.update(format=2) or graph.pop("digest"), "format = 2;"),
    "version type": (put("graph/format", [3]), r"format = \[3\]"),
    "no digest": (lambda header, graph: graph.pop("digest"), "digest = None; it must be a string"),
    "short digest": (put("graph/digest", "0"), "digest = '0' is not that of its bytes"),
    "digest in capitals": (put("graph/digest", "A" * 64), "digest = 'A{64}' is not that of its bytes"),
    "unknown key": (put("graph/extra", 1), "hdlif has the keys"),
    "metadata key": (put("header/__metadata__/more", "x"), "metadata keys"),
    "no metadata": (lambda header, graph: header.pop("__metadata__"), r"metadata keys are \[\]; .* made by"),
    "metadata that are none": (put("header/__metadata__", 3), "__metadata__ = 3"),
    "another record": (lambda header, graph: graph.clear(), r"is not an artefact \(its metadata hold no graph\); give"),
    "dtype": (put("header/neuron.row0/dtype", "U8"), "data_offsets"),
    "unknown dtype": (put("header/neuron.row0/dtype", "F16"), "dtype = 'F16'"),
    "shape in header": (put("header/conv.weight/shape", [3]), "data_offsets"),
    "shape as bool": (put("header/conv.weight/shape", [True]), "must be an integer"),
    "negative shape": (put("header/conv.weight/shape", [-2]), "must be an integer"),
    "vast shape": (put("header/conv.weight/shape", [2**62, 2**62]), "a tensor has at most 1073741824 entries"),
    "vast shape of nothing": (put("header/conv.weight/shape", [2**62, 0]), "a tensor has at most 1073741824 entries"),
    "deep shape": (put("header/conv.weight/shape", [1] * 100_000), "no tensor has more than 4"),
    "offsets overlap": (put("header/conv.weight/data_offsets", [0, 2]), "data_offsets begin at"),
    "offsets beyond": (put("header/conv.weight/data_offsets", [2**40, 2**40 + 2]), "data_offsets begin at"),
    "offsets backwards": (put("header/conv.weight/data_offsets", [14, 12]), "data_offsets"),
    "missing tensor": (lambda header, graph: header.pop("conv.weight"), "begin at 0|is not in the file|bytes behind"),
    "tensor of nobody": (put("header/x", {"dtype": "U8", "shape": [0], "data_offsets": [14, 14]}), "no node"),
    "weight shape": (put("graph/nodes/0/tensors/weight/shape", [11, 1, 1, 1]), "stored as U8"),
    "weight shape that packs alike": (put("graph/nodes/0/tensors/weight/shape", [8, 1, 1, 1]), "labels"),
    "weight as float": (put("graph/nodes/0/attributes/encoding", "float32"), "stored as"),
    "weight as binary": (put("graph/nodes/0/attributes/encoding", "binary"), "stored as|fill"),
    "encoding": (put("graph/nodes/0/attributes/encoding", "quaternary"), "stored as|unknown"),
    "encoding of another type": (put("graph/nodes/0/attributes/encoding", {}), "stored as|unknown"),
    "leak shape": (put("graph/nodes/1/tensors/row0/shape", [1]), "stored as F32"),
    "tensor twice": (put("graph/nodes/1/tensors/row1/tensor", "neuron.row0"), "used twice"),
    "tensor is the metadata": (put("graph/nodes/1/tensors/row0/tensor", "__metadata__"), "not in the file"),
    "op": (put("graph/nodes/1/op", "progam"), 'did you mean "program"'),
    "own output as input": (put("graph/nodes/0/inputs", ["conv"]), "topological order"),
    "cycle": (put("graph/nodes/0/inputs", ["neuron"]), "topological order"),
    "two inputs": (put("graph/nodes/1/inputs", ["conv", "conv"]), "inputs of program are 2"),
    "same name": (put("graph/nodes/1/name", "conv"), "two values have this name"),
    "name of the input": (put("graph/nodes/0/name", "input"), "two values have this name"),
    "name that is not text": (put("graph/nodes/0/name", "\ud800"), "must be a string"),
    "output": (put("graph/output", "nothing"), "not a node of the graph"),
    "labels": (put("graph/labels", ["a"]), "1 labels need"),
    "steps": (put("graph/time_steps", 3), r"neuron\.row1: float32 \[2, 1\]"),
    "no step": (put("graph/time_steps", 0), "time_steps = 0"),
    "steps of another type": (put("graph/time_steps", 2.0), "time_steps = 2.0"),
    "stride": (put("graph/nodes/0/attributes/stride", [0, 1]), "stride"),
    "padding": (put("graph/nodes/0/attributes/padding", [1, 1]), "padding"),
    "input shape": (put("graph/input/shape", [1, 2]), r"input\.shape"),
    "channels": (put("graph/input/shape", [2, 2, 2]), r"input\.mean"),
    "std": (put("graph/input/std", [0.0]), r"input\.std"),
    "mean": (put("graph/input/mean", [float("nan")]), "NaN"),
    "vast mean": (put("graph/input/mean", [10**400]), r"input\.mean"),
    "kind": (put("graph/input/kind", "sound"), r"input\.kind"),
    "resize": (put("graph/input/resize", "bilinar"), 'did you mean "bilinear"'),
    "nodes": (put("graph/nodes", {}), "nodes = {}"),
    "node": (put("graph/nodes/0", None), r"nodes\[0\] = None"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused_by_field(name: str) -> None:
    change, message = LIES[name]
    with pytest.raises(ArtefactError, match=message):
        loads(rewritten(change), "lie")


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


def every_kind_of_node() -> bytes:
    b = Builder((2, 5, 4), 2, 0)
    x = b.quantise(b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True))
    x = b.conv(b.add("max_pool", x, kernel=(2, 2), stride=(1, 1), padding=(1, 1)), 5, encoding="binary")
    x = b.lif(b.glif(b.graded_lif(b.parallel(b.hd_lif(x, per_channel=True)))))
    x = b.concat(b.slice(x, 1, 4), x)
    x = b.seca(b.conv(b.add("sum_pool", x, kernel=(2, 2), stride=(2, 2)), 3, encoding="int4"), kernel=3)
    return dumps(b.graph(b.linear(b.add("global_sum_pool", b.add("add", x, x)), 4, encoding="ternary")))


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all entries of a JSON tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in entries for found in [(*path, key), *places(value, (*path, key))]]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


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
    content = every_kind_of_node()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tree = {"header": header, "graph": json.loads(header["__metadata__"].pop("hdlif"))}
    for _ in range(draw(st.integers(0, 3))):
        paths = places(tree)
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
    header, graph = tree["header"], tree["graph"]
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["hdlif"] = json.dumps(graph)
    text = json.dumps(header).encode()
    changed = bytearray(len(text).to_bytes(8, "little") + text + content[8 + length :])
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


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        load(tmp_path / "absent")
    with pytest.raises(ArtefactError, match="is a folder; give the path of an exported artefact"):
        load(tmp_path)


@pytest.mark.parametrize("entry", [0.0, -4.0, 1e-40])
def test_an_inverse_step_must_be_positive(entry: float) -> None:
    graph = residual_network()
    next(node for node in graph.nodes if node.op == "quantise").tensors["inverse_step"][0, 0] = entry
    with pytest.raises(ArtefactError, match=r"quantise\.inverse_step: holds .*; it must be above 0"):
        dumps(graph)


@pytest.mark.parametrize(("encoding", "least"), [("int2", -2), ("int4", -8), ("int8", -128)])
def test_the_least_value_of_the_bits_is_no_weight(encoding: str, least: int) -> None:
    graph = residual_network(encoding=encoding)
    weight = next(node for node in graph.nodes if node.attributes.get("encoding") == encoding).tensors["weight"]
    weight[0, 0, 0, 0] = least
    with pytest.raises(ArtefactError, match=f"weight: holds a value that is not {encoding}"):
        infer_values(graph)


@pytest.mark.parametrize(("begin", "end"), [(-1, 1), (1, 1), (2, 1), (0, 4), (0, True), (0.0, 2), ("0", 2), (None, 2)])
def test_a_slice_lies_within_the_channels(begin: Any, end: Any) -> None:
    b = Builder((3, 2, 2), 1, 0)
    infer_values(b.graph(b.slice(INPUT, 0, 3)))
    b.nodes[0] = replace(b.nodes[0], attributes={"begin": begin, "end": end})
    message = rf"n0\.slice: begin = {begin!r}, end = {end!r}; they must be integers with 0 <= begin < end <= 3"
    with pytest.raises(ArtefactError, match=message):
        b.values()


@pytest.mark.parametrize("op", ["flatten", "conv"])
def test_values_that_differ_beyond_their_channels_are_not_joined(op: str) -> None:
    b = Builder((3, 3, 3), 1, 0)
    other = b.add("flatten", INPUT) if op == "flatten" else b.conv(INPUT, 3, padding=(0, 0))
    b.concat(INPUT, other)
    with pytest.raises(ArtefactError, match=r"n1\.concat: concat takes shapes that differ in channels alone; got"):
        b.values()


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
    b = Builder((1, 1, 66_312), 1, 0)
    x = b.quantise(b.add("flatten", INPUT), bits=8)
    b.linear(x, 1, encoding="int8")
    b.nodes[-1] = replace(b.nodes[-1], name="y")
    graph = Graph(tuple(b.nodes), "y", 1, b.record(), ("only",))
    with pytest.raises(ArtefactError, match=r"y: 66312 codes of up to 255, times weights of up to 127, may pass 2\^31"):
        infer_values(graph)
    fewer = Builder((1, 1, 66_311), 1, 0)
    infer_values(fewer.graph(fewer.linear(fewer.quantise(fewer.add("flatten", INPUT), bits=8), 1, encoding="int8")))


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


EVENTS = InputRecord((2, 4, 4), (0.0, 0.0), (1.0, 1.0), "events", "pool", binning="by_time", sensor=(9, 8))


def on_events(record: InputRecord) -> Graph:
    flat = Node("flatten", "flat", (INPUT,))
    weight = np.zeros((2, 32), np.float32)
    logits = Node("linear", "out", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    return Graph((flat, logits), "out", 3, record, ("a", "b"))


def test_how_events_are_binned_is_kept() -> None:
    assert loads(dumps(on_events(EVENTS)), "x").input == EVENTS
    older = replace(EVENTS, binning="none", sensor=None, resize="none")
    assert b"binning" not in dumps(on_events(older))
    assert loads(dumps(on_events(older)), "x").input == older


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"binning": "by_magic"}, "input.binning = 'by_magic' is unknown; choose one of"),
        ({"binning": "none"}, 'input.sensor = .* take 2 channels and a binning, and this input has .* binning "none"'),
        ({"sensor": (9, 0)}, r"input.sensor = \[9, 0\]; it must be \[H, W\], integers in 1..65536"),
        ({"sensor": (9,)}, r"input.sensor = \[9\]; it must be \[H, W\]"),
        ({"sensor": (2**16, 2**16)}, r"input.sensor = \[65536, 65536\]"),
        ({"sensor": (9, 2**40)}, r"input.sensor = \[9, 1099511627776\]"),
        ({"sensor": None}, 'input.resize = "pool": of which sensor is not said'),
        ({"resize": "none"}, r'input.resize = "none": frames are of the sensor, \[9, 8\], and this input has shape'),
        ({"kind": "image", "sensor": None}, "input.binning = 'by_time': this input is of kind image"),
        ({"kind": "image", "binning": "none"}, r"input.sensor = \(9, 8\): this input is of kind image"),
        ({"kind": "image", "binning": "none", "sensor": None}, 'input.resize = "pool" is of events'),
    ],
)
def test_what_cannot_be_said_of_events_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtefactError, match=words):
        dumps(on_events(replace(EVENTS, **changed)))
