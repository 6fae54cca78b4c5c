"""Small files of a run: written whole or not at all, and what they say of their origin."""

from pathlib import Path

import pytest

from hdlif.errors import TrainingError
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.report.build_info import build
from hdlif.report.provenance import command, measured


def test_failed_write_keeps_the_old_file_and_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    before = path.read_text()
    with pytest.raises(TrainingError, match=r"summary\.json: cannot be made there"):
        write_text(path / "page.html", "text")

    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(TrainingError, match=r"summary\.json: cannot be written \(No space left on device\)"):
        write_json(path, {"a": 2})
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_command_names_no_folder_of_this_machine_and_a_commit_is_stated() -> None:
    assert command(["/opt/bin/hdlif", "ablate", "digits", "--out", "/tmp/runs"]) == "hdlif ablate digits --out runs"
    script = ["/home/me/hdlif/benchmarks/bench_rules.py", "--rules", "STBP;random step"]
    assert command(script) == "python benchmarks/bench_rules.py --rules 'STBP;random step'"
    assert measured(None)["commit"] == (build().commit or "not recorded")
