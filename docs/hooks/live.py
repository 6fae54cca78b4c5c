"""The page live.html, which runs a network of the zoo in the browser; the home page shows it in a frame."""

import math

import numpy as np
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from hdlif.report.live import live_page
from hdlif.zoo import CHECKOUT, MODEL

NETWORK = "digits_hdlif_w1p5_s4"
ARC = [(0.48 - 0.26 * math.cos(angle), 0.34 - 0.23 * math.sin(angle)) for angle in np.linspace(0.2, 3.7, 12)]
TWO = [*ARC, (0.22, 0.88), (0.8, 0.88)]
"""A drawn 2."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    content = (CHECKOUT / f"{NETWORK}{MODEL}").read_bytes()
    page = live_page(content, f"{NETWORK}{MODEL}", stroke=TWO)
    files.append(File.generated(config, "live.html", content=page))
    return files
