"""The pictures of tutorials: follow a page in a folder, and keep parts of what it wrote.

    PYTHONPATH=benchmarks:tests python -m figures.tutorials [images boxes masks series neuron samples]

Pages are followed as their tests do it, with every training as written, in one to three minutes each. Sections of
reports are drawn by Chromium.
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import chromium
from figures import pictures
from figures.pages import ROOT
from pages import followed, page

IMAGES = ROOT / "docs" / "images"
COLOURS, SCALE, GAP = 64, 3, 12
"""Of a picture; and how much larger than itself a small image is shown, and pixels between two of them."""
CELL = 132
"""Pixels of an image in a sheet, with its border."""
PARTS = "h1, header, .said, .note, .summary, .explained, figcaption { display: none !important; }"
"""What stands around the charts and tables of a section."""
FEW_NEURONS = ".single, .multiples > :nth-child(n + 11) { display: none !important; }"
"""All but the first membranes of single neurons."""

Written = dict[str, Image.Image]
"""Pictures by the ends of their names."""


def large(path: Path, scale: int = SCALE) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def row(images: Sequence[Image.Image]) -> Image.Image:
    """Images side by side."""
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + GAP
    return whole


def sheet(path: Path, columns: int = 6) -> Image.Image:
    """The first columns of a sheet of `hdlif data inspect`."""
    with Image.open(path) as image:
        return image.convert("RGB").crop((0, 0, image.width - CELL * (8 - columns), image.height))


def sections(path: Path, *headings: str, style: str = "", width: int = 1000) -> Image.Image:
    """Charts and tables of sections of a page that `hdlif` wrote."""
    with chromium() as browser:
        return pictures.report(browser, path, shown=headings, style=PARTS + style, width=width)


def images(folder: Path) -> Written:
    return {"images_sheet": sheet(folder / "sheet.png"), "images_confusion": sections(folder / "few.html", "Confusion")}


def boxes(folder: Path) -> Written:
    return {"boxes": row([large(folder / name) for name in ("new.png", "new.answer.png")])}


def masks(folder: Path) -> Written:
    return {"masks": row([large(folder / name, 2 * SCALE) for name in ("new.png", "new.overlay.png")])}


def series(folder: Path) -> Written:
    recording = sections(folder / "new.html", "The recording", "Outputs over time")
    return {"series_sheet": sheet(folder / "sheet.png"), "series_page": recording}


def neuron(folder: Path) -> Written:
    return {
        "neuron_accuracy": sections(folder / "both.html", "Accuracy over time"),
        "neuron_at_work": sections(folder / "both.html", "Neuron activity", style=FEW_NEURONS, width=1200),
    }


def samples(folder: Path) -> Written:
    """The images of samples.h, from their integers."""
    text = (folder / "firmware" / "samples.h").read_text("utf-8")
    numbers = re.search(r" SAMPLES[^=]*= (\{.*?);", text, re.DOTALL)
    assert numbers is not None
    pixels = np.array(re.findall(r"-?\d+", numbers[1]), dtype=np.float64).reshape(-1, 8, 8)
    grey = (255 * (pixels - pixels.min()) / np.ptp(pixels)).astype(np.uint8)
    shown = [Image.fromarray(one).resize((120, 120), Image.Resampling.NEAREST).convert("RGB") for one in grey]
    return {"samples": row(shown)}


TUTORIALS: dict[str, tuple[str, Callable[[Path], Written]]] = {
    "images": ("your_own_images", images),
    "boxes": ("your_own_boxes_and_masks#Boxes", boxes),
    "masks": ("your_own_boxes_and_masks#Masks", masks),
    "series": ("your_own_sensor_data", series),
    "neuron": ("your_own_neuron", neuron),
    "samples": ("microcontroller", samples),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *TUTORIALS], metavar="NAME")
    for name in parser.parse_args().names or TUTORIALS:
        tutorial, written = TUTORIALS[name]
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
            followed(page(f"tutorials/{tutorial}"), Path(folder), monkeypatch)
            for end, picture in written(Path(folder)).items():
                picture.quantize(COLOURS).save(IMAGES / f"tutorial_{end}.png", optimize=True)


if __name__ == "__main__":
    main()
