"""What is said of figures: plain, of kinds that there are, with pages of the documentation that there are."""

import re
from pathlib import Path

import pytest

import hdlif.report
from hdlif.report.explanations import EXPLANATIONS, PAGES

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = Path(hdlif.report.__file__).parent


@pytest.mark.parametrize("kind", EXPLANATIONS)
def test_an_explanation_is_of_a_few_sentences_and_names_a_page(kind):
    found = EXPLANATIONS[kind]
    assert found.page in PAGES
    assert 1 <= len(re.findall(r"[.]( |$)", found.text)) <= 4
    assert len(found.text) < 330
    assert "  " not in found.text


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_there_and_begins_with_its_name(page):
    heading = (DOCS / f"{page}.md").read_text("utf-8").splitlines()[0].removeprefix("# ")
    assert heading.startswith(PAGES[page])


def test_no_explanation_and_no_page_is_of_nothing():
    assert {one.page for one in EXPLANATIONS.values()} == PAGES.keys()
    sources = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.*") if path.name != "explanations.py")
    for kind in EXPLANATIONS:
        # "leak" and "threshold" come through one function.
        assert f'"{kind}"' in sources
