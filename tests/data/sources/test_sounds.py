"""The user's own sounds: what is found in a folder, how it is split, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlif.data import Found
from hdlif.data.sources.series import find_series
from hdlif.data.split import group_in
from hdlif.errors import DataError
from sound_files import CLASSES, tone, wav_bytes, write_sounds


def look(path: Path, **keys: Any) -> Found:
    return find_series(None, size=None, known=None, path=str(path), **{"seconds": 0.25, "mels": 8, **keys})


def test_no_group_of_file_names_is_in_two_parts(tmp_path: Path) -> None:
    found = look(write_sounds(tmp_path), group="GROUP_*.wav")
    part_of: dict[str, set[str]] = {}
    for entry in found.manifest.entries:
        part_of.setdefault(entry.file.partition("/")[2].split("_")[0], set()).add(entry.part)
    assert all(len(parts) == 1 for parts in part_of.values())
    assert (len(part_of), found.classes, found.input.shape) == (5, CLASSES, (8, 15, 1))
    assert found.seen["groups"] == ["p0", "p1", "p2", "p3", "p4"]


def test_groups_that_lie_in_two_parts_are_refused(tmp_path: Path) -> None:
    write_sounds(tmp_path / "train")
    write_sounds(tmp_path / "test", 2)
    with pytest.raises(DataError, match=re.escape('"p0", a group of "GROUP_*", is in test and in train; keep each in')):
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


def test_rates_are_one_or_made_one(tmp_path: Path) -> None:
    write_sounds(tmp_path, rate=8000)
    (tmp_path / "low" / "p9_0.wav").write_bytes(wav_bytes(tone("low", 9, 0.25, 16000), 16000))
    with pytest.raises(
        DataError, match=r"high/p0_0.wav has 8,000 Hz and low/p9_0.wav 16,000; .* --set data.resample=8000"
    ):
        look(tmp_path)
    found = look(tmp_path, resample=8000)
    assert found.seen["rates"] == {"8000": 20, "16000": 1}
    assert found.input.sound is not None
    assert found.input.sound.rate == 8000


def test_a_clip_that_is_longer_or_shorter_is_counted(tmp_path: Path) -> None:
    write_sounds(tmp_path)
    (tmp_path / "low" / "long.wav").write_bytes(wav_bytes(tone("low", 9, 1)))
    (tmp_path / "low" / "short.wav").write_bytes(wav_bytes(tone("low", 9, 0.1)))
    found = look(tmp_path)
    assert (found.seen["padded"], found.seen["cut"], len(found.manifest.entries)) == (1, 1, 22)
    every = look(tmp_path, clips="windows")
    assert [entry.file for entry in every.manifest.entries if "long" in entry.file] == [
        f"low/long.wav@{begin}s" for begin in ("0", "0.25", "0.5", "0.75")
    ]


def damaged(root: Path, content: bytes) -> Path:
    write_sounds(root)
    (root / "low" / "z.wav").write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "low/z.wav (it is empty); remove them, or leave them out"),
        (wav_bytes(np.zeros(0)), "low/z.wav (it has no sample: its length is zero"),
        (wav_bytes(np.zeros(9))[:-1], "low/z.wav (its chunk 'data' claims 18 bytes, and 17 follow"),
        (wav_bytes(np.array([np.nan]), form=3, bits=32), "low/z.wav (its sample 0 (from 0) is not a finite float32"),
    ],
)
def test_damaged_sounds_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        look(damaged(tmp_path / "damaged", content))
    found = look(tmp_path / "damaged", unreadable="skip")
    assert [fault["file"] for fault in found.seen["unreadable"]] == ["low/z.wav"]
    assert found.manifest.digest == look(write_sounds(tmp_path / "whole")).manifest.digest


def test_other_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sounds(tmp_path / "a")
    with pytest.raises(DataError, match=r'high/p0_0.wav does not fit data.group = "xGROUP"'):
        look(tmp_path / "a", group="xGROUP")
    (tmp_path / "a" / "low" / "x.csv").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"holds \.csv and \.wav files; keep one kind of them"):
        look(tmp_path / "a")
    (tmp_path / "b" / "empty").mkdir(parents=True)
    write_sounds(tmp_path / "b")
    with pytest.raises(DataError, match="no CSV or WAV file lies in empty"):
        look(tmp_path / "b")
    (tmp_path / "b" / "empty").rmdir()
    monkeypatch.setattr("hdlif.data.sources.sounds.MOST_KEPT", 1000)
    with pytest.raises(DataError, match="its clips take more than 1,000 bytes"):
        look(tmp_path / "b")
