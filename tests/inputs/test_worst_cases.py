"""Every reader, given the file that costs it most, keeps to the memory that SECURITY.md states, in linear time.

Files are small: what is stated as a multiple of the file holds at any size, and fixed limits are lowered.
"""

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_files import npy
from hdlif.data.files import tar_members as members
from hdlif.data.pickles import parse_pickle
from hdlif.data.public.layouts import parse_ts
from hdlif.data.sources.fashion_mnist import parse_idx
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.recordings import MEMORY, read_recording
from hdlif.inputs.tables import parse_parquet, parse_table
from hdlif.inputs.wav import parse_wave
from resource_limits import at_most, within_cpu_seconds

SIZE = 2**17
EVENTS = 2**16
"""The most of a recording, here."""
INSTRUCTIONS = 10_000
"""The most of a pickle, here; each takes 200 bytes at most."""

Case = tuple[str, bytes, Callable[[bytes], Any], float]
"""A name, a file, its reader, and the most bytes that this may take."""


def recording(name: str) -> Callable[[bytes], Any]:
    return lambda content: read_recording(Path(name), content)


def tables() -> Iterator[Case]:
    for name, content in {
        "short cells": b"1\n" * (SIZE // 2),
        "a row of cells": b"1," * (SIZE // 2),
        "a header": b"a,b" * (SIZE // 3),
        "a quoted line": b'"' + b"\n" * SIZE,
    }.items():
        yield f"csv: {name}", content, parse_table, (16 if content[0] == ord("1") else 24) * len(content)
    names = b"a,b\n" + b"".join(b"%04x,1\n" % number for number in range(SIZE // 7))
    yield "csv: names", names, lambda content: parse_table(content, text=["a"]), 24 * len(names)


def arrays() -> Iterator[Case]:
    for name, array in {"swapped": np.zeros(SIZE // 8, ">f8"), "bytes": np.zeros(SIZE, np.int8)}.items():
        yield f"npy: {name}", npy(array), parse_array, 12 * SIZE
    for name, array in {"letters": np.full(SIZE // 4, "\U0001f600"), "numbers": np.full(SIZE // 2, 1000, "i2")}.items():
        yield f"npy labels: {name}", npy(array), parse_labels, 24 * SIZE
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for count in (EVENTS, 4 * EVENTS):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as archive:
                for name in "txyp":
                    archive.writestr(f"{name}.npy", npy(np.zeros(count, np.int8)))
            most = 50 * len(file.getvalue()) + 100 * EVENTS + 4 * 4 * EVENTS
            yield f"npz: {method}, {count} events", file.getvalue(), recording("a.npz"), most


def recordings() -> Iterator[Case]:
    packets, packet = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n", partial(struct.pack, "<hh6i", 1, 1, 8, 4, 0)
    for name, content in {
        "a.bin": bytes(SIZE // 5 * 5),
        "b.bin": bytes([0, 240, 0, 0, 0]) * (SIZE // 5),
        "a.aedat": b"#!AER-DAT2.0\n" + bytes(SIZE),
        "b.aedat": b"#!AER-DAT2.0\n" + b"#\n" * (SIZE // 2),
        "c.aedat": packets + packet(0, 0, 0) * (SIZE // 28),
        "d.aedat": packets + (packet(1, 1, 1) + struct.pack("<II", 1, 1)) * (SIZE // 36),
        "a.raw": b"% evt 2.0\n" + np.array([0x80000001] + [0x10000000] * (SIZE // 4), "<u4").tobytes(),
        "b.raw": b"%" + b"\n%" * (SIZE // 2),
        "a.npy": npy(np.zeros((SIZE // 4, 4), np.int8)),
        "b.npy": npy(np.zeros(SIZE // 4, [(field, "u1") for field in "txyp"])),
    }.items():
        yield name, content, recording(name), MEMORY * len(content)
    for vector, events in ((0x4000, 0), (0x4001, 1), (0x4FFF, 12), (0x5001, 1), (0x2001, 1), (0x6001, 0)):
        count = EVENTS // max(1, events)
        words = np.array([0x8001, 0x6001, 0x0001, 0x3000] + [vector] * (count - 4), "<u2")
        content = b"% evt 3.0\n" + words.tobytes()
        yield f"evt3: {vector:x}", content, recording("a.raw"), 50 * len(content) + 100 * events * count


def hdf5() -> Iterator[Case]:
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'hdlif[events]'")
    for count, kind in ((EVENTS, "i8"), (EVENTS + 1, "i8"), (EVENTS, "V100")):
        file = io.BytesIO()
        with h5py.File(file, "w") as writing:
            for name in "txyp":
                writing.create_dataset(name, (count,), kind, compression="gzip")
        yield f"hdf5: {count} of {kind}", file.getvalue(), recording("a.h5"), 200 * EVENTS


def parquet() -> Iterator[Case]:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'hdlif[data]'")
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": np.zeros(2**20), "b": np.zeros(2**20)}), file)
    yield "parquet: too many cells", file.getvalue(), parse_parquet, SIZE


def sounds() -> Iterator[Case]:
    for code, channels, bits in ((1, 1, 8), (1, 2, 8), (1, 64, 8), (1, 2, 24), (3, 2, 64)):
        block = channels * bits // 8
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, 8000, 0, block, bits)
        content = form + struct.pack("<4sI", b"data", SIZE // block * block) + bytes(SIZE // block * block)
        yield f"wav: {channels} of {bits} bits", b"RIFF\0\0\0\0WAVE" + content, parse_wave, 12 * SIZE
    yield "wav: chunks", b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * (SIZE // 8), parse_wave, 12 * SIZE


def sets() -> Iterator[Case]:
    values = b"\0\0\x08\x01" + struct.pack(">I", SIZE) + bytes(SIZE)
    yield "idx", values, lambda content: parse_idx(content, 1), SIZE
    for name, content in {
        "dictionaries": b"(" + b"}" * (INSTRUCTIONS - 3) + b"l.",
        "tuples": b")" + b"\x85" * (INSTRUCTIONS - 3) + b".",
        "memo": b"N" + b"\x94" * (INSTRUCTIONS - 3) + b".",
        "wide text": b"V\\U0001f600" + b"a" * (16 * SIZE) + b"\n.",
        "arrays": b"(cnumpy.core.multiarray\n_reconstruct\n\x94)\x94" + b"h\0h\1R" * (INSTRUCTIONS // 4) + b"l.",
    }.items():
        yield f"pickle: {name}", content, parse_pickle, 6 * len(content) + 200 * INSTRUCTIONS

    lines = ["@classLabel true " + " ".join(map(str, range(SIZE // 4))), "@data", *[f"1:{SIZE // 4 - 1}"] * (SIZE // 4)]
    yield "ts: classes", "\n".join(lines).encode(), parse_ts, 100 * SIZE
    yield "ts: channels", b"@classLabel true a\n@data\n" + b"1:" * (SIZE // 8) + b"a", parse_ts, 100 * SIZE

    def listed(content: bytes) -> int:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            return sum(1 for _ in members(file))

    header = bytearray(b"a".ljust(512, b"\0"))
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * ord(" "))
    yield "tar: empty files", bytes(header) * (SIZE // 512), listed, 2**17


@pytest.mark.parametrize("reader", [tables, arrays, recordings, hdf5, parquet, sounds, sets])
def test_costliest_files_stay_in_bounds(reader: Callable[[], Iterator[Case]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.inputs.arrays.MOST_BYTES", 4 * EVENTS)
    monkeypatch.setattr("hdlif.inputs.recordings.MOST_EVENTS", EVENTS)
    monkeypatch.setattr("hdlif.inputs.tables.MOST_CELLS", 2**20)
    beyond = []
    for name, content, read, most in reader():
        with suppress(Unreadable):
            # What is imported and compiled by the first call is none of the file's.
            read(content[:100])
        try:
            with within_cpu_seconds(10), at_most(int(200_000 + most)), suppress(Unreadable):
                read(content)
        except AssertionError as error:
            beyond.append(f"{name}: {error}")
    assert not beyond
