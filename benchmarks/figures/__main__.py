"""Draws the plots of the documentation from the records; with --check says which differ, and ends with 1."""

import argparse
import sys

import figures.plots  # noqa: F401  (it registers what has a name)
from figures.drawing import digest_of, drawn
from figures.pages import ROOT
from figures.registry import PLOTS
from hdlif.recipe.runs.files import write_text

IMAGES = ROOT / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    differ = []
    for name, plot in PLOTS.items():
        image = IMAGES / f"{name}.svg"
        # The bytes may be those of another version of matplotlib; the digest is that of the data.
        if not image.exists() or digest_of(image.read_text("utf-8")) != plot().digest or not check:
            text = drawn(plot())
            if not image.exists() or image.read_text("utf-8") != text:
                differ.append(image)
                if not check:
                    write_text(image, text)
    for path in differ:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
    sys.exit(1 if check and differ else 0)


if __name__ == "__main__":
    main()
