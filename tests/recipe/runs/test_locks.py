"""One training at a time in a run folder, a table that two processes share, and small files written atomically."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import in_use
from hdlif.cli.ablate import ablate
from hdlif.cli.sweep import sweep
from hdlif.errors import InUseError, TrainingError
from hdlif.recipe import builders
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.folders import training_alone
from hdlif.report.build_info import build
from hdlif.report.provenance import command, measured
from trainings import train

TABLE = """
title: tiny, accuracy %
base: digits_hdlif
overrides: [model.width=4, "model.blocks=[1]", training.epochs=1, data.batch_size=128, data.train=256]
rows:
  HD-LIF: []
  LIF: ["neuron={kind: lif}"]
columns:
  fp32: []
"""


@contextmanager
def training(out: Path, table: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that trains, in the middle of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, in_use.__file__, table, str(out)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "training\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_second_training_in_one_folder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    again = {"overrides": in_use.OVERRIDES, "out": out, "memory_repeats": 0}
    with training(out) as first:
        before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
        who = f"process {first.pid} on {socket.gethostname()}"
        for how in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(InUseError, match=f"run: {who} is training there; wait for it to end, or choose"):
                train(in_use.RECIPE, **how, **again)
        assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
        first.kill()
        first.wait()
        train(in_use.RECIPE, resume=True, **again)
        events = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        assert [event["epoch"] for event in events if event["event"] == "train"] == [1, 2]


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_share_a_table(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "tiny.yaml"
    table.write_text(TABLE)
    said: list[str] = []
    with training(out, str(table)) as first:
        mine = ablate(table, out=out, say=said.append)
        assert mine["rows"] == {"HD-LIF": {}, "LIF": mine["rows"]["LIF"]}
        assert mine["rows"]["LIF"]["fp32"]["n"] == 1
        assert said[1].startswith(f"1/2 HD-LIF, fp32, seed 42: skipped: {out / 'hd_lif/fp32/seed_42'}: process ")
        assert said[-1] == "1/2 HD-LIF, fp32, seed 42: still training; run this command again to complete the table"
        first.communicate("go on\n", timeout=300)
        assert first.returncode == 0
    whole = json.loads((out / "table.json").read_text())["rows"]
    assert whole["LIF"] == mine["rows"]["LIF"]
    assert whole["HD-LIF"]["fp32"]["n"] == 1


def test_full_disks_and_absent_locks_end_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> Callable[..., Any]:
        def failing(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return failing

    # The lock stays without a name, and the error as it is.
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail(errno.ENOSPC))
        with pytest.raises(TrainingError, match="no room"), training_alone(tmp_path):
            raise TrainingError("no room")
    monkeypatch.setattr(fcntl, "lockf", fail(errno.ENOLCK))
    with training_alone(tmp_path):
        pass
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    space = tmp_path / "space.yaml"
    space.write_text("training.learning_rate: {kind: float, low: 0.01, high: 0.3}")
    # Of two processes that share trials, neither could tell what the other one has.
    with pytest.raises(
        TrainingError, match=r"cannot be locked \(No locks available\).* a file system that supports locks"
    ):
        sweep("digits_hdlif", space=space, trials=1, study=tmp_path / "study.log")


def test_a_process_has_a_lock_once(tmp_path: Path) -> None:
    with training_alone(tmp_path):
        for _ in range(2):
            with pytest.raises(InUseError, match="this process is training there"), training_alone(tmp_path):
                pass
        lock = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", lock, str(tmp_path / ".lock")], check=False, capture_output=True)
        assert other.returncode != 0
    with training_alone(tmp_path):
        pass


def test_a_cell_that_another_process_finishes_is_not_retrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether to go on is decided once the folder is this process's, not while data are made."""
    options = {"overrides": in_use.OVERRIDES, "out": tmp_path, "memory_repeats": 0, "resume": None}
    build_data, first = builders.build_data, []

    def slow(*arguments: object, **more: object) -> object:
        monkeypatch.setattr(builders, "build_data", build_data)
        first.append(train(in_use.RECIPE, **options))
        return build_data(*arguments, **more)

    monkeypatch.setattr(builders, "build_data", slow)
    assert train(in_use.RECIPE, **options) == first[0]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    before = path.read_text()
    with pytest.raises(TrainingError, match=r"summary\.json: cannot be created"):
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
