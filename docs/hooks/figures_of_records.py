"""Figures and tables of pages, from benchmarks/records: `{{ fig("WHAT") }}` and `{{ table("NAME") }}`."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import figures.prose
import figures.tables  # noqa: F401  (these two register what has a name)
from figures.pages import rendered


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return rendered(markdown)
