"""The pictures of pages in README and docs, by Chromium.

    hdlif demo
    PYTHONPATH=benchmarks:tests python -m figures.pictures report runs/demo/report.html
    hdlif export digits_hdlif_w1p5_s4 --to page --out live.html
    PYTHONPATH=benchmarks:tests python -m figures.pictures live live.html

report: parts of the page that `hdlif demo` writes. live: a drawn 2, and the neurons at work on it.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops

from browser import Browser, chromium
from figures.pages import ROOT

SHOWN = ("Results",)
"""Sections of the report by their headings; the others are left out, and notes."""
STYLE = "main { max-width: 1320px; } .scroll { overflow: visible; } .note { display: none; }"
_ONLY_SHOWN = """
const [shown, style] = arguments;
document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
for (const heading of document.querySelectorAll("section > h2"))
    if (!shown.includes(heading.textContent)) heading.parentElement.style.display = "none";
"""
STROKE = ((-80, -70), (-40, -105), (40, -95), (65, -40), (0, 40), (-80, 105), (85, 105))
"""From the middle of the pad."""


def shot(browser: Browser) -> Image.Image:
    return Image.open(io.BytesIO(browser.screenshot())).convert("RGB")


def report(
    browser: Browser,
    page: Path,
    *,
    shown: Sequence[str] = SHOWN,
    style: str = STYLE,
    width: int = 1400,
    margin: int = 24,
) -> Image.Image:
    browser.show(width, height=1800)
    browser.open(page)
    browser.run(_ONLY_SHOWN, shown, style)
    picture = shot(browser)
    ground = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    left, top, right, bottom = ImageChops.difference(picture, ground).getbbox() or (0, 0, *picture.size)
    place = (max(left - margin, 0), max(top - margin, 0), right + margin, min(bottom + margin, picture.height))
    return picture.crop(place).quantize(64)


def live(browser: Browser, page: Path, *, margin: int = 12) -> Image.Image:
    browser.show(1000, height=1400)
    browser.open(page)
    browser.wait("return window.hdlif !== undefined")
    browser.drag("#pad", STROKE)
    browser.next_frame()
    # To the end of the first layers.
    end = browser.run("return document.querySelector('#layers').firstElementChild.getBoundingClientRect().bottom")
    picture = shot(browser)
    return picture.crop((0, 0, picture.width, min(picture.height, round(end) + margin))).quantize(64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["report", "live"])
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    draw = report if given.which == "report" else live
    with chromium() as browser:
        picture = draw(browser, given.page.resolve())
    picture.save(ROOT / "docs" / "images" / f"{given.which}.png", optimize=True)


if __name__ == "__main__":
    main()
