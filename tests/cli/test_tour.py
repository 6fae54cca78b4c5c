"""The tour as a user takes it: Enter, s, q, Ctrl-C, and without being asked."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.test_completion import until
from hdlif.cli import tour as touring
from hdlif.cli.output import put
from hdlif.errors import ExistingRunError, MissingExtraError, TrainingError

COMMAND = [sys.executable, "-m", "hdlif", "tour"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands that are asked for, each of which leaves a file where its --out is, and computes nothing."""
    commands: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...]) -> int:
        commands.append(tuple(command))
        if "--out" in command:
            out = Path(command[command.index("--out") + 1])
            (out / "model.safetensors" if command[0] == "train" else out).parent.mkdir(parents=True, exist_ok=True)
            (out / "model.safetensors" if command[0] == "train" else out).write_text("")
        return 0

    monkeypatch.setattr(touring, "_run", run)
    return commands


def answers(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=iter([*(f"{line}\n" for line in lines), ""]).__next__))


def verbs(commands: list[tuple[str, ...]]) -> list[str]:
    return [command[0] for command in commands]


def test_without_being_asked_every_step_runs_and_all_is_written_below_out(
    ran: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touring.tour(yes=True, out=tmp_path / "mine")
    assert verbs(ran) == ["train", "eval", "export", "run", "profile"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    shown = capsys.readouterr().out
    assert [f"{number} of 6: " in shown for number in range(1, 7)] == [True] * 6
    assert "\x1b" not in shown
    assert (tmp_path / "mine" / "digit.png").read_bytes().startswith(b"\x89PNG")
    touring.tour(yes=True, out=tmp_path / "mine")
    assert len(ran) == 10


def test_enter_runs_s_skips_q_quits_and_anything_else_is_asked_again(
    ran: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, "", "S", "what", "", "q")
    touring.tour(out=tmp_path / "out")
    assert verbs(ran) == ["train", "export"]
    assert f"What was made is in {tmp_path / 'out'}" in capsys.readouterr().out


def test_what_a_skipped_step_makes_is_missed_and_the_end_of_standard_input_is_q(
    ran: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, "s")
    touring.tour(out=tmp_path / "out")
    assert capsys.readouterr().out.count("Left out: it needs what a skipped step makes") == 4
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lambda: ""))
    touring.tour(out=tmp_path / "out")
    assert "--yes runs all steps without asking" in capsys.readouterr().err
    assert ran == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ExistingRunError, match="choose another folder"):
        touring.begin(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_without_pytorch_it_says_which_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touring, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingExtraError, match=r"torch is not installed.*pip install 'hdlif\[train\]'"):
        touring.begin(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_command_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(touring, "_run", lambda command: 1)
    with pytest.raises(TrainingError, match="ended with 1"):
        touring.tour(yes=True, out=tmp_path / "out")
    assert "1 of 6" in capsys.readouterr().out


def test_on_a_terminal_there_are_colours_and_a_picture(tmp_path: Path) -> None:
    steps = touring.begin(tmp_path / "out")
    shown = touring._in_colours("4 of 6: Run", steps[3], [[0, 255], [128, 0]])
    assert "\x1b[" in shown
    assert all(len(line) < 400 for line in shown.splitlines())
    put(shown)


def test_ctrl_c_at_the_question_leaves_cleanly(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execve(COMMAND[0], [*COMMAND, "--out", str(tmp_path / "out")], ENVIRONMENT)
    seen = until(terminal, "q quits:")
    os.write(terminal, b"\x03")
    seen += until(terminal, "interrupted")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    os.close(terminal)
    assert "Traceback" not in seen


@pytest.mark.slow
def test_ctrl_c_while_a_command_runs_ends_both(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*COMMAND, "--yes", "--out", str(tmp_path / "out")],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "out" / "network" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_the_whole_tour_works_in_a_fresh_folder(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--yes"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "of 360 test images right" in done.stdout
    assert "digit.png: " in done.stdout
    assert "energy" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
