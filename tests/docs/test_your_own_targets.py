"""docs/how_to/your_own_targets.md can be followed from its first to its last line."""

from pathlib import Path

import pytest

from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

PAGE = page("how_to/your_own_targets")


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=6"])
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert said["data"].startswith(f'{tmp_path}/photos: files in labels.csv, groups in "person", split here')
    answers = {line.split(": ")[0]: line for line in said["run"].splitlines()}
    # A zero has a loop, a one has none.
    assert ("loop (" in answers["photos/0.png"], "loop (" in answers["photos/1.png"]) == (True, False)
    assert (tmp_path / "sheet.png").exists()


def test_every_key_of_a_table_of_targets_has_its_row() -> None:
    assert {"targets", "file", "label", "group", "values", "labels"} <= keys_in_rows(PAGE) & arguments("folder")
