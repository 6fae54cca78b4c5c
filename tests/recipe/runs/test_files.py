"""Small files are written whole or not at all, and a failure says how to mend it."""

import pytest

from hdlif.errors import TrainingError
from hdlif.recipe.runs.files import write_json, write_text


def test_failed_write_keeps_the_old_file_and_leaves_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    before = path.read_text()

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(
        TrainingError, match=r"summary\.json: cannot be written \(No space left on device\); free space"
    ):
        write_json(path, {"a": 2})
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(TrainingError, match=r"out: cannot be made there"):
        write_text(tmp_path / "out" / "page.html", "text")
