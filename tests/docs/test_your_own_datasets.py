"""docs/how_to/your_own_datasets.md can be followed from its first to its last line."""

import sys
from pathlib import Path

import pytest

from hdlif.data.sources.sounds import SOUND_KEYS
from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

PAGE = page("how_to/your_own_datasets")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The page's module lies in the working folder, which is looked through for good once it has been.
    monkeypatch.setattr(sys, "path", list(sys.path))
    said = followed(PAGE, tmp_path, monkeypatch, training=["--set", "training.epochs=1", "--set", "model.width=4"])
    assert list(said) == ["data", "train", "eval", "export"]
    assert said["data"].startswith("handwriting:Digits: data sets of train/test, split here (validation 0.15")
    assert (tmp_path / "runs" / "digits" / "parts.json").exists()


def test_every_key_of_shards_and_tables_has_its_row() -> None:
    elsewhere = {*arguments("folder"), *arguments("events"), *SOUND_KEYS, "resample"}
    assert arguments("shards", "arrow") - elsewhere <= keys_in_rows(PAGE)
    assert all(f"`{key}`" in PAGE for key in arguments("shards") - {"path"})
