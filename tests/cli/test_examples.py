"""The examples at the end of each help text: there are some, they are understood, and they work on the digits."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from command_line import hdlif
from command_tree import COMMANDS
from hdlif.cli import cli

FAST = ["--set", "training.epochs=1", "--set", "model.width=4", "--memory-repeats", "0", "--threads", "1"]
NOT_RUN = {
    "a training of minutes": ("hdlif train", "hdlif ablate", "hdlif sweep", "hdlif demo", "hdlif tour"),
    "another one": ("hdlif new project mine &&",),
    "fetches": ("hdlif data get", "hdlif models get digits_hdlif --from"),
    "a network and readings of one's own": ("hdlif adapt tracker",),
    "a server": ("hdlif serve",),
    "a microphone, a sensor, and another network": ("arecord", "sensor", "hdlif run motion"),
    "half a minute": ("hdlif doctor", "hdlif coherence"),
    "a file of another library": ("hdlif import theirs",),
    "writes below the home folder, or into the shell": ("hdlif completion fish", "eval"),
    "all pictures of a training's own": ("hdlif eval runs/photos",),
    "timing": ("hdlif bench", "hdlif recipes check digits_hdlif", "hdlif recipes check "),
}
"""Beginnings of examples that are parsed alone, and why."""


EXAMPLES = sorted({line for command in COMMANDS.values() for line, _ in command.examples})


def words_of(line: str) -> list[list[str]]:
    """The words after `hdlif` of each of its calls in a line of a shell."""
    line = line.removeprefix('eval "$(').removesuffix(')"')
    found: list[list[str]] = [[]]
    # A redirection's file belongs to the shell, as what stands before a call does.
    for word in shlex.split(line.replace(" > ", " | ")):
        if word in ("|", "&&"):
            found.append([])
        else:
            found[-1].append(word)
    return [words[1:] for words in found if words and words[0] == "hdlif"]


def parse(words: list[str]) -> None:
    """Let click find the command, and understand its words, without running it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="hdlif")
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    if words == ["--help"]:
        return
    command.make_context(command.name, list(words), parent=context)


def test_the_help_of_a_subcommand_ends_with_two_to_four_examples_of_it() -> None:
    for name, command in COMMANDS.items():
        found = command.examples
        assert 2 <= len(found) <= 4, name
        shown = hdlif(*name.split(), "--help").stdout
        *_, last = shown.split("\n\n")
        assert all(f"hdlif {name}" in line and line in last and remark in last for line, remark in found), name
        # No line of a group's help is cut.
        assert [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage:")] == []


def test_every_example_is_understood() -> None:
    for line in EXAMPLES:
        calls = words_of(line)
        assert calls, line
        for words in calls:
            parse(words)
    assert all(any(line.startswith(one) for line in EXAMPLES) for of in NOT_RUN.values() for one in of)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples begin with, of small networks."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "photos" / "dark").mkdir(parents=True)
    (folder / "photos" / "light").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        for name, low in (("dark", 0), ("light", 128)):
            pixels = rng.integers(low, low + 127, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    shutil.copy(folder / "photos" / "dark" / "0.png", folder / "photo.png")
    rows = [
        f"{a:.3f},{b:.3f},{'walk' if row // 64 % 2 else 'sit'}" for row, (a, b) in enumerate(rng.normal(size=(1280, 2)))
    ]
    (folder / "activity.csv").write_text("\n".join(["x,y,activity", *rows]) + "\n")
    for out in ("digits_hdlif_w1p5_s4", "short"):
        shell(f"hdlif train digits_hdlif_w1p5_s4 {shlex.join(FAST)} --out runs/{out}", folder)
    shell("hdlif recipes show digits_hdlif_w1p5_s4 --resolved > mine.yaml", folder)
    shell("hdlif export runs/digits_hdlif_w1p5_s4 --out digits.hdlif.safetensors", folder)
    shell("hdlif export digits.hdlif.safetensors --to nir --extension --out digits.nir", folder)
    return folder


def shell(line: str, folder: Path) -> str:
    begun = f'hdlif() {{ "{sys.executable}" -m hdlif "$@"; }}\n{line}'
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", begun], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_run(line: str) -> bool:
    return not any(line.startswith(beginnings) for beginnings in NOT_RUN.values())


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in EXAMPLES if is_run(line)])
def test_an_example_works_on_the_digits(line: str, folder: Path) -> None:
    if "onnx" in line:
        pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    shell(line, folder)
