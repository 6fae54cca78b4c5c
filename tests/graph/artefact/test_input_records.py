"""What a model file says of its input: written, read and checked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployed_graphs import tiny_network
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, dumps, loads
from hdlif.graph.ops.graph import SoundRecord
from model_files import signed


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
        loads(with_header(content, old, new), "x")


def with_header(content: bytes, old: bytes, new: bytes) -> bytes:
    """A file with other bytes in its header, and the length and the digest to fit."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(old, new)
    return signed(len(header).to_bytes(8, "little") + header + content[8 + length :])


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
