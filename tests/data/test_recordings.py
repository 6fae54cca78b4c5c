import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hdlif.data import Events
from hdlif.data.recordings import read_recording
from hdlif.errors import DataError, MissingExtraError
from recorded_events import aedat2_bytes, aedat3_bytes, bin_bytes, recording

FORMATS: dict[str, tuple[Callable[[Events], bytes], int]] = {
    "a.bin": (bin_bytes, 34),
    "two.aedat": (aedat2_bytes, 128),
    "three.aedat": (aedat3_bytes, 128),
}
every_format = pytest.mark.parametrize("name", FORMATS)


def assert_equal(seen: Events, expected: Events) -> None:
    for field in ("t", "x", "y", "polarity"):
        assert getattr(seen, field).tolist() == getattr(expected, field).tolist(), field


@every_format
def test_what_was_written_is_read(name: str) -> None:
    write, side = FORMATS[name]
    # N-MNIST's times pass 2^13, which takes its entries of y = 240, and 2^16.
    events = recording(50, side=side, length=300_000)
    assert_equal(read_recording(Path(name), write(events)), events)


def test_bin_by_hand() -> None:
    # x 5, y 6, on, t = 0x010203; the overflow entry; x 7, y 8, off, t = 4 + 2^13.
    content = bytes([5, 6, 0x81, 2, 3, 0, 240, 0, 0, 0, 7, 8, 0, 0, 4])
    expected = Events(*map(np.array, ([0x010203, 4 + 2**13], [5, 7], [6, 8], [1, 0])))
    assert_equal(read_recording(Path("a.bin"), content), expected)


def test_aedat2_by_hand() -> None:
    # Address 0x0102: y bits 8..14 = 1, x bits 1..7 = 1, bit 0 = 0, which is brighter.
    content = b"#!AER-DAT2.0\r\n#\r\n" + bytes([0, 0, 1, 2, 0, 0, 0, 9])
    assert_equal(read_recording(Path("a.aedat"), content), Events(*map(np.array, ([9], [126], [126], [1]))))


def test_aedat3_time_overflow_counts_in_2_to_the_31() -> None:
    events = recording(3, side=128)
    content = bytearray(aedat3_bytes(events))
    content[content.find(b"HEADER\r\n") + 8 + 12] = 1
    assert read_recording(Path("a.aedat"), bytes(content)).t.tolist() == [t + 2**31 for t in events.t.tolist()]


@every_format
def test_empty_recording(name: str) -> None:
    write, side = FORMATS[name]
    assert len(read_recording(Path(name), write(recording(0, side=side))).t) == 0


@every_format
def test_recording_that_is_cut_short_is_refused(name: str) -> None:
    write, side = FORMATS[name]
    content = write(recording(10, side=side))
    with pytest.raises(DataError, match=rf"^{re.escape(name)}: .*; extract it again$"):
        read_recording(Path(name), content[:-3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!AER-DAT3.1\r\n#Format", "ends within its header"),
        (b"#!AER-DAT2.0", "ends within its header"),
        (b"#!AER-DAT4.0\r\n", "begins with b'#!AER-DAT4.0"),
        (b"", "begins with b''"),
        (b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + bytes(28), "is cut short or damaged at byte 28"),
    ],
)
def test_other_content_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"a.aedat: {message}")):
        read_recording(Path("a.aedat"), content)


def test_aedat4_without_tonic_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic.io", None)
    with pytest.raises(MissingExtraError, match=r"a.aedat4: .* is needed for it; pip install 'hdlif\[events\]'"):
        read_recording(Path("a.aedat4"), b"")


def test_aedat4_is_read_by_tonic_whatever_it_names_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([(7, 1, 2, True), (9, 3, 4, False)], [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])

    def read(path: str) -> np.ndarray:
        if path != "a.aedat4":
            raise RuntimeError("no flatbuffer")
        return found

    monkeypatch.setitem(sys.modules, "aedat", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tonic", SimpleNamespace(io=SimpleNamespace(read_aedat4=read)))
    monkeypatch.setitem(sys.modules, "tonic.io", SimpleNamespace(read_aedat4=read))
    expected = Events(*map(np.array, ([7, 9], [1, 3], [2, 4], [1, 0])))
    assert_equal(read_recording(Path("a.aedat4"), b""), expected)
    with pytest.raises(DataError, match=r"b.aedat4: cannot be read as AEDAT 4.0 \(no flatbuffer\); extract it again"):
        read_recording(Path("b.aedat4"), b"")
