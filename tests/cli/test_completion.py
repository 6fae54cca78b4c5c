"""What a shell offers for a word: by click's own classes, and in a real bash."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from command_line import hdlif
from hdlif.cli import cli
from hdlif.cli.names import VARIABLE
from hdlif.data.public import SETS
from hdlif.inputs.datasets import PUBLIC, SHIPPED
from hdlif.recipe import load_recipe, shipped_recipes
from hdlif.recipe.builders import DATA, NEURONS
from hdlif.recipe.runs.ablation_tables import shipped_tables


def offered(*words: str) -> list[str]:
    """For the last of the words."""
    completer = ShellComplete(cli, {}, "hdlif", VARIABLE)
    return [item.value for item in completer.get_completions(list(words[:-1]), words[-1]) if item.type == "plain"]


def test_subcommands_options_and_names_that_ship_are_offered() -> None:
    assert offered("ex") == ["export"]
    assert offered("neurons", "s") == ["show"]
    assert "--overwrite" in offered("train", "--o")
    assert offered("export", "x", "--to", "o") == ["onnx"]
    assert set(offered("completion", "")) == {"bash", "zsh", "fish"}
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


def test_the_names_of_sets_are_those_that_there_are() -> None:
    assert set(SHIPPED) == set(DATA)
    assert set(PUBLIC) == set(SETS)


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
    """Tab in an interactive shell; a | is typed behind it, which shows where the word ends."""
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
