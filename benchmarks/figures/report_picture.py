"""The picture of the demo's report in the README: parts of the page that `hdlif demo` writes, by Chromium.

hdlif demo
PYTHONPATH=benchmarks:tests python -m figures.report_picture runs/demo/report.html
"""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageChops

from browser import chromium
from figures.pages import ROOT

WIDTH, HEIGHT = 1400, 1800
SHOWN = ("Results",)
"""Sections by their headings; the others are left out, and notes."""
STYLE = "main { max-width: 1320px; } .scroll { overflow: visible; } .note { display: none; }"
_ONLY_SHOWN = """
const [shown, style] = arguments;
document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
for (const heading of document.querySelectorAll("section > h2"))
    if (!shown.includes(heading.textContent)) heading.parentElement.style.display = "none";
"""
MARGIN = 24
COLOURS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "report.png")
    given = parser.parse_args()
    with chromium() as browser:
        browser.show(WIDTH, height=HEIGHT)
        browser.open(given.report.resolve())
        browser.run(_ONLY_SHOWN, SHOWN, STYLE)
        picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    ground = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    left, top, right, bottom = ImageChops.difference(picture, ground).getbbox() or (0, 0, *picture.size)
    cut = picture.crop((max(left - MARGIN, 0), max(top - MARGIN, 0), right + MARGIN, min(bottom + MARGIN, HEIGHT)))
    cut.quantize(COLOURS).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
