"""The figures and tables of the documentation are those of its records."""

import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import figures.plots
import figures.prose
import figures.tables  # noqa: F401
from cases import naming
from figures import markdown, pages, records
from figures.drawing import digest_of, drawn
from figures.pages import ROOT, MarkError
from figures.registry import FIGURES, PLOTS, TABLES
from figures.tables import digits, losses
from figures.tables.unseen import left_out

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
    for module in (markdown, losses):
        found = doctest.testmod(module)
        assert found.attempted > 0 == found.failed, module


def cell(*accuracies: float, **more: Any) -> dict[str, Any]:
    mean = sum(accuracies) / len(accuracies)
    std = None if len(accuracies) == 1 else (sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)) ** 0.5
    kept = {"n": len(accuracies), "accuracies": list(accuracies), "accuracy": mean, "std": std, "sops": 2e6}
    return kept | {"train_seconds": 12.3, "peak_bytes": 30_000_000, "parameters": 17_922} | more


def table(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"rows": rows, "undefined": {"LIF": ["random step, 1.5-bit, 4-bit spikes"]}}


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if not line.startswith("| -")]


def test_means_are_over_rules_and_over_neurons() -> None:
    low = "random step, 1.5-bit, 4-bit spikes"
    of = {rule: cell(0.8, 0.9) for rule in digits.RULES}
    record = table(LIF=of, graded={**of, "STBP": cell(1.0, 1.0), low: cell(0.1, 0.1)})
    grid, by_neuron, by_rule = digits.every(record).split("\n\n")
    assert rows_of(grid)[1][-1] == "—"
    assert rows_of(by_neuron)[1:] == [["LIF", "85.0", "± 1.7"], ["graded", "88.0", "± 2.5"]]
    assert rows_of(by_rule)[1:3] == [["STBP", "92.5", "± 4.8"], ["SLTT", "85.0", "± 2.9"]]


def test_losses_show_the_cost_of_the_cut_and_the_gain_of_each_change_over_pairs_of_a_seed() -> None:
    def of(*accuracies: float) -> dict[str, Any]:
        return cell(*accuracies) | {"runs": [{"seed": seed, "accuracy": a} for seed, a in enumerate(accuracies)]}

    columns = [f"{rule}, {loss}" for loss in ("mean output", "each step") for rule in ("STBP", "SLTT")]
    first, second = [of(0.9, 0.8), of(0.8, 0.5), of(0.6, 0.6), of(0.7, 0.7)], [of(0.9, 0.9)] * 4
    rows = {"LIF": first, "HD-LIF": second}
    record = table(**{neuron: dict(zip(columns, cells, strict=True)) for neuron, cells in rows.items()})
    assert rows_of(losses.losses(record))[1][3::3] == ["20.0 ± 10.0", "-10.0 ± 0.0"]
    assert rows_of(losses.changes(record))[1:] == [
        ["all: HD-LIF over LIF", "5.0 ± 5.0", "25.0 ± 15.0", "30.0 ± 0.0", "20.0 ± 0.0"]
    ]


def test_a_set_that_is_left_out_has_no_say_in_the_setting_it_is_measured_with() -> None:
    accuracies = {"a": {"x": 1.0, "y": 0.5, "z": 0.6}, "b": {"x": 0.0, "y": 0.6, "z": 0.7}}
    # Of y and z alone b is the better one, though a is on average.
    assert left_out(accuracies) == {"x": "b", "y": "a", "z": "a"}
