"""Recordings read by tonic: AEDAT 4.0 through it, N-MNIST's as it reads them. Needs `hdlif[events]`."""

from pathlib import Path

import numpy as np
import pytest

from hdlif.inputs import Unreadable
from hdlif.inputs.recordings import read_recording
from recorded_events import aedat4_bytes, bin_bytes, recording

pytest.importorskip("aedat")
io = pytest.importorskip("tonic.io")
pytestmark = pytest.mark.peers
FIELDS = ("t", "x", "y", "polarity")


def test_aedat4_is_read_through_tonic(tmp_path: Path) -> None:
    events = recording(60, side=128)
    path = tmp_path / "a.aedat4"
    path.write_bytes(aedat4_bytes(events))
    seen = read_recording(path, path.read_bytes())
    for field in FIELDS:
        assert getattr(seen, field).tolist() == getattr(events, field).tolist()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Unreadable, match=r"^cannot be read as AEDAT 4.0"):
        read_recording(path, b"")


def test_n_mnist_is_read_as_tonic_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bin_bytes(recording(500, side=34, length=300_000)))
    seen = read_recording(path, path.read_bytes())
    theirs = io.read_mnist_file(str(path), dtype=np.dtype([(name, int) for name in "xytp"]))
    for field, name in zip(FIELDS, "txyp", strict=True):
        assert getattr(seen, field).tolist() == theirs[name].tolist()
