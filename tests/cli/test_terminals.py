"""What a person meets at a terminal: the tour, and the completion of words."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.shell_completion import ShellComplete

from command_line import hdlif
from hdlif.cli import cli
from hdlif.cli import tour as touring
from hdlif.cli.names import VARIABLE
from hdlif.data.public import SETS
from hdlif.errors import ExistingRunError, MissingExtraError, TrainingError
from hdlif.inputs.datasets import PUBLIC, SHIPPED
from hdlif.recipe import load_recipe, shipped_recipes
from hdlif.recipe.builders import DATA, NEURONS
from hdlif.recipe.runs.ablation_tables import shipped_tables

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
        (["", "S", "what", "", "q"], ["train", "export"], f"The output is in {tmp_path}"),
        # What a skipped step makes is missed, and the end of standard input is q.
        (["s"], [], "it needs the output of a skipped step"),
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


def test_ctrl_c_at_the_question_leaves_cleanly(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execve(COMMAND[0], [*COMMAND, "--out", str(tmp_path / "out")], ENVIRONMENT)
    seen = until(terminal, "q quits:")
    # Python sees a signal that comes between the prompt and the reading only when the reading ends.
    time.sleep(1)
    os.write(terminal, b"\x03")
    seen += until(terminal, "interrupted")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    os.close(terminal)
    assert ("Traceback" in seen, "\x1b[" in seen) == (False, True)


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


def offered(*words: str) -> list[str]:
    """For the last of the words."""
    completer = ShellComplete(cli, {}, "hdlif", VARIABLE)
    return [item.value for item in completer.get_completions(list(words[:-1]), words[-1]) if item.type == "plain"]


def test_subcommands_and_names_that_ship_are_offered() -> None:
    assert offered("ex") == ["export"]
    assert offered("neurons", "s") == ["show"]
    assert offered("train", "") == shipped_recipes()
    assert offered("ablate", "") == shipped_tables()
    assert offered("neurons", "show", "") == list(NEURONS)
    assert offered("eval", "x", "--data", "dig") == ["digits", "digits_events"]
    assert offered("data", "get", "v") == ["voices", "vowels"]
    # A recipe may be a file too.
    completer = ShellComplete(cli, {}, "hdlif", VARIABLE)
    assert [item.type for item in completer.get_completions(["train"], "digits_l")] == ["file", "plain"]


def test_keys_of_a_recipe_are_offered_and_good() -> None:
    assert offered("train", "x", "--set", "training.ep") == ["training.epochs="]
    assert offered("eval", "x", "--set", "da")[0].startswith("data.")
    keys = {key.removesuffix("=") for key in offered("train", "x", "--set", "")}
    dumped = load_recipe("digits_hdlif").model_dump()
    assert {f"{a}.{b}" for a in ("data", "training") for b in dumped[a]} <= keys | {"data.found"}
    # Sets are offered from lists that load nothing.
    assert (set(SHIPPED), set(PUBLIC)) == (set(DATA), set(SETS))


def test_the_script_of_a_shell_is_one() -> None:
    for shell in ("bash", "zsh", "fish"):
        done = hdlif("completion", shell)
        assert (done.returncode, "_HDLIF_COMPLETE" in done.stdout) == (0, True)
        if shutil.which(shell):
            checked = subprocess.run([shell, "-n"], input=done.stdout, text=True, capture_output=True)
            assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("hdlif recip", "hdlif recipes "),
        ("hdlif train digits_l", "hdlif train digits_lif "),
        ("hdlif train x --set training.ep", "hdlif train x --set training.epochs="),
    ],
)
def test_bash_completes_what_is_typed(typed: str, completed: str, tmp_path: Path) -> None:
    """Tab in an interactive shell; a | is typed after it, which shows where the word ends."""
    program = tmp_path / "hdlif"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hdlif "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(hdlif("completion", "bash").stdout)
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PATH=f"{tmp_path}:{os.environ['PATH']}", PS1="", TERM="dumb", COLUMNS="200")
        os.execlp("bash", "bash", "--norc", "--noprofile", "-i")
    try:
        os.write(terminal, f"source {script}; PS1='re''ady> '\n".encode())
        until(terminal, "ready> ")
        os.write(terminal, f"{typed}\t|".encode())
        seen = until(terminal, "|")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    assert f"{completed}|" in seen


def until(terminal: int, text: str, seconds: float = 60.0) -> str:
    """What the terminal shows, up to a text."""
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen
