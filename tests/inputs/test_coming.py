"""Samples as they come: rows and sound; what is refused, and that no more is waited for than is needed."""

import itertools
import os
import re
import struct
import threading
from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest

from array_files import npy
from cases import every, naming
from hdlif.graph.artefact import InputRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.coming import Source, coming
from hdlif.inputs.rows import MOST_LINE
from hdlif.inputs.tables import MOST_COLUMNS, parse_table
from hdlif.inputs.wav import parse_wave
from piped_samples import in_pieces, pipe
from resource_limits import at_most, within_seconds
from series_networks import SOUND
from sound_files import tone, wav_bytes

RECORD = InputRecord((2, 1, 1), (0.25, 9.0), (1.0, 2.0), "series", "none", frames="rows", columns=("a", "b"))
UNNAMED = InputRecord((2, 1, 1), (0.25, 9.0), (1.0, 2.0), "series", "none", frames="rows")
WAVE = wav_bytes(tone("low", 0, 0.1))
OF_SOUND = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), "series", "none", frames="rows", sound=SOUND)


def read(*blocks: bytes, record: InputRecord = RECORD, gaps: str = "stop", rate: int | None = None) -> np.ndarray:
    with within_seconds(20), pipe(blocks) as source:
        found = [samples for samples, _ in coming(source, record, gaps=gaps, rate=rate).blocks]
    return np.concatenate(found) if found else np.empty((0, 2), np.float32)


def test_rows_are_those_of_the_table() -> None:
    for content in (
        b"a,b\n1,2\n3,4.5\n",
        b"b,who,a\r\n1,ann,2\r\n-.5,bob,4e3\r\n",
        b"1,2\n3,4",
        b"1,2\r3,4\r",
        b"\xef\xbb\xbfb;a\n 1 ;  2\n3;4\n\n\n",
        b'"a","b"\n"1",2\n',
        b"a , b\n1,2\n",
    ):
        table = parse_table(content, known=RECORD.columns)
        for size in (1, 3, 10_000):
            np.testing.assert_array_equal(read(*in_pieces(content, size)), table.numbers, strict=True)
    # Cells may have any blanks around them, and channels without names are taken in their order.
    assert read(b" a,\tb \n\t1 ,2\t\r\n").tolist() == [[1, 2]]
    assert read(b"x,y\n1,2\n", record=UNNAMED).tolist() == [[1, 2]]


def test_refusals_of_rows() -> None:
    for content in (
        *(b"1,2\n3\n", b"a,b\n3,4,5\n", b"1,2,3\n", b"a,c\n1,2\n", b"a,a\n1,2\n", b"\n1,2\n", b"1,2\n\n\n3,4\n"),
        *(b"1,2\n1,x\n", b"a,b\n1,inf\n", b"a,b\n1,1e39\n", b"1,2\n1;2\n", b"a;b\n1;2,5\n", b"1,2\n1,\0\n"),
        *(b"1,2\n\xff,1\n", b'1,2\n"1,2\n3",4\n', b"PAR1....", b"1,2\n" + b"1" * 1000 + b"x,2\n"),
        *(b",".join([b"1"] * (MOST_COLUMNS + 1)) + b"\n", b"1,2\n" + b"1" * (MOST_LINE + 1)),
    ):
        with naming(content[:20]), pytest.raises(Unreadable) as caught:
            read(*in_pieces(content, 50_000))
        assert str(caught.value).isprintable()
    # The rows before a fault are handed on.
    with pipe([b"1,2\n3,4\nx,5\n"]) as source:
        rows = coming(source, RECORD).blocks
        assert [next(rows)[0].tolist() for _ in range(2)] == [[[1, 2]], [[3, 4]]]
        with pytest.raises(Unreadable, match="line 3"):
            next(rows)


