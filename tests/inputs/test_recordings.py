"""Recordings of event cameras: which files are read, and how the frames of one are made."""

import io
import itertools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_files import npy, npz
from cases import every, naming
from hdlif.errors import MissingExtraError
from hdlif.inputs import Unreadable
from hdlif.inputs.events import BINNINGS, Events, by_number, by_time, count_frames, fitted, pooled
from hdlif.inputs.recordings import read_recording
from recorded_events import aedat2_bytes, aedat3_bytes, bin_bytes, evt2_bytes, fields, recording
from resource_limits import within_seconds

FORMATS: dict[str, tuple[Callable[[Events], bytes], int]] = {
    "a.bin": (bin_bytes, 34),
    "two.aedat": (aedat2_bytes, 128),
    "three.aedat": (aedat3_bytes, 128),
    "two.raw": (evt2_bytes, 34),
}


def assert_equal(seen: Events, expected: Events) -> None:
    for field in ("t", "x", "y", "polarity"):
        assert getattr(seen, field).tolist() == getattr(expected, field).tolist(), field


def test_what_was_written_is_read_and_a_part_of_it_refused() -> None:
    for name, (write, side) in FORMATS.items():
        # N-MNIST's times pass 2^13, which takes its entries of y = 240, and 2^16.
        for count in (50, 0):
            events = recording(count, side=side, length=300_000)
            assert_equal(read_recording(Path(name), write(events)), events)
        with pytest.raises(Unreadable, match=r"not a multiple of|is cut short"):
            read_recording(Path(name), write(recording(10, side=side))[:-3])
    with pytest.raises(Unreadable, match=r"its name ends in '.txt'; expected .aedat, .aedat4, .bin"):
        read_recording(Path("a.txt"), b"")


def test_recordings_by_hand() -> None:
    # x 5, y 6, on, t = 0x010203; the overflow entry; x 7, y 8, off, t = 4 + 2^13.
    overflowing = bytes([5, 6, 0x81, 2, 3, 0, 240, 0, 0, 0, 7, 8, 0, 0, 4])
    # Address 0x0102: y bits 8..14 = 1, x bits 1..7 = 1, bit 0 = 0, which is brighter.
    address = b"#!AER-DAT2.0\r\n#\r\n" + bytes([0, 0, 1, 2, 0, 0, 0, 9])
    # An event before any time is left out; time 1 << 6 | 5, x 3, y 2, darker; a trigger; brighter at 2 << 6.
    words = [1 << 28, 8 << 28 | 1, 5 << 22 | 3 << 11 | 2, 10 << 28, 8 << 28 | 2, 1 << 28 | 7 << 11 | 6]
    evt2 = b"% format EVT2;height=20;width=30\n" + np.array(words, "<u4").tobytes()
    for name, content, columns in (
        ("a.bin", overflowing, ([0x010203, 4 + 2**13], [5, 7], [6, 8], [1, 0])),
        ("a.aedat", address, ([9], [126], [126], [1])),
        ("a.raw", evt2, ([69, 128], [3, 7], [2, 6], [0, 1])),
    ):
        with naming(name):
            found = read_recording(Path(name), content)
            assert_equal(found, Events(*map(np.array, columns)))
    assert found.sensor == (20, 30)
    # The overflow of a packet of AEDAT 3.1 counts in 2^31.
    events = recording(3, side=128)
    aedat3 = bytearray(aedat3_bytes(events))
    aedat3[aedat3.find(b"HEADER\r\n") + 8 + 12] = 1
    assert read_recording(Path("a.aedat"), bytes(aedat3)).t.tolist() == [t + 2**31 for t in events.t.tolist()]


def test_without_a_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (("tonic.io", "a.aedat4"), ("h5py", "a.h5")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=rf"{name}: .* is not installed; .*\[events\]"):
            read_recording(Path(name), b"")


class Panic(BaseException):
    """What a decoder in Rust raises."""


