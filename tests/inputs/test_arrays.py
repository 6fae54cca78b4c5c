"""Arrays of files that nobody vouches for: what NumPy writes is read as NumPy reads it, the rest is refused."""

import io
import pickle
import zipfile
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from array_files import npy, npz
from cases import naming
from hdlif.errors import printable
from hdlif.inputs import Unreadable, arrays
from hdlif.inputs.arrays import parse_archive, parse_array, parse_labels
from resource_limits import at_most


def raw(header: str, values: bytes = b"", *, version: Sequence[int] = (1, 0)) -> bytes:
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
    content = npy(np.asfortranarray(array) if fortran else array, version)
    read, expected = parse_array(content), np.load(io.BytesIO(content))
    assert read.dtype == expected.dtype.newbyteorder("=")
    assert read.dtype.isnative
    assert read.shape == expected.shape
    assert read.tobytes() == expected.astype(read.dtype).tobytes()


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


def test_other_writers_spellings_are_read() -> None:
    for header in (PLAIN, PLAIN.replace("'", '"'), "{'shape':( 2 , ),'fortran_order':True,'descr':'f4'}"):
        np.testing.assert_array_equal(parse_array(raw(header, np.float32([1, 2]).tobytes())), [1, 2])


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


REFUSED = (
    *(b"", b"nothing", b"PK\3\4", pickle.dumps(Trap())),
    *(npy(array) for array in (np.array([Trap(), 1], object), np.zeros(2, [("a", "<f4"), ("b", "<i2")]))),
    *(npy(array) for array in (np.array(["a", "bc"]), np.zeros(2, "M8[s]"))),
    *(b"\x93NUMPY", raw(PLAIN, version=(4, 0)), raw(PLAIN, version=(1, 1)), b"\x93NUMPY\2\0\xff\xff\xff\xff{}"),
    *(raw(PLAIN + " " * 10_000), raw(PLAIN, bytes(7)), raw(PLAIN, bytes(9)), raw("{}"), raw(PLAIN + "\xa0", bytes(8))),
    *(
        raw(PLAIN.replace("2,", shape), bytes(8))
        for shape in (f"{2**50},", "-2,", "9" * 3000, f"{2**63}, 0", f"{2**62}, 0, 8", "1 2,", "2", ",", ", 2", "2,,")
    ),
    raw(PLAIN.replace("2,", f"{2**62}, 0, 8")),
    raw(PLAIN.replace("2,", "1," * 99), bytes(4)),
    *(
        raw(PLAIN.replace("(2,)", shape), bytes(8))
        for shape in ("(" * 1900 + ")" * 1900, "-" * 4000 + "2", "__import__('os')", "'<f4'", "[2]", "(True, 2)")
    ),
    *(raw(PLAIN.replace("<f4", name), bytes(8)) for name in ("<f5", "O", "(2,)f4", "i4,i4", "V8", "\\d")),
    raw(PLAIN.replace("'shape'", "'descr'")),
    raw(PLAIN.replace("}", "'more': 1}"), bytes(8)),
    raw("\x1b[2J\n"),
)


def test_refusals() -> None:
    for content in REFUSED:
        # Python's parser takes up to 300 times the header, of at most 4,096 bytes.
        with at_most(1_400_000 + 12 * len(content)), pytest.raises(Unreadable) as caught:
            parse_array(content)
        assert printable(str(caught.value)) == str(caught.value), content


def test_labels_are_integers_or_text() -> None:
    for labels in (["b", "a", "\u00e9t\u00e9", ""], [3, -1, 3], np.array([1, 0], ">u2")):
        assert parse_labels(npy(np.asarray(labels))) == list(labels)
    letters = (npy(np.array(["ab"]))[:-4] + letter.to_bytes(4, "little") for letter in (0x110000, 0xD800, 2**32 - 1))
    for content in (npy(np.array([0.5])), npy(np.array([[1]])), *letters):
        with naming(content), pytest.raises(Unreadable):
            parse_labels(content)


def test_archives_of_numpy_are_read_up_to_the_largest_array_and_others_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse_archive(npz(x=np.arange(3.0), y=np.arange(2)), ("x", "y"))
    assert {name: parse_array(content).tolist() for name, content in found.items()} == {"x": [0, 1, 2], "y": [0, 1]}
    monkeypatch.setattr(arrays, "MOST_BYTES", 1000)
    with pytest.raises(Unreadable, match="array x has more than 1,000 bytes"):
        parse_archive(npz(x=np.zeros(10**6)), ("x",))
    file, twice = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("x.npy", b"1")
    with zipfile.ZipFile(twice, "w") as made:
        made.writestr("x.npy", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("x.npy", b"2")
    others = (b"", npz(x=np.zeros(9))[:-20], npz(x=1, z=2), file.getvalue(), twice.getvalue())
    for content in others:
        with naming(content), pytest.raises(Unreadable):
            parse_archive(content, ("x", "y"))
