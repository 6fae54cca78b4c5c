import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from deployed_graphs import Builder, random_input, residual_network, tiny_network
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import (
    INPUT,
    Graph,
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
from hdlif.graph.ops.program import program_of
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