def test_aedat4_is_read_by_tonic_whatever_it_names_the_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([(7, 1, 2, True), (9, 3, 4, False)], [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    errors = {b"": RuntimeError("no flatbuffer"), b"odd": Panic("out of range"), b"stop": KeyboardInterrupt("stopped")}

    def read_aedat4(path: str) -> np.ndarray:
        if (content := Path(path).read_bytes()) in errors:
            raise errors[content]
        return found

    io = SimpleNamespace(read_aedat4=read_aedat4)
    for name, module in {"aedat": SimpleNamespace(), "tonic": SimpleNamespace(io=io), "tonic.io": io}.items():
        monkeypatch.setitem(sys.modules, name, module)
    expected = Events(*map(np.array, ([7, 9], [1, 3], [2, 4], [1, 0])))
    (tmp_path / "a.aedat4").write_bytes(b"good")
    # Its own file; and one that is in a shard.
    for place, content in ((tmp_path / "a.aedat4", b""), (Path("shard.tar/a.aedat4"), b"good")):
        assert_equal(read_recording(place, content), expected)
    for content, error in errors.items():
        refused = KeyboardInterrupt if content == b"stop" else Unreadable
        with pytest.raises(refused, match=str(error)):
            read_recording(Path("b.aedat4"), content)


EVENTS = recording(20, side=9)
COLUMNS = {"t": EVENTS.t, "x": EVENTS.x, "y": EVENTS.y, "p": EVENTS.polarity}
ROWS = np.stack([*COLUMNS.values()], axis=1)


@every(
    *("name", "content"),
    of=[
        ("a.npy", npy(fields(EVENTS))),
        ("a.npy", npy(fields(EVENTS).astype(np.dtype(fields(EVENTS).dtype.descr, align=True)))),
        ("a.npy", npy(fields(EVENTS).astype([("x", ">f4"), ("y", ">i4"), ("p", "?"), ("timestamp", ">f8")]))),
        *(("a.npy", npy(array)) for array in (ROWS.astype(np.float64), np.asfortranarray(ROWS))),
        *(("a.npz", npz(**arrays)) for arrays in (COLUMNS, {**COLUMNS, "p": EVENTS.polarity * 2 - 1})),
        ("a.npz", npz(x=EVENTS.x, y=EVENTS.y, timestamps=EVENTS.t, polarity=EVENTS.polarity.astype(bool))),
        *(("a.npz", npz(events=fields(EVENTS))), ("a.npz", npz(arr_0=ROWS))),
    ],
)
def test_arrays_of_events_in_the_usual_forms(name: str, content: bytes) -> None:
    assert_equal(read_recording(Path(name), content), EVENTS)


def test_arrays_and_words_without_events_are_refused() -> None:
    end = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"
    two = COLUMNS | {"x": EVENTS.x[:-1]}
    for name, contents in {
        "a.npy": (
            npy(np.zeros((3, 5))),
            *(npy(np.zeros(3, kind)) for kind in ([("t", "<i8"), ("x", "<i2"), ("y", "<i2")], [("t", "O")])),
            *(npy(np.zeros((2, 2), [("t", "<i8")])), npy(np.zeros(2, [("t", "<i8", 3)])), npy(fields(EVENTS))[:-3]),
            *(npy(np.array([row])) for row in ([0, 1.5, 2, 1], [np.nan, 1, 2, 1], [0, 1, 2, 2], [0, 1e300, 2, 0])),
            npy(np.array([[0, 1, 2, 0], [0, 1, 2, -1]])),
        ),
        "a.npz": (
            *(npz(t=EVENTS.t, x=EVENTS.x), npz(**two), npz(**COLUMNS, time=EVENTS.t), npz(t=np.array("x")), b"PK"),
            *(npz(**COLUMNS, events=fields(EVENTS)), npz(**dict.fromkeys("txyp", np.array(1)))),
        ),
        "a.raw": (b"% evt 4.0\n", b"% camera\n", b"% evt 3.0", b"% evt 3.0\n% end\n1"),
        "a.aedat": (
            *(b"#!AER-DAT3.1\r\n#Format", b"#!AER-DAT2.0", b"#!AER-DAT4.0\r\n", b""),
            *(end + bytes(28), end + bytes(9)),
        ),
    }.items():
        for content in contents:
            with naming(name, content[:200]), pytest.raises(Unreadable):
                read_recording(Path(name), content)


def test_evt3_by_hand_and_with_too_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    # x without a time or a row is no event. Vectors go on from a base; a high time begins at its first microsecond.
    words = [
        *(0x2005, 0x8001, 0x2005, 0x0003, 0x6007, 0x2005),  # time 1 << 12 | 7, y 3, x 5: an event, darker
        *(0x3808, 0x4005, 0x5081),  # base 8, brighter: x 8 and 10; then 8 bits from 20 on: 20 and 27
        *(0xA000, 0x8002, 0x0001, 0x280C),  # a trigger; time 2 << 12; y 1, x 12, brighter
        *(0x8FFF, 0x6001, 0x2001, 0x8000, 0x2001),  # the clock of 24 bits begins anew
    ]
    content = b"% evt 3.0\n% width 64\n% height 48\n% end\n" + np.array(words, "<u2").tobytes()
    found = read_recording(Path("a.raw"), content)
    early = 1 << 12 | 7
    t = [early, early, early, early, early, 2 << 12, 0xFFF << 12 | 1, 1 << 24]
    x, y, p = [5, 8, 10, 20, 27, 12, 1, 1], [3, 3, 3, 3, 3, 1, 1, 1], [0, 1, 1, 1, 1, 1, 0, 0]
    assert_equal(found, Events(*map(np.array, (t, x, y, p))))
    assert found.sensor == (48, 64)
    monkeypatch.setattr("hdlif.inputs.prophesee.MOST_EVENTS", 20)
    full = np.array([0x8001, 0x0001, 0x3000, 0x4FFF, 0x4FFF], "<u2").tobytes()
    with pytest.raises(Unreadable, match="it has up to 24 events; at most 20 are supported"):
        read_recording(Path("a.raw"), b"% evt 3.0\n" + full)


def evt3_plain(words: list[int]) -> list[tuple[int, int, int, int]]:
    """An EVT 3.0 reader as the format is told: a word after another."""
    found, high, low, turns, y, base, polarity = [], None, 0, 0, None, None, 0
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        known = high is not None and y is not None
        time = ((turns << 12 | (high or 0)) << 12) | low
        match kind:
            case 0x8:
                turns += high is not None and value - high < -(2**11)
                low, high = low if value == high else 0, value
            case 0x6:
                low = value
            case 0x0:
                y = value & 0x7FF
            case 0x3:
                base, polarity = value & 0x7FF, value >> 11
            case 0x2 if known:
                found.append((time, value & 0x7FF, y, value >> 11))
            case 0x4 | 0x5 if base is not None:
                bits = range(base, base + (12 if kind == 0x4 else 8))
                found += [(time, x, y, polarity) for x in bits if known and value >> (x - base) & 1]
                base = bits.stop
    return found


@given(st.lists(st.integers(0, 2**16 - 1) | st.sampled_from([0x8001, 0x8FFE, 0x8000, 0x3007, 0x4ABC, 0x50FF, 0x6003])))
def test_evt3_equals_a_reader_of_one_word_after_another(words: list[int]) -> None:
    content = b"% evt 3.0\n% end\n" + np.array(words, "<u2").tobytes()
    found = read_recording(Path("a.raw"), content)
    columns = (found.t, found.x, found.y, found.polarity)
    assert list(zip(*(a.tolist() for a in columns), strict=True)) == evt3_plain(words)


def test_hdf5_is_read_where_events_usually_lie() -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'hdlif[events]'")
    for place, packed in itertools.product(("/", "events/", "CD/"), (False, True)):
        file = io.BytesIO()
        with h5py.File(file, "w") as writing:
            for name, values in ({"events": fields(EVENTS)} if packed else COLUMNS).items():
                writing[place + name] = values
        assert_equal(read_recording(Path("a.h5"), file.getvalue()), EVENTS)
    for content in (b"", file.getvalue()[:200]):
        with pytest.raises(Unreadable, match="cannot be read as HDF5"):
            read_recording(Path("a.hdf5"), content)


def test_hdf5_reads_no_other_file_and_no_more_than_events_need(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'hdlif[events]'")
    # Whoever opens it waits for ever.
    os.mkfifo(secret := str(tmp_path / "secret"))
    layout = h5py.VirtualLayout(shape=(8,), dtype="i8")
    layout[:] = h5py.VirtualSource(secret, "t", shape=(8,))
    chunks = {"chunks": (2**29,), "maxshape": (None,), "compression": "gzip"}
    for place in ("", "events/", "CD/"):
        for change, message in (
            (lambda file, t: file.create_dataset(t, (8,), "i8", external=[(secret, 0, 64)]), "values in other files"),
            (lambda file, t: file.create_virtual_dataset(t, layout), "values in other files"),
            (lambda file, t: file.__setitem__(t, h5py.ExternalLink(secret, "/t")), "t' is a link to elsewhere"),
            (lambda file, t: file.__setitem__(t, h5py.SoftLink("/y")), "t' is a link to elsewhere"),
            (lambda file, _: file.__setitem__("events", h5py.ExternalLink(secret, "/")), "/events' is a link to"),
            (lambda file, t: file.create_dataset(t, (8,), h5py.string_dtype()), "entries of object"),
            (lambda file, t: file.create_dataset(t, (2**24,), "V1000"), "entries of |V1000"),
            (lambda file, t: file.create_dataset(t, (8,), "i8", **chunks), "in chunks of 536,870,912"),
        ):
            content = io.BytesIO()
            with h5py.File(content, "w") as file:
                if "events'" not in message:
                    for name in "xyp":
                        file[f"{place}{name}"] = np.zeros(8, np.int64)
                change(file, f"{place}t")
            with within_seconds(5), pytest.raises(Unreadable, match=re.escape(message)):
                read_recording(Path("a.h5"), content.getvalue())


def test_by_number_gives_the_last_frame_the_rest_and_by_time_cuts_in_equal_parts() -> None:
    frames = by_number(np.arange(1003), 10)
    assert np.bincount(frames).tolist() == [100] * 9 + [103]
    assert frames.tolist() == sorted(frames.tolist())
    assert by_time(np.array([100, 109, 110, 119, 120, 130]), 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert by_time(np.array([7, 7, 7]), 3).tolist() == [0, 0, 0]
    assert by_time(np.array([]), 3).tolist() == []
    # Microseconds as the cameras give them, unsigned and large.
    assert by_time(np.array([2**63, 2**63 + 2**40], np.uint64), 2).tolist() == [0, 1]


@given(st.integers(0, 300), st.integers(1, 12), st.sampled_from(list(BINNINGS)))
def test_frames_count_every_event_once(n: int, frames: int, name: str) -> None:
    events, binning = recording(n, side=6), BINNINGS[name]
    counts = count_frames(events, frames, binning=binning, height=6, width=6)
    plain = np.zeros((frames, 2, 6, 6), counts.dtype)
    for frame, x, y, p in zip(binning(events.t, frames), events.x, events.y, events.polarity, strict=True):
        plain[frame, p, y, x] += 1
    assert np.array_equal(counts, plain)
    if n:
        found = fitted(events, frames, binning=name, sensor=(6, 6), size=(6, 6), resize="none")
        np.testing.assert_array_equal(found, plain.astype(np.float32), strict=True)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_pooled_events_are_sums_of_counts(height: int, width: int, to_height: int, to_width: int) -> None:
    rng, n = np.random.default_rng(0), 40
    events = Events(np.arange(n), rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n))
    whole = count_frames(events, 3, binning=by_number, height=height, width=width)
    plain = np.zeros((3, 2, to_height, to_width), np.int64)
    for y, x in np.ndindex(height, width):
        plain[:, :, y * to_height // height, x * to_width // width] += whole[:, :, y, x]
    frames = fitted(events, 3, binning="by_number", sensor=(height, width), size=(to_height, to_width), resize="pool")
    assert np.array_equal(frames, plain)


def test_bilinear_frames_keep_the_mean_of_their_counts() -> None:
    events = recording(400, side=16)
    frames = fitted(events, 2, binning="by_time", sensor=(16, 16), size=(4, 4), resize="bilinear")
    assert frames.shape == (2, 2, 4, 4)
    assert frames.sum() * 16 == pytest.approx(400, rel=0.1)


def test_recordings_that_give_no_frames_are_refused() -> None:
    for columns in (
        *(([], [], [], []), ([3, -2], [0, 0], [0, 0], [0, 0])),
        *(([3, 2], [0, x], [0, y], [0, p]) for x, y, p in ((4, 0, 0), (-1, 0, 0), (0, 4, 0), (0, -1, 0), (0, 0, 2))),
    ):
        events = Events(*(np.array(values, np.int64) for values in columns))
        with naming(columns), pytest.raises(Unreadable):
            fitted(events, 2, binning="by_number", sensor=(4, 4), size=(2, 2), resize="pool")


def test_events_out_of_order_give_the_frames_of_those_in_order() -> None:
    events = recording(50, side=6)
    mixed = np.random.default_rng(1).permutation(50)
    other = Events(*(getattr(events, name)[mixed] for name in ("t", "x", "y", "polarity")))
    one, two = (fitted(e, 4, binning="by_time", sensor=(6, 6), size=(3, 3), resize="pool") for e in (events, other))
    assert np.array_equal(one, two)
    assert np.array_equal(pooled(events, (6, 6), (6, 6)).x, events.x)
