"""What a training shows on the screen and in a file."""

import json
import re
from pathlib import Path

import pytest

from hdlif.training import progress_bar
from training.tiny import BATCHES, train


def test_progress_is_shown_on_standard_error_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Rich knows a terminal where there is none.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar(enabled=True) as bar:
        train(tmp_path / "shown", epochs=1, progress=bar)
    with progress_bar(enabled=False) as bar:
        train(tmp_path / "hidden", epochs=1, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "shown" in printed.err
    assert "accuracy" in printed.err
    assert f"{BATCHES}/{BATCHES}" in re.sub(r"\x1b\[[\d;]*m", "", printed.err)
    assert "epoch 1" not in printed.err
    assert "hidden" not in printed.err


def test_samples_that_are_left_out_are_told_of_from_a_tenth_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size, are_told_of in ((256, True), (100, False)):
        train(tmp_path / str(size), batch_size=size, epochs=1, cores=0, progress=progress_bar(enabled=True))
        assert ("--set data.batch_size=64 leaves 0 out\n" in capsys.readouterr().err) == are_told_of


def test_where_there_is_no_terminal_each_epoch_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(enabled=True) as bar:
        train(tmp_path / "shown", epochs=2, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    logged = [json.loads(line) for line in (tmp_path / "shown" / "metrics.jsonl").read_text().splitlines()]
    learned = {event["epoch"]: event for event in logged if event["event"] == "train"}
    measured = [event for event in logged if event["event"] == "validation"]
    assert lines == [
        f"shown: epoch {of['epoch']} of 2: loss {learned[of['epoch']]['loss']:.4f}, accuracy "
        f"{learned[of['epoch']]['accuracy']:.1%}, validation accuracy {of['accuracy']:.1%}, {of['seconds']:.0f} s"
        for of in measured
    ]
    assert len(lines) == 2
