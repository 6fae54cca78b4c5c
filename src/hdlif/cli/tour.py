"""Implement `hdlif tour`, a guided sequence of `hdlif` commands."""

import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hdlif import run_folder
from hdlif.cli.options import subcommand
from hdlif.cli.output import put, say
from hdlif.errors import ExistingRunError, MissingExtraError, TrainingError, printable, printable_lines
from hdlif.inputs.python_processes import module_command

WIDTH = 88
INTERRUPTED = 130
PATIENCE = 20.0
"""Seconds that a command has to finish writing its files after Ctrl-C, which interrupts it too."""
RECIPE = "digits_hdlif_w1p5_s4_parallel"
EPOCHS = 8
NEEDED = ("torch", "pydantic", "sklearn", "rich")
"""Packages of the extra `train` that the steps need."""
MARK = "tour.txt"
"""File that marks the folder of a tour, which another tour may replace."""
PICTURE, PICTURE_NUMBER = "digit.png", 7
"""File name and number of a test image of the digits."""


@dataclass(frozen=True)
class Step:
    """One step of `hdlif tour`, with an explanation and a command.

    Attributes:
        title: a short title.
        text: the explanation before the command runs.
        command: the words after `hdlif`; empty for the last step.
        needs: a file from an earlier step that the command requires.
        shows: an image to show next to the text.
    """

    title: str
    text: str
    command: tuple[str, ...] = ()
    needs: Path | None = None
    shows: Path | None = None


