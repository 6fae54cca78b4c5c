"""The picture of the live page in docs/how_to/browser.md: a drawn 2, and the neurons at work on it, by Chromium.

hdlif demo --page
PYTHONPATH=benchmarks:tests python -m figures.live_picture runs/demo/live.html
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from browser import chromium
from figures.pages import ROOT

WIDTH, HEIGHT, MARGIN = 1000, 1400, 12
STROKE = ((-80, -70), (-40, -105), (40, -95), (65, -40), (0, 40), (-80, 105), (85, 105))
"""From the middle of the pad."""
COLOURS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "live.png")
    given = parser.parse_args()
    with chromium() as browser:
        browser.show(WIDTH, height=HEIGHT)
        browser.open(given.page.resolve())
        browser.wait("return window.hdlif !== undefined")
        browser.drag("#pad", STROKE)
        # To the end of the first layers.
        end = browser.run("return document.querySelector('#layers').firstElementChild.getBoundingClientRect().bottom")
        shot = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    shot.crop((0, 0, WIDTH, min(HEIGHT, round(end) + MARGIN))).quantize(COLOURS).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
