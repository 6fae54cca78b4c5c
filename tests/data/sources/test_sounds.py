"""The user's own sounds: what is found in a folder, how it is split, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlif.data import OwnData
from hdlif.data.sources.series import Series
from hdlif.data.split import group_in
from hdlif.errors import DataError
from sound_files import CLASSES, tone, wav_bytes, write_sounds


def look(path: Path, **keys: Any) -> OwnData:
    return Series(None, size=None, known=None, path=str(path), **{"seconds": 0.25, "mels": 8, **keys}).find()


def test_no_group_of_file_names_is_in_two_parts(tmp_path: Path) -> None:
    found = look(write_sounds(tmp_path / "x"), group="GROUP_*.wav")
    parts = {(entry.file.partition("/")[2].split("_")[0], entry.part) for entry in found.manifest.entries}
    assert (len(parts), found.classes, found.input.shape) == (5, CLASSES, (8, 15, 1))
    assert found.seen["groups"] == ["p0", "p1", "p2", "p3", "p4"]
    for part, count in (("train", 10), ("test", 2)):
        write_sounds(tmp_path / part, count)
    (tmp_path / "x").rename(tmp_path / ".x")
    with pytest.raises(DataError, match='"p0", a group of "GROUP_*", is in test and in train'.replace("*", r"\*")):
        look(tmp_path, group="GROUP_*")


def test_a_pattern_gives_the_group_of_a_name() -> None:
    for pattern, name, group in (
        ("GROUP_*", "ann_1_2.wav", "ann"),
        ("*_GROUP.wav", "x_y_z.wav", "y_z"),
        ("*/GROUP", "a/b/c", "b/c"),
        ("xGROUPx", "xx", None),
        ("xGROUPx", "xax", "a"),
        ("GROUP_*_*.wav", "a_b.wav", None),
        ("*" * 50 + "GROUPa", "a" * 5000 + "b", None),
    ):
        assert group_in(pattern, name) == group, pattern


def test_rates_are_one_or_made_one_and_clips_of_other_lengths_counted(tmp_path: Path) -> None:
    write_sounds(tmp_path, rate=8000)
    (tmp_path / "low" / "p9_0.wav").write_bytes(wav_bytes(tone("low", 9, 0.25, 16000), 16000))
    with pytest.raises(DataError, match=r"--set data\.resample=8000"):
        look(tmp_path)
    found = look(tmp_path, resample=8000)
    assert found.seen["rates"] == {"8000": 20, "16000": 1}
    assert found.input.sound is not None
    assert found.input.sound.rate == 8000
    (tmp_path / "low" / "p9_0.wav").unlink()
    (tmp_path / "low" / "long.wav").write_bytes(wav_bytes(tone("low", 9, 1)))
    (tmp_path / "low" / "short.wav").write_bytes(wav_bytes(tone("low", 9, 0.1)))
    found = look(tmp_path)
    assert (found.seen["padded"], found.seen["cut"], len(found.manifest.entries)) == (1, 1, 22)
    every = look(tmp_path, clips="windows")
    windows = [f"low/long.wav@{begin}s" for begin in ("0", "0.25", "0.5", "0.75")]
    assert [entry.file for entry in every.manifest.entries if "long" in entry.file] == windows


def test_damaged_sounds_are_named_or_left_out_and_odd_folders_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_sounds(tmp_path)
    digest = look(root).manifest.digest
    (tmp_path / "low" / "z.wav").write_bytes(wav_bytes(np.zeros(9))[:-1])
    with pytest.raises(DataError, match=r"low/z\.wav \(its? "):
        look(tmp_path)
    found = look(tmp_path, unreadable="skip")
    assert [fault["file"] for fault in found.seen["unreadable"]] == ["low/z.wav"]
    assert found.manifest.digest == digest
    (root / "low" / "z.wav").unlink()
    with pytest.raises(DataError, match=r"does not match data\.group"):
        look(root, group="xGROUP")
    (root / "low" / "x.csv").write_text("1\n2\n")
    with pytest.raises(DataError, match="keep one kind"):
        look(root)
    (root / "low" / "x.csv").unlink()
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="no CSV or WAV file in empty"):
        look(root)
    (root / "empty").rmdir()
    monkeypatch.setattr("hdlif.data.sources.sounds.MOST_KEPT", 1000)
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        look(root)
