"""docs/how_to/your_own_sensor_data.md can be followed from its first to its last line."""

from pathlib import Path

import pytest

from hdlif.data.sources.sounds import SOUND_KEYS
from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

PAGE = page("how_to/your_own_sensor_data")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer windows, an epoch of which is enough to tell a run.
    training = ["--set", "training.epochs=2", "--set", "data.stride=64"]
    said = followed(PAGE, tmp_path, monkeypatch, training=training)
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "groups         ann, bob, cem, dora, eve, finn" in said["data"]
    assert said["run"] == "activity.html\n"
    assert "Firing by layer" in (tmp_path / "activity.html").read_text("utf-8")


def test_every_key_of_series_has_its_row() -> None:
    rows = keys_in_rows(PAGE) | {"resample"}
    assert arguments("series") - {"path", *SOUND_KEYS} <= rows
