"""Explanations of figures: of kinds that there are, with pages of the documentation that there are."""

from pathlib import Path

import hdlif.report
from hdlif.report.explanations import EXPLANATIONS, PAGES

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = Path(hdlif.report.__file__).parent


def test_every_explanation_has_a_figure_and_names_a_page_that_is_there():
    assert {one.page for one in EXPLANATIONS.values()} == PAGES.keys()
    for page, name in PAGES.items():
        heading = (DOCS / f"{page}.md").read_text("utf-8").splitlines()[0].removeprefix("# ")
        assert heading.startswith(name)
    sources = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.*") if path.name != "explanations.py")
    for kind in EXPLANATIONS:
        assert f'"{kind.removeprefix("coherence-")}"' in sources
