"""docs/tutorials/your_own_images.md can be followed from its first to its last line."""

from pathlib import Path

import pytest

from hdlif.builders.found import arguments
from pages import followed, keys_in_rows, page

PAGE = page("tutorials/your_own_images")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=4"])
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "zero" in said["data"]
    answers = [line.split(": ")[1].split()[0] for line in said["run"].splitlines()]
    assert answers.count("two") > 0.8 * len(answers)
    assert (tmp_path / "sheet.png").exists()


def test_every_key_of_a_folder_has_its_row() -> None:
    assert arguments("folder") - {"path"} <= keys_in_rows(PAGE) | keys_in_rows(page("how_to/your_own_targets"))
