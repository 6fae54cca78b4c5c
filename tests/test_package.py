"""The package itself: its version, and files that are written whole or not at all."""

import os
from pathlib import Path

import pytest

import hdlif
from hdlif.whole_files import read_regular, whole_file
from resource_limits import at_most, within_seconds
from special_files import special_files


def test_the_version_is_found_when_it_is_asked_for() -> None:
    assert hdlif.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="versoin"):
        hdlif.versoin  # noqa: B018


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


def test_a_regular_file_is_read_within_its_size_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    # Reading "at most so much" would take that much memory first.
    with at_most(100_000):
        assert read_regular(path, most=2**40) == path.read_bytes()
    assert read_regular(path, most=1000) == path.read_bytes()
    with pytest.raises(OSError, match="larger than 999 bytes"):
        read_regular(path, most=999)
    for special in special_files(tmp_path, "").values():
        with within_seconds(5), pytest.raises(OSError, match=r"."):
            read_regular(special, most=10)
    # It says that it has no bytes, and has ever new ones.
    assert read_regular(Path("/proc/self/status"), most=10**6) == b""
