"""Render HTML pages from the templates in this folder."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hdlif.errors import printable_lines
from hdlif.report import charts
from hdlif.report.charts import Text
from hdlif.report.explanations import EXPLANATIONS, PAGES
from hdlif.report.figures import Section

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: _shown(value),
)


@dataclass(frozen=True)
class Script:
    """A script whose hash a page's Content-Security-Policy allows."""

    source: str

    @cached_property
    def text(self) -> Markup:
        """Return the source code, wrapped so that it runs in strict mode and in its own scope."""
        return Markup(printable_lines(f'(() => {{\n"use strict";\n{self.source}}})();\n'))

    @property
    def hash(self) -> str:
        """Return the hash of the script for the Content-Security-Policy."""
        return f"sha256-{base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode()}"


_SORT = Script((Path(__file__).parent / "sort.js").read_text("utf-8"))


def set_page(template: str, sections: Mapping[str, Section], **values: Any) -> str:
    """Render an HTML page, omitting empty figures and sections."""
    shown = {
        heading: replace(section, figures=[figure for figure in section.figures if figure.charts])
        for heading, section in sections.items()
    }
    drawn = {heading: section for heading, section in shown.items() if section.figures}
    return _TEMPLATES.get_template(template).render(
        sections=drawn, swatch=_swatch, explanation=_explanation, sort=_SORT, **values
    )


def _shown(value: Any) -> Any:
    """Escape characters that are invalid in HTML or that reverse the text direction."""
    return type(value)(printable_lines(value)) if isinstance(value, str) else value


def _explanation(kind: str) -> dict[str, str]:
    found = EXPLANATIONS[kind]
    return {"text": found.text, "page": found.page, "name": PAGES[found.page]}


def _swatch(place: str, style: int, name: str) -> Markup:
    return charts.swatch(Text(f"{place}-{style}", name, f"the line and the marker of {name}"), style)
