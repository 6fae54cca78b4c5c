"""Files that are written whole or not at all, whoever writes them at the same time."""

import os
from pathlib import Path

import pytest

from hdlif.whole_files import whole_file


def test_writers_of_one_process_number_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in two containers that share a disk, where each writer is process 1.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "table.json"
    with whole_file(path) as one:
        one.write_text("one")
        with whole_file(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
        assert one.read_text() == "one"
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def stop_half_way(path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.name.startswith(".table.json.")
        assert temporary.suffix == ".tmp"
        raise ValueError("stopped")


def test_failed_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="stopped"):
        stop_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
