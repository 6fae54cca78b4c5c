"""Arrays of files that nobody vouches for: what NumPy writes is read as NumPy reads it, the rest is refused."""

import io
import pickle
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_labels
from mutations import at_most, mutations


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def npy(header: str, values: bytes = b"", *, version: Sequence[int] = (1, 0)) -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + values


@given(
    of_numpy.arrays(
        st.sampled_from(["u1", "i1", "<f4", ">f4", "<f8", ">i2", "?", "<f2", "<u8", "<c8"]),
        of_numpy.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_what_numpy_saves_is_read_as_numpy_reads_it(array: np.ndarray, fortran: bool, version: tuple[int, int]) -> None:
    content = saved(np.asfortranarray(array) if fortran else array, version)
    read, expected = parse_array(content), np.load(io.BytesIO(content))
    assert read.dtype == expected.dtype.newbyteorder("=")
    assert read.dtype.isnative
    assert read.shape == expected.shape
    assert read.tobytes() == expected.astype(read.dtype).tobytes()


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


def test_other_writers_spellings_are_read() -> None:
    for header in (PLAIN, PLAIN.replace("'", '"'), "{'shape':( 2 , ),'fortran_order':True,'descr':'f4'}"):
        np.testing.assert_array_equal(parse_array(npy(header, np.float32([1, 2]).tobytes())), [1, 2])


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(2))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"nothing", "does not begin as numpy.save"),
        (archive(), "it is a zip archive"),
        (pickle.dumps(Trap()), "it is a pickle, which is never read"),
        (saved(np.array([Trap(), 1], object)), "not a plain type"),
        (saved(np.zeros(2, [("a", "<f4"), ("b", "<i2")])), "not a plain type"),
        (saved(np.array(["a", "bc"])), "not a plain type"),
        (saved(np.zeros(2, "M8[s]")), "not a plain type"),
        (b"\x93NUMPY", "version []"),
        (npy(PLAIN, version=(4, 0)), "version [4, 0]"),
        (npy(PLAIN, version=(1, 1)), "version [1, 1]"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "its header takes 4294967295 bytes"),
        (npy(PLAIN + " " * 10_000), "its header takes"),
        (npy(PLAIN, bytes(7)), "takes 8 bytes, and 7 follow"),
        (npy(PLAIN, bytes(9)), "takes 8 bytes, and 9 follow"),
        (npy(PLAIN.replace("2,", f"{2**50},")), "takes 4503599627370496 bytes, and 0 follow"),
        (npy(PLAIN.replace("2,", "-2,")), "not a plain type"),
        (npy(PLAIN.replace("2,", "9" * 5000)), "the shape (999"),
        (npy(PLAIN.replace("2,", f"{2**63}, 0")), "the shape (9223372036854775808, 0)"),
        (npy(PLAIN.replace("2,", f"{2**62}, 0, 8")), "no array has the shape [4611686018427387904, 0, 8]"),
        (npy(PLAIN.replace("2,", "1," * 33), bytes(4)), "the shape (1,1,"),
        (npy(PLAIN.replace("2,", "1 2,")), "the shape (1 2,)"),
        (npy(PLAIN.replace("2,", "2"), bytes(8)), "the shape (2)"),
        (npy(PLAIN.replace("2,", ","), bytes(4)), "the shape (,)"),
        (npy(PLAIN.replace("2,", ", 2"), bytes(8)), "the shape (, 2)"),
        (npy(PLAIN.replace("2,", "2,,"), bytes(8)), "the shape (2,,)"),
        (npy(PLAIN.replace("(2,)", "(" * 4000 + ")" * 4000)), "not a plain type"),
        (npy(PLAIN.replace("(2,)", "-" * 9000 + "2")), "not a plain type"),
        (npy(PLAIN.replace("(2,)", "__import__('os')")), "not a plain type"),
        (npy(PLAIN.replace("<f4", "<f5")), "the type <f5"),
        (npy(PLAIN.replace("'shape'", "'descr'")), "not a plain type"),
        (npy(PLAIN.replace("(2,)", "'<f4'")), "not a plain type"),
        (npy("{}"), "not a plain type"),
        (npy(PLAIN + "\xa0", bytes(8)), "not a plain type"),
        (npy(PLAIN.replace(" ", "\v"), bytes(8)), "not a plain type"),
        (npy("\x1b[2J\n"), r"\x1b[2J"),
    ],
)
def test_refusals(content: bytes, words: str) -> None:
    with at_most(200_000 + 12 * len(content)), pytest.raises(Unreadable, match=re.escape(words)):
        parse_array(content)


def test_damaged_files_are_read_or_refused_within_their_size() -> None:
    for valid in (saved(np.zeros((2, 3), "<f4")), saved(np.asfortranarray(np.ones((2, 3), ">f4")), (2, 0))):
        for content in mutations(valid, 1500):
            with at_most(200_000 + 12 * len(content)):
                try:
                    array = parse_array(content)
                except Unreadable:
                    continue
                assert array.nbytes <= len(content)


@pytest.mark.parametrize("labels", [["b", "a", "\u00e9t\u00e9", ""], [3, -1, 3], np.array([1, 0], ">u2")])
def test_labels_are_integers_or_text(labels: list[str] | list[int]) -> None:
    file = io.BytesIO()
    np.save(file, np.asarray(labels))
    assert parse_labels(file.getvalue()) == list(labels)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0.5], "labels are integers or text"), ([[1]], "labels are integers or text, [N]")],
)
def test_labels_that_are_none(labels: object, words: str) -> None:
    file = io.BytesIO()
    np.save(file, np.asarray(labels))
    with pytest.raises(Unreadable, match=re.escape(words)):
        parse_labels(file.getvalue())


@pytest.mark.parametrize("letter", [0x110000, 0xD800, 0xFFFFFFFF])
def test_letters_that_there_are_not_are_refused(letter: int) -> None:
    file = io.BytesIO()
    np.save(file, np.array(["ab"]))
    content = file.getvalue()[:-4] + letter.to_bytes(4, "little")
    with pytest.raises(Unreadable, match="holds what is not text"):
        parse_labels(content)
