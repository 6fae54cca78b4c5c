"""`hdlif tour`: what its steps say and run. Nothing here computes: the steps are commands that anybody can type."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hdlif.errors import ExistingRunError, MissingExtraError
from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, write_text

RECIPE = "digits_hdlif_w1p5_s4_parallel"
EPOCHS = 8
NEEDED = ("torch", "pydantic", "sklearn", "rich")
"""Packages of the extra `train`, without any of which a step would fail."""
MARK = "tour.txt"
"""A file of that name says that a folder is a tour's, which replaces what it made there."""
PICTURE, PICTURE_NUMBER = "digit.png", 7
"""A file of a test image of the digits, and which one it is."""


@dataclass(frozen=True)
class Step:
    """One stop.

    Attributes:
        title: in a few words.
        text: what is to be known before the command runs.
        command: the words behind `hdlif`; none of the last stop.
        needs: what an earlier step makes, without which the command fails.
        shows: a picture to show beside the text.
    """

    title: str
    text: str
    command: tuple[str, ...] = ()
    needs: Path | None = None
    shows: Path | None = None


def begin(out: Path) -> list[Step]:
    """The steps of a tour that writes below `out`, where nothing but an earlier tour may be.

    Raises:
        MissingExtraError: PyTorch, or another package of the extra `train`, is not installed.
        ExistingRunError: `out` holds what no tour has made.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{missing[0]} is not installed, and a tour trains a network; install it with: pip install 'hdlif[train]'"
        )
    again = os.path.lexists(out / MARK)
    if not again and out.is_dir() and any(out.iterdir()):
        raise ExistingRunError(f"{out}: holds files that are not of a tour; choose another folder (--out)")
    write_text(out / MARK, "Made by `hdlif tour`, which replaces what is here when it runs again.\n")
    network, artefact, picture = out / "network", out / f"digits{ARTEFACT_SUFFIX}", out / PICTURE
    trained = network / "model.safetensors"
    return [
        Step(
            "Train",
            "1,797 handwritten digits of 8x8 pixels come with the package. The network spikes over 4 time steps; its "
            "weights have 1.5 bits and its spikes 4. It learns online: each update goes back through one time step, "
            "drawn at random, so that memory does not grow with their number. Of the table that comes, look at "
            "accuracy, MB stored (the size of the file) and seconds; the line below says what the others are.",
            (
                *("train", RECIPE, "--set", f"training.epochs={EPOCHS}", "--memory-repeats", "0"),
                *("--out", str(network), "--overwrite"),
            ),
        ),
        Step(
            "An answer after each step",
            "A spiking network has an answer after each time step. How good is it after the first?",
            ("eval", str(network)),
            needs=trained,
        ),
        Step(
            "Export",
            "Norms are folded into the weights, and five ternary weights go into a byte: one file, which the compiled "
            "runtime reads without PyTorch.",
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
            "What an image costs: operations that inputs of 0 save are not counted, and each of the others has a price "
            "in energy. It is an estimate from counts, not a measurement on a chip.",
            ("profile", str(artefact), "--data", "digits", "--counting", "honest"),
            needs=artefact,
        ),
        Step(
            "Where to go next",
            "hdlif demo                      four networks side by side, and a report\n"
            "hdlif new project mine          a recipe, pictures, a neuron and a test of your own\n"
            "hdlif train digits_hdlif --data photos/    your own pictures, a folder for each class\n"
            "hdlif recipes ls                what else ships\n"
            "docs/tutorials/                 pictures and sensor data of your own, step by step\n"
            "docs/explanation/spiking_neurons.md    to read next: what a spiking neuron is",
        ),
    ]


def draw_picture(out: Path) -> list[list[int]]:
    """Write the test image to OUT/digit.png; its pixels, 0..255."""
    from PIL import Image

    from hdlif.data import digits
    from hdlif.whole_files import whole_file

    pixels = digits(validation=200).test.pixels[PICTURE_NUMBER, 0]  # type: ignore[attr-defined]
    with whole_file(out / PICTURE) as temporary:
        Image.fromarray(pixels.numpy()).save(temporary, "PNG")
    return [[int(value) for value in row] for row in pixels.tolist()]
