"""What the documentation says is what its records say."""

import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import figures.plots
import figures.prose
import figures.tables  # noqa: F401
from figures import markdown, pages, records
from figures.drawing import digest_of, drawn
from figures.pages import ROOT, MarkError
from figures.registry import FIGURES, PLOTS, TABLES
from figures.tables import losses, provenance

PAGES = [page.relative_to(ROOT).as_posix() for page in pages.pages()]


@pytest.mark.parametrize("page", PAGES)
def test_page_says_what_its_records_say(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert pages.rendered(text) == text, "run `make figures`"


@pytest.mark.parametrize("name", PLOTS)
def test_plot_is_of_its_record(name: str) -> None:
    image = ROOT / "docs" / "images" / f"{name}.svg"
    assert digest_of(image.read_text("utf-8")) == PLOTS[name]().digest, "run `make figures`"


def test_every_table_and_plot_stands_in_a_page() -> None:
    texts = [(ROOT / page).read_text("utf-8") for page in PAGES]
    assert set(TABLES) == {name for text in texts for name in pages.marked_tables(text)}
    assert [name for name in PLOTS if not any(f"images/{name}.svg" in text for text in texts)] == []
    assert [name for name in FIGURES if not any(f"<!-- = {name} -->" in text for text in texts)] == []


RESULTS = [page for page in PAGES if page.startswith("docs/reference/results/")]
COUNTED = "docs/reference/results/published_rows.md"
"""Its tables are counts and published figures, which tests/report/accounting/test_operations.py compares."""


@pytest.mark.parametrize("page", [page for page in RESULTS if page != COUNTED])
def test_every_table_of_results_is_written_from_a_record(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    by_hand = re.sub(r"<!-- figures: .*?<!-- end -->", "", text, flags=re.DOTALL)
    assert re.findall(r"^\|.*", by_hand, re.MULTILINE) == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    records.record.cache_clear()
    yield tmp_path
    records.record.cache_clear()


def test_figure_in_prose_is_that_of_the_record(folder: Path) -> None:
    (folder / "speed.json").write_text(json.dumps({"engines": [{"an image": 0.0123}], "share": 0.5}))
    text = "It takes **99<!-- = speed/engines/0/an image *1000:.1f --> ms**, 1<!-- = speed/share *100:.0f --> %."
    assert pages.rendered(text) == text.replace("99<", "12.3<").replace("1<", "50<")


@pytest.mark.parametrize(
    "text",
    [
        "1<!-- = nothing/share :.1f -->",
        "1<!-- = speed/other :.1f -->",
        "1<!-- = speed -->",
        "about <!-- = speed/share :.1f -->",
        "<!-- figures: nothing -->\n<!-- end -->",
    ],
)
def test_mark_that_names_nothing_is_refused(folder: Path, text: str) -> None:
    (folder / "speed.json").write_text('{"share": 0.5}')
    with pytest.raises(MarkError):
        pages.rendered(text)


def test_plot_has_the_same_bytes_each_time_and_follows_the_readers_colours() -> None:
    plot = PLOTS["memory"]()
    svg = drawn(plot)
    assert svg == drawn(plot)
    assert digest_of(svg) == plot.digest
    assert "prefers-color-scheme:dark" in svg
    assert "#0404" not in svg
    assert "#010101" not in svg


@pytest.mark.parametrize("module", [markdown, losses, provenance])
def test_examples_of_forms_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
