"""`hdlif.commands.train`: what a finished training leaves where a part of its measuring fails."""

import json
from pathlib import Path

import pytest

from hdlif.commands import train as module
from hdlif.errors import TrainingError
from hdlif.measure import peak_memory as probe

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4"]


def test_a_summary_is_written_where_memory_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*arguments: object, **options: object) -> int:
        raise TrainingError("digits_hdlif: peak memory could not be measured (exit code -9)")

    monkeypatch.setattr(module, "peak_memory", killed)
    summary = module.train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=1)
    assert summary.peak_bytes is None
    assert json.loads((tmp_path / "summary.json").read_text()) == summary.as_dict()
    assert "could not be measured (exit code -9); the summary is without it" in "".join(capsys.readouterr())


def test_what_was_measured_of_an_earlier_network_goes_with_it(tmp_path: Path) -> None:
    module.train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=0)
    for name in ("coherence.json", "report.html"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    module.train("digits_hdlif", overrides=[*FAST, "seed=7"], out=tmp_path, overwrite=True, memory_repeats=0)
    assert not (tmp_path / "coherence.json").exists()
    assert not (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "confusion.json").read_text())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_process_that_cannot_measure_says_why_and_what_helps() -> None:
    how = "measured on the CPU, in one process with the whole batch"
    with pytest.raises(TrainingError, match=rf"name: .* \(exit code 9; it is {how}\); .*--memory-repeats 0"):
        probe.in_fresh_processes(["-c", "raise SystemExit(9)"], repeats=1, name="name")
