"""The .npz format, read within limits."""

import io
import re
import zipfile

import numpy as np
import pytest

from hdlif.inputs import Unreadable, archives
from hdlif.inputs.archives import parse_archive
from hdlif.inputs.arrays import parse_array


def archive(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def test_arrays_as_numpy_writes_them() -> None:
    found = parse_archive(archive(x=np.arange(3.0), y=np.arange(2)), ("x", "y"))
    assert parse_array(found["x"]).tolist() == [0, 1, 2]
    assert parse_array(found["y"]).tolist() == [0, 1]


def test_no_more_is_unpacked_than_an_array_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    with pytest.raises(Unreadable, match="array x has more than 1,000 bytes"):
        parse_archive(archive(x=np.zeros(10**6)), ("x",))


def twice() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x.npy", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("x.npy", b"2")
    return file.getvalue()


def lzma() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("x.npy", b"1")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a zip archive as numpy.savez writes one"),
        (archive(x=np.zeros(9))[:-20], "not a zip archive"),
        (archive(x=1, z=2), "it holds 'z', which is none of x, y"),
        (lzma(), "its array x is neither stored nor deflated; save it by numpy.savez_compressed"),
        (twice(), "it holds 'x' twice"),
    ],
)
def test_refusals(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(words)):
        parse_archive(content, ("x", "y"))
