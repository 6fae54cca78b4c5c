"""`hdlif new project`: a folder with a recipe, pictures, a neuron, a network and a test that pass."""

import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hdlif.errors import InputError, OutputError, reason

SIDE, EACH = 16, 40
"""Pixels of a picture, and pictures of a class."""
SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, tuple[int, int, int, int]], None]] = {
    "disc": lambda draw, box: draw.ellipse(box, fill=255),
    "square": lambda draw, box: draw.rectangle(box, outline=255, width=2),
    "triangle": lambda draw, box: draw.polygon(
        [(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) // 2, box[1])], fill=255
    ),
}


def new_project(folder: Path) -> list[Path]:
    """Write the project, whole or not at all; returns its files.

    Raises:
        InputError: something is at `folder` that is not an empty folder.
        OutputError: it cannot be written.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: already exists; give the name of a new folder")
    beside = None
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        _fill(beside)
        beside.chmod(0o755)
        beside.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({reason(error)}); choose another place") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fill(folder: Path) -> None:
    for template in files("hdlif").joinpath("project").iterdir():
        # So named, what is to be a module of the user's is none of this package's.
        (folder / template.name.removesuffix(".template")).write_bytes(template.read_bytes())
    rng = np.random.default_rng(0)
    for name in SHAPES:
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(EACH):
            _picture(name, rng).save(folder / "pictures" / name / f"{number:02}.png")


def _picture(name: str, rng: np.random.Generator) -> Image.Image:
    """A shape of some size at some place, on noise."""
    size = int(rng.integers(8, 12))
    left, top = (int(place) for place in rng.integers(1, SIDE - size, 2))
    image = Image.new("L", (SIDE, SIDE))
    SHAPES[name](ImageDraw.Draw(image), (left, top, left + size - 1, top + size - 1))
    pixels = np.asarray(image) * 0.8 + rng.integers(0, 50, (SIDE, SIDE))
    return Image.fromarray(pixels.astype(np.uint8))
