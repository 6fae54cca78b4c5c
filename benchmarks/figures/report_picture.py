"""The picture of the demo's report in the README: parts of the page that `hdlif demo` writes, by Chromium.

hdlif demo
PYTHONPATH=benchmarks python -m figures.report_picture runs/demo/report.html
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from figures.pages import ROOT

SIZE = (1400, 1800)
SHOWN = ("Results",)
"""Sections by their headings; the others are left out, and notes."""
STYLE = "main { max-width: 1320px; } .scroll { overflow: visible; } .note { display: none; }"
MARGIN = 24
COLOURS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "report.png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "page.html"), Path(folder, "page.png")
        page.write_text(_parts(given.report.read_text("utf-8")), "utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={shot}"]
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run(["chromium", *options, size, page.as_uri()], check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB")
    ground = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    left, top, right, bottom = ImageChops.difference(picture, ground).getbbox() or (0, 0, *SIZE)
    cut = picture.crop((max(left - MARGIN, 0), max(top - MARGIN, 0), right + MARGIN, min(bottom + MARGIN, SIZE[1])))
    cut.quantize(COLOURS).save(given.out, optimize=True)


def _parts(report: str) -> str:
    """The page without the sections that are not shown."""
    headings = dict(re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', report))
    hidden = ",".join(f"section[aria-labelledby={key}]" for key, name in headings.items() if name not in SHOWN)
    return report.replace("</style>", f"{STYLE} {hidden} {{ display: none; }}</style>", 1)


if __name__ == "__main__":
    main()
