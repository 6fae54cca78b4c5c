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
from hdlif.errors import ExistingRunError, MissingExtraError, TrainingError

COMMAND = [sys.executable, "-m", "hdlif", "tour"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS = ["train", "eval", "export", "run", "profile"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Subcommands that are asked for, each of which leaves a file where its --out is, and computes nothing."""
    commands: list[str] = []

    def run(command: tuple[str, ...]) -> int:
        commands.append(command[0])
        if "--out" in command:
            out = Path(command[command.index("--out") + 1])
            file = out / "model.safetensors" if command[0] == "train" else out
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")
        return 0

    monkeypatch.setattr(touring, "_run", run)
    return commands


def test_without_being_asked_every_step_runs_and_all_is_written_below_out(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touring.tour(yes=True, out=tmp_path / "mine")
    assert ran == STEPS
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    shown = capsys.readouterr().out
    assert [f"{number} of 6: " in shown for number in range(1, 7)] == [True] * 6
    assert "\x1b" not in shown
    assert (tmp_path / "mine" / "digit.png").read_bytes().startswith(b"\x89PNG")
    touring.tour(yes=True, out=tmp_path / "mine")
    assert ran == 2 * STEPS


def test_enter_runs_s_skips_q_quits_and_anything_else_is_asked_again(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed, expected, words in (
        (["", "S", "what", "", "q"], ["train", "export"], f"What was made is in {tmp_path}"),
        # What a skipped step makes is missed, and the end of standard input is q.
        (["s"], [], "it needs what a skipped step makes"),
        ([], [], "--yes runs all steps without asking"),
    ):
        ran.clear()
        lines = iter([*(f"{line}\n" for line in typed), ""])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lines.__next__))
        touring.tour(out=tmp_path / f"out {len(typed)}")
        assert ran == expected
        assert words in "".join(capsys.readouterr())


def test_what_it_cannot_begin_or_go_on_with_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ExistingRunError, match="choose another folder"):
        touring.begin(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(touring, "find_spec", lambda name: None if name == "torch" else object())
        with pytest.raises(MissingExtraError, match="torch is not installed"):
            touring.begin(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    monkeypatch.setattr(touring, "_run", lambda command: 1)
    with pytest.raises(TrainingError, match="ended with 1"):
        touring.tour(yes=True, out=tmp_path / "out")


def test_on_a_terminal_there_are_colours_and_a_picture(tmp_path: Path) -> None:
    steps = touring.begin(tmp_path / "out")
    shown = touring._in_colours("4 of 6: Run", steps[3], [[0, 255], [128, 0]])
    assert "\x1b[" in shown
    assert all(len(line) < 400 for line in shown.splitlines())


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
    assert (child.returncode, "interrupted" in said, "Traceback" in said) == (130, True, False)


@pytest.mark.slow
def test_the_whole_tour_works_in_a_fresh_folder(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--yes"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("of 360 test images right", "digit.png: ", "energy"):
        assert words in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
