"""docs/how_to/your_own_recordings.md can be followed from its first to its last line."""

from pathlib import Path

import pytest

from hdlif.inputs.recordings import READERS
from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

PAGE = page("how_to/your_own_recordings")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=6", "--set", "model.width=4"])
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "sensor         16x16 (height, width), from data.sensor" in said["data"]
    answers = [line.split(": ")[1].split()[0] for line in said["run"].splitlines()]
    assert answers[1:].count("right") > 0.8 * len(answers[1:])
    assert (tmp_path / "sheet.png").exists()


def test_every_key_and_format_of_recordings_has_its_row() -> None:
    assert arguments("events") - {"path"} <= keys_in_rows(PAGE) | keys_in_rows(page("how_to/your_own_targets"))
    assert all(f"`{suffix}`" in PAGE for suffix in READERS)