def begin(out: Path) -> list[Step]:
    """Prepare the folder `out` and return the steps of a tour that writes to it.

    Raises:
        MissingExtraError: PyTorch, or another package of the extra `train`, is not installed.
        ExistingRunError: `out` contains files that do not belong to a tour.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError.of(missing[0], "train")
    again = os.path.lexists(out / MARK)
    if not again and out.is_dir() and any(out.iterdir()):
        raise ExistingRunError(f"{out}: contains files from outside the tour; choose another folder (--out)")
    from hdlif.recipe.runs.files import write_text

    write_text(out / MARK, "Made by `hdlif tour`, which replaces what is here when it runs again.\n")
    network, artefact, picture = out / "network", out / "digits.hdlif.safetensors", out / PICTURE
    trained = network / run_folder.MODEL
    return [
        Step(
            "Train",
            "1,797 handwritten digits of 8x8 pixels come with the package. The network spikes over 4 time steps; its "
            "weights have 1.5 bits and its spikes 4. Training is online: each update uses one random time step, so "
            "memory does not grow with the number of steps. The table shows the test accuracy, the file size, the "
            "energy per prediction, and the training time.",
            (
                *("train", RECIPE, "--set", f"training.epochs={EPOCHS}", "--memory-repeats", "0"),
                *("--out", str(network), "--overwrite"),
            ),
        ),
        Step(
            "Predictions after each step",
            "A spiking network makes a prediction after each time step. Compare the accuracy after each of them.",
            ("eval", str(network)),
            needs=trained,
        ),
        Step(
            "Export",
            "Export folds norms into the weights and packs five ternary weights into a byte. The compiled runtime "
            "reads this file without PyTorch.",
            ("export", str(network), "--out", str(artefact)),
            needs=trained,
        ),
        Step(
            "Run",
            f"{picture} is an image of the test set, on which the network was not trained.",
            ("run", str(artefact), str(picture)),
            needs=artefact,
            shows=picture,
        ),
        Step(
            "Count",
            "Count the operations for an image, without the operations that zero inputs save, and estimate its energy. "
            "The estimate comes from counts, not from a measurement on a chip.",
            ("profile", str(artefact), "--data", "digits", "--counting", "honest"),
            needs=artefact,
        ),
        Step(
            "Where to go next",
            "hdlif demo                      four networks side by side, and a report\n"
            "hdlif new project mine          a project with a recipe, images, a neuron and a test\n"
            "hdlif train digits_hdlif --data photos/    your own images, one folder per class\n"
            "hdlif recipes ls                all shipped recipes\n"
            "docs/tutorials/                 your own images and sensor data, step by step\n"
            "docs/explanation/spiking_neurons.md    read next: spiking neurons",
        ),
    ]


def draw_picture(out: Path) -> list[list[int]]:
    """Write a test image to OUT/digit.png and return its pixels in 0..255."""
    from PIL import Image

    from hdlif.data import digits
    from hdlif.whole_files import whole_file

    pixels = digits(validation=200).test.pixels[PICTURE_NUMBER, 0]  # type: ignore[attr-defined]
    with whole_file(out / PICTURE) as temporary:
        Image.fromarray(pixels.numpy()).save(temporary, "PNG")
    return [[int(value) for value in row] for row in pixels.tolist()]


def tour(
    *,
    yes: bool = False,
    out: Path = Path("runs/tour"),
) -> None:
    """Train, export, run and profile a small network in five minutes.

    Each step explains a command and runs it when you press Enter. `hdlif tour` needs the extra hdlif[train].

    \f

    Args:
        yes: Run each step without asking.
        out: Folder for all output.
    Raises:
        MissingExtraError, ExistingRunError: as in `begin`.
        TrainingError: a command fails.
        KeyboardInterrupt: the user presses Ctrl-C, also while a command runs.
    """
    steps, ask = begin(out), not yes
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for number, step in enumerate(steps, 1):
        picture = draw_picture(out) if step.shows and step.needs and step.needs.exists() else None
        title = f"{number} of {len(steps)}: {step.title}"
        put(_in_colours(title, step, picture) if colours else _plain(title, step, picture))
        if not step.command:
            return
        if step.needs is not None and not step.needs.exists():
            put("  Skipped, because it needs the output of a skipped step.\n")
            continue
        answer = _answer() if ask else ""
        if answer == "q":
            put(f"  The output is in {printable(str(out))}.")
            return
        if answer == "s":
            put("")
            continue
        code = _run(step.command)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise TrainingError(f"`{_typed(step.command)}` ended with {code}; see its message above")
        put("")


def _typed(command: Sequence[str]) -> str:
    return printable(shlex.join(["hdlif", *command]))


def _paragraphs(step: Step) -> str:
    """Wrap the text of a step, unless the text already has several lines."""
    text = printable_lines(step.text)
    return text if "\n" in text else textwrap.fill(text, WIDTH - 4)


def _plain(title: str, step: Step, picture: list[list[int]] | None) -> str:
    text = f"{title}\n\n{textwrap.indent(_paragraphs(step), '  ')}\n"
    if picture:
        text += "\n" + "\n".join(
            "    " + "".join(" .:-=+*#%@"[value * 9 // 255] * 2 for value in row) for row in picture
        )
        text += "\n"
    return text + (f"\n  $ {_typed(step.command)}\n" if step.command else "")


def _in_colours(title: str, step: Step, picture: list[list[int]] | None) -> str:
    from rich.console import Console, Group, RenderableType
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    parts: list[RenderableType] = [Rule(Text(title, "bold cyan"), style="cyan", align="left"), Text()]
    parts.append(Padding(Text(_paragraphs(step)), (0, 2)))
    if picture:
        rows = [Text().join(Text("  ", f"on rgb({value},{value},{value})") for value in row) for row in picture]
        parts += [Text(), Padding(Group(*rows), (0, 4))]
    if step.command:
        typed = Text.assemble(("$ ", "green"), (_typed(step.command), "bold"))
        parts += [Text(), Padding(typed, (0, 2)), Text()]
    page = Console(force_terminal=True, highlight=False)
    page.width = min(page.width, WIDTH)
    with page.capture() as captured:
        page.print(Group(*parts))
    return captured.get().rstrip("\n") + "\n"


def _answer() -> str:
    """Return the user's answer ("s", "q", or "" for Enter), or "q" at the end of standard input."""
    while True:
        put("  Enter runs it, s skips it, q quits: ", nl=False)
        line = sys.stdin.readline()
        if not line:
            put("")
            say("standard input has ended; --yes runs all steps without asking")
            return "q"
        answer = line.strip().lower()
        if answer in ("", "s", "q"):
            return answer


def _run(command: Sequence[str]) -> int:
    """Run an `hdlif` command in a separate process and return its exit code."""
    sys.stdout.flush()
    child = subprocess.Popen(module_command("hdlif", *command))
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
        raise


COMMAND = subcommand(
    tour,
    ("hdlif tour", "Enter runs a step, s skips it, q quits"),
    ("hdlif tour --yes --out tour", "all steps without asking, with the output in tour/"),
    json=False,
)
