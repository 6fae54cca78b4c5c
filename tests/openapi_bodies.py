"""For schemathesis: bodies of the content types of `hdlif serve`, good ones and others."""

import io

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from served import npy


def pictures() -> st.SearchStrategy[bytes]:
    def encoded(form: str, width: int, height: int, grey: bool) -> bytes:
        file = io.BytesIO()
        Image.new("L" if grey else "RGB", (width, height), 99).save(file, form)
        return file.getvalue()

    sides = st.integers(1, 40)
    return st.builds(encoded, st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP"]), sides, sides, st.booleans())


def arrays() -> st.SearchStrategy[bytes]:
    def array(kind: str, shape: tuple[int, ...], seed: int) -> bytes:
        return npy((100 * np.random.default_rng(seed).random(shape)).astype(kind))

    shapes = st.sampled_from([(3, 9, 7), (4, 3, 9, 7), (20, 20), (6, 2), (2,), (0,), (), (2, 6, 2), (1, 1, 1, 1, 1)])
    return st.builds(array, st.sampled_from(["f4", "u1", "f8", "i8", "?", "c8"]), shapes, st.integers(0, 9))


def rows() -> st.SearchStrategy[bytes]:
    lines = st.lists(st.sampled_from([b"1,2", b"0.5,-3e5", b"a,b", b"1", b'"x",', b"nan,1"]), max_size=8)
    return lines.map(b"\n".join)


def broken(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    cut = st.builds(lambda content, end: content[: end % (len(content) + 1)], good, st.integers(0, 10**4))
    return st.one_of(good, cut, st.binary(max_size=100))


for kind in ("png", "jpeg", "bmp", "gif", "tiff", "webp", "x-portable-pixmap", "x-portable-graymap"):
    schemathesis.openapi.media_type(f"image/{kind}", broken(pictures()))
for kind in ("application/x-npy", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, broken(arrays()))
schemathesis.openapi.media_type("text/csv", broken(rows()))
for kind in ("audio/wav", "audio/x-wav", "application/vnd.hdlif.state"):
    schemathesis.openapi.media_type(kind, st.binary(max_size=200))
