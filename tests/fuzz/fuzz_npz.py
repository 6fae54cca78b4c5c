"""Archives of arrays that `--data` is given: whatever the bytes are, their arrays and labels, or `Unreadable`."""

import io
import random
import zipfile
from contextlib import suppress

import driver
import numpy as np

from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.arrays import parse_archive, parse_array, parse_labels
from hdlif.inputs.series import finite


def target(data: bytes) -> None:
    with suppress(Unreadable):
        files = parse_archive(data, ("x", "y"))
        assert all(len(content) <= MOST_BYTES for content in files.values())
        if "x" in files:
            assert np.isfinite(finite(parse_array(files["x"]))).all()
        if "y" in files:
            assert all(isinstance(label, int | str) for label in parse_labels(files["y"]))


def mutate(data: bytes, draw: random.Random) -> bytes:
    """The same archive with a change in one of its files, whose checksum then fits."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(name, archive.read(name)) for name in archive.namelist()[:4]]
    except Exception:
        return data
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in files:
            at = draw.randint(0, min(len(content), 200))
            piece = draw.choice((b"", b"'<f4'", b"'|O'", b"'<U3'", b"(9,)", bytes([draw.randint(0, 255)])))
            changed = content[:at] + piece + content[at + len(piece) :] if draw.random() < 0.7 else content
            archive.writestr(draw.choice((name, name, "z.npy")), changed)
    return out.getvalue()


if __name__ == "__main__":
    driver.main(target, "npz", mutate=mutate)