def test_lines_that_are_no_rows_can_be_skipped() -> None:
    def rows(content: bytes) -> tuple[list[list[float]], int]:
        with within_seconds(20), pipe([content]) as source:
            found = coming(source, RECORD, skips=True)
            return [row for block, _ in found.blocks for row in block.tolist()], found.skipped()

    # A line cut short at the start, cut lines and noise within, a blank line, and a device that starts again.
    assert rows(b"4.5\n1,2\n3\n\xff,1\n5,x\n\n6,7\na,b\n8,9\n") == ([[1, 2], [6, 7], [8, 9]], 5)
    assert rows(b"b,a\n1,2\nb,a\n3,4\n") == ([[2, 1], [4, 3]], 1)
    # What is wrong in each row is no single bad line.
    for content, what in ((b"b,c\n1,2\n", "no column 'a'"), (b"1,2\n,3\n", "the cell is empty")):
        with pytest.raises(Unreadable, match=what):
            rows(content)


def test_missing_numbers_stop_it_or_are_filled_in() -> None:
    for cell in (b"", b" ", b"nan", b"NaN", b"NA", b"null"):
        content = b"a,b\n" + cell + b",1\n2,3\n" + cell + b"," + cell + b"\n4,5\n"
        with pytest.raises(Unreadable, match=r"line 2, column 'a': .*--gaps"):
            read(content)
        # Before its first value a channel has the mean of its training.
        assert read(content, gaps="hold").tolist() == [[0.25, 1], [2, 3], [2, 3], [4, 5]]
        assert read(content, gaps="zero").tolist() == [[0, 1], [2, 3], [0, 0], [4, 5]]
    x = np.array([[np.nan, 1], [2, np.nan], [3, 4]], np.float32)
    with pytest.raises(Unreadable, match=re.escape("at [0, 0] (from 0) it contains NaN")):
        read(npy(x))
    assert read(npy(x), gaps="hold").tolist() == [[0.25, 1], [2, 1], [3, 4]]
    assert read(npy(x), gaps="zero").tolist() == [[0, 1], [2, 0], [3, 4]]


def test_rows_of_an_array_come_as_they_are() -> None:
    for dtype, size in itertools.product(("<f4", ">f8", "<i2", "u1", "?"), (1, 77, 10_000)):
        x = np.random.default_rng(0).integers(0, 2, (20, 2)).astype(dtype)
        np.testing.assert_array_equal(read(*in_pieces(npy(x), size)), x.astype(np.float32), strict=True)
    # One channel may be flat.
    record = InputRecord((1, 1, 1), (0.0,), (1.0,), "series", "none", frames="rows")
    assert read(npy(np.arange(3.0)), record=record).tolist() == [[0], [1], [2]]


def test_refusals_of_arrays() -> None:
    good = np.zeros((3, 2))
    arrays = (good[:, :1], good[None], good.astype(complex), np.asfortranarray(good), good + np.inf, good + 1e39)
    headers = (b"\1\0\xff\xff" + b" " * 70_000, b"\7\0", b"\1\0\x10\0")
    contents = (*map(npy, arrays), npy(good)[:-1], npy(good) + b"x", *(b"\x93NUMPY" + rest for rest in headers))
    for content in contents:
        with naming(content[:200]), pytest.raises(Unreadable):
            read(*in_pieces(content, 50_000))


def test_pcm_and_wave_files_come_as_they_are() -> None:
    stereo = np.stack([tone("low", 0, 0.1), tone("high", 1, 0.1)], 1)
    for (bits, form), size in itertools.product(((8, 1), (24, 1), (32, 3)), (1, 999, 20_000)):
        content = wav_bytes(stereo, 11025, bits=bits, form=form, extensible=bits == 24)
        # after the samples other chunks may follow
        found = read(*in_pieces(content + b"LIST\x04\0\0\0name", size), record=OF_SOUND)
        np.testing.assert_array_equal(found, parse_wave(content).samples, strict=True)
    # The length in a header may be open, and other chunks stand in it.
    opened = WAVE[:40] + struct.pack("<I", 0xFFFFFFFF) + WAVE[44:]
    passed = WAVE[:36] + b"LIST" + struct.pack("<I", 150_001) + b"\1" * 150_002 + WAVE[36:]
    for content in (opened, passed, WAVE[44:]):
        np.testing.assert_array_equal(
            read(*in_pieces(content, 50_000), record=OF_SOUND), parse_wave(WAVE).samples, strict=True
        )


