"""docs/how_to/your_own_tables.md can be followed from its first to its last line."""

from pathlib import Path

import pytest

from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

PAGE = page("how_to/your_own_tables")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=2"])
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "features       3: height, width, petal" in said["data"]
    lines = said["run"].splitlines()
    assert (len(lines), lines[0].split(": ")[0]) == (300, "flowers.csv:2")


def test_every_key_of_tables_has_its_row() -> None:
    assert arguments("table") - {"path"} <= keys_in_rows(PAGE)
