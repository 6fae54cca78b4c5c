"""docs/how_to/your_own_sounds.md can be followed from its first to its last line."""

import re
from pathlib import Path

import pytest

from hdlif.data.sources.sounds import SOUND_KEYS
from pages import followed, page

PAGE = page("how_to/your_own_sounds")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=2"])
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "time_steps=31" in said["data"]
    assert (tmp_path / "sheet.png").exists()
    assert re.fullmatch(r"(sounds/bell/\d_\d\.wav: \w+ \([\d.]+%\)\n){40}", said["run"])


def test_every_key_of_sounds_has_its_row() -> None:
    rows = "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))
    assert [key for key in (*SOUND_KEYS, "resample", "group", "split") if f"`{key}`" not in rows] == []