def test_the_rate_is_the_header_s_the_option_s_or_the_network_s() -> None:
    for content, rate, expected in (
        (b"\0\0", None, 8000),
        (b"\0\0", 16000, 16000),
        (wav_bytes(np.zeros(9), 11025), None, 11025),
        (wav_bytes(np.zeros(9), 11025), 11025, 11025),
    ):
        with pipe([content]) as source:
            assert coming(source, OF_SOUND, rate=rate).rate == expected
    with pytest.raises(Unreadable, match=r"its header states 11,025 Hz, but --rate is 8,000; leave --rate out"):
        read(wav_bytes(np.zeros(9), 11025), record=OF_SOUND, rate=8000)


def test_few_samples_may_look_like_text_and_no_more_are_waited_for_than_tell_it() -> None:
    assert len(read(b"hello, you", record=OF_SOUND)) > 0
    quiet = b"ab" + bytes(2)
    reading, writing = os.pipe()
    os.write(writing, quiet)
    # The pipe stays open: a wait for more would not end.
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb"):
        assert not Source(reading).is_text()


def test_refusals_of_sounds() -> None:
    for content in (
        *(b"fLaC....", b"OggS....", b"ID3\4....", b"RF64....WAVE", b"RIFF....AVI ", b"RIFF....WAVE"),
        *(npy(np.zeros(3)), b"x,y,z\n0.1,-0.2,0.3\n0.2,0.1,0.0\n", b"sensor 1\tsensor 2\r\n" * 100),
        *(WAVE[:20] + b"\7" + WAVE[21:], WAVE[:12] + WAVE[36:], WAVE[:-100], WAVE[44:] + b"x"),
        *(WAVE[:12] + b"fmt \xff\xff\xff\0", WAVE[:12] + b"LIST\xff\xff\xff\0abc"),
        wav_bytes(np.array([0, np.nan]), bits=32, form=3),
    ):
        with naming(content[:20]), pytest.raises(Unreadable):
            read(content, record=OF_SOUND)


@every(
    *("record", "begin", "sample"),
    of=[
        (RECORD, b"0,0\n", lambda number: b"%d,0\n" % number),
        (OF_SOUND, b"\0\0", lambda number: struct.pack("<h", number)),
        # Samples whose bytes may be how an array or a header begins.
        (OF_SOUND, b"\x93N\1\1", lambda _: b"\x93N"),
        (OF_SOUND, b"RI\1\1", lambda _: b"RI"),
    ],
)
def test_samples_are_handed_on_at_once(record: InputRecord, begin: bytes, sample: Callable[[int], bytes]) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb"), within_seconds(20):
        os.write(writer, begin)
        samples = coming(Source(reader), record).blocks
        assert len(next(samples)[0]) == (2 if len(begin) == 4 and record is OF_SOUND else 1)
        for number in range(2, 5):
            before = perf_counter()
            os.write(writer, sample(number))
            got, since = next(samples)
            assert len(got) == 1
            assert before <= since <= perf_counter()


def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    later = threading.Timer(0.05, lambda: (os.write(writer, b"1,2\n"), os.close(writer)))
    later.start()
    with within_seconds(20):
        assert [rows.tolist() for rows, _ in coming(Source(reader), RECORD).blocks] == [[[1, 2]]]
    later.join()
    os.close(reader)


@every("record", "block", "samples", of=[(RECORD, b"1,2\n", 1), (OF_SOUND, b"\1\2" * 10, 10), (RECORD, b"\n", 0)])
def test_memory_does_not_grow_with_what_has_come(record: InputRecord, block: bytes, samples: int) -> None:
    with pipe([block * 500] * 12) as source, at_most(2**19):
        count = sum(len(found) for found, _ in coming(source, record).blocks)
    assert count == 12 * 500 * samples
