"""Every field of a model file is checked, as it is read and as it is written."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from cases import every, naming
from deployed_graphs import Builder, every_op, tiny_network, u_net
from hdlif._native import check_artefact
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, dumps, loads
from hdlif.graph.artefact.io import digest_of
from hdlif.graph.graph import Learned, SoundRecord
from model_files import Change, at, joined, parts, places, put, rewritten
from random_programs import random_program

Values = Mapping[str, tuple[Any, ...]]
"""Of each path in a file, what it must not hold."""


def assert_refused(content: bytes, *, at_place: str = "") -> None:
    with pytest.raises(ArtefactError, match=f"^file: .*{at_place}") as refused:
        loads(content, "file")
    assert str(refused.value).isprintable()
    with pytest.raises(ArtefactError):
        check_artefact(content)


def assert_checks(graph: Graph, values: Values, *, at_place: str = "") -> None:
    content = dumps(graph)
    assert dumps(loads(content, "file")) == content
    check_artefact(content)
    for path, refused in values.items():
        for value in refused:
            with naming(path, repr(value)[:50]):
                assert_refused(rewritten(put(path, value), content), at_place=at_place)


def test_fields_of_a_small_network() -> None:
    node = "graph/nodes"
    assert_checks(
        tiny_network(),
        {
            "graph/format": (4, [5], 5.0),
            "graph/digest": ("0", "A" * 64),
            "graph/extra": (1,),
            "graph/output": ("nothing",),
            "graph/labels": (["a"],),
            "graph/time_steps": (3, 0, 2.0, 2**15, "2"),
            "graph/nodes": ({},),
            "header/__metadata__": (3,),
            "header/__metadata__/more": ("x",),
            "header/x": ({"dtype": "U8", "shape": [0], "data_offsets": [14, 14]},),
            "header/neuron.row0/dtype": ("U8", "F16"),
            "header/conv.weight/shape": ([3], [True], [-2], [2**62, 2**62], [2**62, 0], [1] * 100_000),
            "header/conv.weight/data_offsets": ([0, 2], [2**40, 2**40 + 2], [14, 12]),
            f"{node}/0": (None,),
            f"{node}/0/name": (INPUT, "\ud800"),
            f"{node}/0/inputs": (["conv"], ["neuron"]),
            f"{node}/0/attributes/encoding": ("float32", "binary", "quaternary", {}),
            f"{node}/0/attributes/stride": ([0, 1],),
            f"{node}/0/attributes/padding": ([1, 1],),
            # The second packs alike, but there are 7 labels.
            f"{node}/0/tensors/weight/shape": ([11, 1, 1, 1], [8, 1, 1, 1]),
            f"{node}/1/name": ("conv",),
            f"{node}/1/op": ("progam",),
            f"{node}/1/inputs": (["conv", "conv"],),
            f"{node}/1/tensors/row0/shape": ([1],),
            f"{node}/1/tensors/row0/tensor": ("__metadata__",),
            f"{node}/1/tensors/row1/tensor": ("neuron.row0",),
            "graph/input/shape": ([1, 2], [2, 2, 2]),
            "graph/input/std": ([0.0],),
            "graph/input/mean": ([float("nan")], [10**400]),
            "graph/input/kind": ("sound", "series"),
            "graph/input/resize": ("bilinar", "pool"),
            "graph/input/fit": ("crops",),
            "graph/confidence": (2, -0.1, True, "auto", None, [0.5], float("nan")),
            # A step is shown one row.
            "graph/input/frames": ("crops", "rows"),
        },
    )


@every(
    "change",
    "place",
    of=[
        (lambda header, graph: graph.update(format=2) or graph.pop("digest"), "format"),
        (lambda header, graph: graph.pop("digest"), "digest"),
        (lambda header, graph: header.pop("__metadata__"), "metadata"),
        (lambda header, graph: graph.clear(), "metadata contain no graph"),
        (lambda header, graph: header.pop("conv.weight"), ""),
    ],
)
def test_what_a_file_must_have(change: Change, place: str) -> None:
    assert_refused(rewritten(change), at_place=place)


def graph_of(op: str, *, shape: tuple[int, int, int] = (4, 5, 5), **fields: Any) -> Graph:
    """An op after the input, and a classifier."""
    b = Builder(shape, 2, 0)
    if op in ("conv", "quantise", "slice", "program"):
        return b.graph(getattr(b, op)(INPUT, **fields))
    return b.graph(b.add(op, INPUT, **fields))


def as_written(value: Any) -> Any:
    """Lists of a file are tuples in a graph."""
    return tuple(map(as_written, value)) if isinstance(value, list) else value


STATES = [f"s{i}" for i in range(17)]


@every(
    "graph",
    "values",
    of=[
        (
            graph_of("conv", out=4, groups=2, encoding="int8"),
            {
                "groups": (0, 3, 4, -1, 2**31, True, 1.0),
                "dilation": ([0, 1], [1, 2**15], [4, 1], [1], 1),
                "dilations": ([1, 1],),
                "stride": ([0, 1], [1, 2**15], [1.0, 1]),
                "padding": ([3, 1], [1, 3], [-1, 0], [1, 1, 1]),
                "encoding": ("int4", "ternary", "none", None),
                "role": ("head", 1),
                "kernel": ([3, 3],),
            },
        ),
        (graph_of("upsample", factor=(2, 3)), {"factor": ([0, 1], [1, 2**15], [2], [2, -1])}),
        (
            graph_of("slice", begin=0, end=3),
            {"begin": (-1, 3, 5, 2**31 - 1, 0.0, "0", None), "end": (0, -1, 5, 2**31 - 1, 3.0, True)},
        ),
        (
            graph_of("max_pool", kernel=(2, 2), stride=(1, 1), padding=(1, 1)),
            {"kernel": ([1, 1], [0, 2], [8, 8], [2**15, 1])},
        ),
        (graph_of("quantise", bits=3), {"bits": (0, 9, 2.5, "3"), "offset": (-0.5, 1.5, 1e39, None)}),
        (
            graph_of("program", program=random_program(np.random.default_rng(3), states=2)),
            {
                "kind": ("", "a\nb"),
                "after": ([0], 3),
                "states": ("ab", ["a", "a"], ["a b", "c"], STATES),
                "rows": ([1],),
                "spike": (1.0, True, 10**30),
                "operations": (
                    {},
                    [[]],
                    [["exp", 0]],
                    [["add", 0]],
                    [["add", 0, 99]],
                    [["constant", "1"]],
                    [["constant", 1e300]],
                    [["constant", 10**400]],
                    [["floor", 0]] * 300,
                ),
            },
        ),
    ],
)
def test_attributes_of_an_op(graph: Graph, values: Values) -> None:
    fields = {f"graph/nodes/0/attributes/{key}": refused for key, refused in values.items()}
    first = graph.nodes[0]
    assert_checks(graph, fields, at_place=first.name)
    for key, refused in values.items():
        for value in refused:
            changed = replace(first, attributes={**first.attributes, key: as_written(value)})
            with naming("written", key, repr(value)[:50]), pytest.raises(ArtefactError):
                dumps(replace(graph, nodes=(changed, *graph.nodes[1:])))


def test_every_number_is_checked() -> None:
    """None but those of an equation can be set to a far value without a refusal."""
    header, graph, tensors = parts(dumps(every_op()))
    for tree in (header, graph):
        for *path, last in list(places(tree)):
            parent = at(tree, tuple(path))
            number = parent[last]
            if isinstance(number, bool) or not isinstance(number, int | float) or path[-1:] in (["mean"], ["std"]):
                continue
            if isinstance(parent, list) and parent[0] == "constant":
                continue
            for far in (-(2**31), 2**31 - 1):
                parent[last] = far
                with pytest.raises(ArtefactError):
                    check_artefact(joined(header, graph, tensors))
            parent[last] = number
    check_artefact(joined(header, graph, tensors))


def first_of(content: bytes, tensor: str, value: bytes) -> bytes:
    """The file with other bytes at the beginning of a tensor."""
    header, graph, tensors = parts(content)
    first = header[tensor]["data_offsets"][0]
    return joined(header, graph, tensors[:first] + value + tensors[first + len(value) :])


def test_entries_of_tensors() -> None:
    """Packed weights that are none, or leave a fill that is not zero; the least code; floats that are not finite."""
    tiny = dumps(tiny_network())
    assert tiny[-2:] == b"\x9c\x06"
    for packed in (b"\x9c\x09", b"\xf3\x06"):
        assert_refused(first_of(tiny, "conv.weight", packed))
    loads(first_of(tiny, "conv.weight", b"\xf2\x08"), "file")
    for encoding in ("binary", "int2", "int4"):
        b = Builder((3, 1, 1), 1, 0)
        whole = dumps(b.graph(b.linear(b.add("flatten", INPUT), 3, encoding=encoding)))
        header, graph, tensors = parts(whole)
        # nine weights leave bits of the last byte, which is the file's
        assert_refused(joined(header, graph, tensors[:-1] + bytes([tensors[-1] | 0x80])))
    for encoding in ("int2", "int4", "int8"):
        conv = graph_of("conv", out=2, kernel=(1, 1), padding=(0, 0), encoding=encoding)
        assert_refused(first_of(dumps(conv), f"{conv.nodes[0].name}.weight", b"\x80"))
    whole = dumps(every_op())
    for name in (name for name, entry in parts(whole)[0].items() if entry.get("dtype") == "F32"):
        for value in (np.nan, np.inf):
            assert_refused(first_of(whole, name, np.float32(value).tobytes()))
    codes = graph_of("quantise", bits=3)
    for entry in (0.0, -1.0, 1e-40):
        name = f"{codes.nodes[0].name}.inverse_step"
        assert_refused(first_of(dumps(codes), name, np.float32(entry).tobytes()))


def test_shapes_that_an_op_cannot_compute() -> None:
    """Each is given the input, a map of 4 channels, or a vector in the place of the value that it is for."""
    b = Builder((4, 3, 3), 2, 0)
    pooled = b.add("global_sum_pool", INPUT)
    for graph in (b.graph(b.concat(pooled, pooled)), b.graph(b.add("add", pooled, pooled))):
        assert_refused(rewritten(put(f"graph/nodes/{len(graph.nodes) - 2}/inputs/0", INPUT), dumps(graph)))
    for op in ("max_pool", "sum_pool", "global_sum_pool", "upsample", "seca", "conv2d"):
        header, graph, tensors = parts(dumps(every_op()))
        node = next(node for node in graph["nodes"] if node["op"] == op)
        flat = {"attributes": {}, "inputs": [INPUT], "name": "flat", "op": "flatten", "tensors": {}}
        graph["nodes"].insert(graph["nodes"].index(node), flat)
        node["inputs"] = ["flat"]
        assert_refused(joined(header, graph, tensors))


def test_integers_that_a_sum_or_a_place_would_pass() -> None:
    def closed(b: Builder, output: str, labels: int = 1) -> bytes:
        return dumps(Graph(tuple(b.nodes), output, 1, b.record(), ("a",) * labels))

    # 2^17 codes of 255 times weights of 127 pass 2^31, of 127 they do not
    b = Builder((1, 2**8, 2**9), 1, 0)
    summed = closed(b, b.linear(b.add("flatten", b.quantise(INPUT, bits=7)), 1, encoding="int8"))
    b = Builder((1, 2**8, 2**8), 1, 0)
    large = closed(b, b.add("global_sum_pool", b.add("upsample", INPUT, factor=(2**7, 2**7))))
    # the channels of a flat map of 2^29 joined to themselves are as many as a value may have
    b = Builder((1, 2**14, 2**15), 1, 0)
    flat = b.add("flatten", INPUT)
    wide = closed(b, b.slice(b.concat(flat, flat), 0, 1))
    for content, path, value in (
        (summed, "graph/nodes/0/attributes/bits", 8),
        (large, "graph/nodes/0/attributes/factor", [2**8, 2**8]),
        (wide, "graph/input/shape", [1, 2**15, 2**15]),
    ):
        check_artefact(content)
        assert_refused(rewritten(put(path, value), content))
    # From a row of 2^14 pixels, the weights of 2^18 output channels are 2^32 apart; the file has 33 kB of them.
    for width, is_refused in ((2**14, True), (2**14 - 1, False)):
        b = Builder((1, 1, width), 1, 0)
        x = b.conv(b.quantise(INPUT), 2**18, kernel=(1, 1), stride=(1, 2**13), padding=(0, 0), encoding="binary")
        with pytest.raises(ArtefactError) if is_refused else contextlib.nullcontext():
            check_artefact(closed(b, b.add("global_sum_pool", x), 2**18))


def test_a_confidence_is_of_a_classification() -> None:
    for confidence in (0, 0.95, 1.0):
        graph = replace(tiny_network(), confidence=confidence)
        assert loads(dumps(graph), "file").confidence == confidence
        assert_checks(graph, {"graph/confidence": (1.5,)}, at_place="confidence")
    assert dumps(replace(graph, confidence=None)) == dumps(tiny_network())
    regress = on_series()
    regress = replace(regress, task=TaskRecord("regress", mean=(0.0, 0.0), std=(1.0, 1.0)))
    assert_checks(regress, {"graph/confidence": (0.95,)}, at_place="confidence")
    with pytest.raises(ArtefactError, match=r"confidence = 0\.95; it must be a number in 0"):
        dumps(replace(regress, confidence=0.95))


SOUND = SoundRecord(8000, 480, "first", 480, 1, 256, 120, 20.0, 4000.0)
EVENTS = InputRecord((2, 4, 4), (0.0, 0.0), (1.0, 1.0), "events", "pool", binning="by_time", sensor=(9, 8))


def on(record: InputRecord, time_steps: int) -> Graph:
    """Logits of two classes."""
    b = Builder(record.shape, time_steps, 0)
    logits = b.linear(b.add("flatten", INPUT), 2)
    return Graph(tuple(b.nodes), logits, time_steps, record, ("up", "down"))


def on_series(time_steps: int = 4, **fields: Any) -> Graph:
    return on(InputRecord((1, 1, 1), (0.0,), (1.0,), **{**SERIES, **fields}), time_steps)


SERIES = {"kind": "series", "resize": "none", "frames": "rows"}
INPUTS: list[tuple[Graph, Values]] = [
    (replace(tiny_network(), input=replace(tiny_network().input, fit="crop")), {}),
    (on_series(9, kind="image", frames="pixels"), {"kind": ("table",)}),
    (on_series(2, kind="table", frames="constant", columns=("a",)), {"frames": ("rows",)}),
    (
        on_series(),
        {
            "columns": (["a", "b"], ["a\n"], ["a" * 1001], [1]),
            "rates": ([1], [1, 10**6], [100, -50]),
            "windows": ([8], [8, 0]),
            "shortest": (5, -1, True),
        },
    ),
    *((on_series(**fields), {}) for fields in ({"columns": ("ax",)}, {"rates": (100, 50)}, {"shortest": 2})),
    (on_series(windows=(128, 64)), {"shortest": (2,), "sound": (asdict(SOUND),)}),
    (
        on_series(sound=SOUND),
        {
            "sound/rate": (0,),
            "sound/samples": (2**40,),
            "sound/frame": (2**15, "x"),
            "sound/mels": (2,),
            "sound/clips": ("last",),
            "sound/lowest_hz": (5000.0, 10**900),
            "sound/highest_hz": (4001.0, 10.0),
            "sound/hop": (500, 240),
            "columns": (["a"],),
            "shortest": (2,),
        },
    ),
    (
        on(EVENTS, 3),
        {
            "binning": ("by_magic", "none"),
            "sensor": ([9, 0], [9], [2**16, 2**16], [9, 2**40], None),
            "resize": ("none",),
            "kind": ("image",),
        },
    ),
    (on(replace(EVENTS, binning="none", sensor=None, resize="none"), 3), {"sensor": ([9, 8],), "resize": ("pool",)}),
]


@every("graph", "values", of=INPUTS)
def test_fields_of_the_input(graph: Graph, values: Values) -> None:
    assert loads(dumps(graph), "file").input == graph.input
    assert_checks(graph, {f"graph/input/{key}": refused for key, refused in values.items()}, at_place="input")
    for key, refused in values.items():
        part, _, name = key.rpartition("/")
        for value in refused:
            written = SoundRecord(**value) if isinstance(value, dict) else as_written(value)
            if part:
                assert graph.input.sound is not None
                written = replace(graph.input.sound, **{name: written})
            changed = replace(graph.input, **{part or key: written})
            with naming("written", key, repr(value)[:50]), pytest.raises(ArtefactError):
                dumps(replace(graph, input=changed))


def test_a_network_that_has_learned_says_from_what() -> None:
    learned = Learned("0a" * 32, "affine", 3)
    graph = replace(tiny_network(), learned=learned)
    assert loads(dumps(graph), "file").learned == learned
    values = {
        "graph/learned": (None, {}),
        "graph/learned/from": ("0A" * 32, "0a" * 31, 1),
        "graph/learned/level": ("most", None),
        "graph/learned/updates": (0, 1.5, -1, "3"),
    }
    assert_checks(graph, values, at_place="learned")
    assert digest_of(tiny_network()) != digest_of(graph)


def test_a_pixel_a_step_is_of_square_images() -> None:
    graph = on_series(9, kind="image", frames="pixels")
    assert graph.input.sample_shape(9) == (1, 3, 3)
    with pytest.raises(ArtefactError, match="time_steps = 8 is not a square"):
        dumps(replace(graph, time_steps=8))


def test_a_class_per_pixel_is_of_maps_of_images() -> None:
    graph = u_net()
    words = {
        "graph/task/kind": ("classify", "regress"),
        "graph/task/combine": ("each",),
        "graph/labels": (["a", "b"], list("abcd")),
        "graph/output": ("n5.conv2d",),
        "graph/input/frames": ("pixels",),
        "graph/confidence": (0.9,),
    }
    assert_checks(graph, words)
    objects = replace(graph, task=TaskRecord("instances"))
    assert_checks(objects, {"graph/task/kind": ("multilabel",)})
    b = Builder((1, 4, 4), 2, 0)
    two = b.maps(b.conv(INPUT, 2))
    assert_checks(two, {"graph/task/kind": ("instances",)})
    with pytest.raises(ArtefactError, match="has 3 labels: background, boundary, inside; not 2"):
        dumps(replace(two, task=objects.task))
    with pytest.raises(ArtefactError, match=r"output has shape \[7\]; 7 labels need \[7, H, W\]"):
        dumps(replace(tiny_network(), task=graph.task))
    b = Builder((1, 1, 1), 2, 0)
    series = b.maps(b.conv(INPUT, 2, kernel=(1, 1), padding=(0, 0)))
    with pytest.raises(ArtefactError, match='this input is of kind "series", with frames "rows"'):
        dumps(replace(series, input=on_series().input))
    many = b.maps(b.conv(INPUT, 256, kernel=(1, 1), padding=(0, 0)))
    with pytest.raises(ArtefactError, match="has at most 255 labels, not 256"):
        dumps(many)
