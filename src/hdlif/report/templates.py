"""How pages are set: the templates beside this file, and what they call."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hdlif.errors import printable_lines
from hdlif.report import charts
from hdlif.report.charts import Text
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


def set_page(template: str, sections: Mapping[str, Section], **values: Any) -> str:
    """A whole page of HTML; figures without a chart, and sections without a figure, are left out."""
    shown = {
        heading: replace(section, figures=[figure for figure in section.figures if figure.charts])
        for heading, section in sections.items()
    }
    drawn = {heading: section for heading, section in shown.items() if section.figures}
    return _TEMPLATES.get_template(template).render(sections=drawn, swatch=_swatch, **values)


def _shown(value: Any) -> Any:
    """A value that stands in the page; characters that no page may have, or that turn its text round, are escaped."""
    return type(value)(printable_lines(value)) if isinstance(value, str) else value


def _swatch(place: str, style: int, name: str) -> Markup:
    return Markup(charts.swatch(Text(f"{place}-{style}", name, f"the line and the marker of {name}"), style))
