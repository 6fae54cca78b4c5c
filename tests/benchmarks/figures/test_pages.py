"""What the documentation says is what its records say."""

import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import figures.plots
import figures.prose
import figures.tables  # noqa: F401
from cases import naming
from figures import markdown, pages, records
from figures.drawing import digest_of, drawn
from figures.pages import ROOT, MarkError
from figures.registry import FIGURES, PLOTS, TABLES
from figures.tables import losses, provenance

PAGES = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in pages.pages()}
RESULTS = "docs/reference/results/"
COUNTED = f"{RESULTS}published_rows.md"
"""Its tables are counts and published figures, which tests/report/accounting/test_operations.py compares."""


@pytest.mark.parametrize("page", PAGES)
def test_page_says_what_its_records_say(page: str) -> None:
    text = PAGES[page]
    assert pages.rendered(text) == text, "run `make figures`"
    if page.startswith(RESULTS) and page != COUNTED:
        by_hand = re.sub(r"<!-- figures: .*?<!-- end -->", "", text, flags=re.DOTALL)
        assert re.findall(r"^\|.*", by_hand, re.MULTILINE) == []


@pytest.mark.parametrize("name", PLOTS)
def test_plot_is_of_its_record(name: str) -> None:
    image = ROOT / "docs" / "images" / f"{name}.svg"
    assert digest_of(image.read_text("utf-8")) == PLOTS[name]().digest, "run `make figures`"


def test_every_table_and_plot_stands_in_a_page() -> None:
    assert set(TABLES) == {name for text in PAGES.values() for name in pages.marked_tables(text)}
    every = "".join(PAGES.values())
    assert [name for name in PLOTS if f"images/{name}.svg" not in every] == []
    assert [name for name in FIGURES if f"<!-- = {name} -->" not in every] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    records.record.cache_clear()
    yield tmp_path
    records.record.cache_clear()


def test_figure_in_prose_is_that_of_the_record_and_a_mark_that_names_nothing_is_refused(folder: Path) -> None:
    (folder / "speed.json").write_text(json.dumps({"engines": [{"an image": 0.0123}], "share": 0.5}))
    text = "It takes **99<!-- = speed/engines/0/an image *1000:.1f --> ms**, 1<!-- = speed/share *100:.0f --> %."
    assert pages.rendered(text) == text.replace("99<", "12.3<").replace("1<", "50<")
    for wrong in (
        "1<!-- = nothing/share :.1f -->",
        "1<!-- = speed/other :.1f -->",
        "1<!-- = speed -->",
        "about <!-- = speed/share :.1f -->",
        "<!-- figures: nothing -->\n<!-- end -->",
    ):
        with naming(wrong), pytest.raises(MarkError):
            pages.rendered(wrong)


def test_plot_has_the_same_bytes_each_time_and_follows_the_readers_colours() -> None:
    plot = PLOTS["memory"]()
    svg = drawn(plot)
    assert svg == drawn(plot)
    assert digest_of(svg) == plot.digest
    assert "prefers-color-scheme:dark" in svg
    assert not re.search("#0404|#010101", svg)


def test_examples_of_forms_hold() -> None:
    for module in (markdown, losses, provenance):
        found = doctest.testmod(module)
        assert found.attempted > 0 == found.failed, module
