"""Pages in a headless Chromium: tables that sort, rules of accessibility, widths, and what is printed."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, chromium
from finished_runs import history, result
from hdlif.ops import SampleName
from hdlif.report import ablation
from hdlif.report.page import render
from hdlif.report.runs import Run
from hdlif.report.traces import NeuronTrace, Traces

pytestmark = pytest.mark.slow

CLASSES = [f"class {n}" for n in range(12)]


def report_page() -> str:
    networks = [
        result(name, accuracy=accuracy, stored_mb=size)
        for name, accuracy, size in (("net_b", 0.9, None), ("net_a", 0.95, 1234.5), ("net_c", 0.85, 2.0))
    ]
    counts = [[10 if i == j else int((i + j) % 7 == 0) for j in range(12)] for i in range(12)]
    run = Run(
        networks,
        {network.name: history() for network in networks},
        artefact={"path": "digits.hdlif.safetensors", "bytes": 23144},
        recipes={network.name: "seed: 42\n" for network in networks},
        confusions={network.name: {"labels": CLASSES, "counts": counts} for network in networks},
        early={"net_a": {"time_steps": 2, "confidence": [0.0, 1.0], "steps": [1, 2], "accuracy": [0.9, 0.95]}},
    )
    return render(
        run,
        commands=["hdlif demo --out runs/demo"],
        traces=Traces(
            "test image 0", {"net_a": {"act1:7": NeuronTrace([0.75, 0.25], [0.5, 0.5], [0.25, 0.0], "channel 7")}}
        ),
    )


def table_page() -> str:
    columns = ["STBP", "SLTT", "random step"]
    one = {"accuracy": 0.5, "std": 0.01, "accuracy_per_step": [0.4, 0.5], "sops": 1e6, "n": 3}
    cells = {row: dict.fromkeys(columns, one) for row in ("LIF", "HD-LIF")}
    texts = {row: ["50.00 ± 1.00 (3), 1.0 M"] * 3 for row in cells}
    return ablation.render(
        "A table",
        columns,
        cells,
        columns,
        texts,
        quantities=["accuracy", "sops"],
        samples=SampleName("image", "images"),
        provenance=[("cpu", "a processor")],
    )


PAGES = {"report": report_page, "table": table_page}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as window:
        yield window


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.html"
    if not path.exists():
        path.write_text(PAGES[name](), "utf-8")
    return path


def column(browser: Browser, number: int) -> list[str]:
    """What stands in a column of the first table, from above."""
    rows = "[...document.querySelector('.results').tBodies[0].rows]"
    script = f"return {rows}.map((row) => row.cells[arguments[0]].textContent)"
    return [text.strip() for text in browser.run(script, number)]


def test_headings_sort_by_number_up_down_and_back_and_dashes_are_last(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, "report"))
    sizes = ["—", "1,234.50", "2.00"]
    assert column(browser, 3) == sizes
    browser.run("document.querySelectorAll('.results thead button')[3].focus()")
    sorted_by = "return [...document.querySelectorAll('.results [aria-sort]')].map(h => [h.textContent, h.ariaSort])"
    enter, space = "\ue007", " "
    browser.press(enter)
    assert (column(browser, 3), browser.run(sorted_by)) == (["2.00", "1,234.50", "—"], [["stored", "ascending"]])
    browser.press(space)
    assert (column(browser, 3), browser.run(sorted_by)) == (["1,234.50", "2.00", "—"], [["stored", "descending"]])
    browser.press(enter)
    assert (column(browser, 3), browser.run(sorted_by)) == (sizes, [])
    browser.click(".results thead button")
    assert [name.split()[0] for name in column(browser, 0)] == ["net_a", "net_b", "net_c"]
    # Another column takes over.
    browser.run("document.querySelectorAll('.results thead button')[1].click()")
    assert column(browser, 1) == ["85.00", "90.00", "95.00"]
    assert browser.run(sorted_by) == [["%", "ascending"]]
    assert browser.complaints() == []


def test_names_with_numbers_are_sorted_as_people_do(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, "report"))
    # The numbers behind the accuracies by class.
    script = """
    const table = [...document.querySelectorAll('details table')].find((t) => t.tHead.textContent.includes('class'));
    table.querySelector('button').click();
    return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent)"""
    assert browser.run(script) == CLASSES


def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(browser: Browser, tmp_path: Path) -> None:
    for page, width, scheme in itertools.product(PAGES, (400, 1400), ("light", "dark")):
        browser.show(width, scheme=scheme)
        browser.open(written(tmp_path, page))
        assert browser.run("return document.documentElement.scrollWidth") <= width, page
        assert browser.inaccessible() == [], page


def test_printed_pages_are_of_paper_width_without_buttons(browser: Browser, tmp_path: Path) -> None:
    browser.show(680)
    browser.open(written(tmp_path, "report"))
    browser.tell("Emulation.setEmulatedMedia", {"media": "print"})
    # A4 less its margins has 680 pixels.
    shown = "[...document.querySelectorAll('table, svg, pre')]"
    assert browser.run(f"return Math.max(...{shown}.map((one) => one.getBoundingClientRect().right))") <= 681
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    arrow = "getComputedStyle(document.querySelector('.results button'), '::after').content"
    assert browser.run(f"return {arrow}") == "none"
    browser.tell("Emulation.setEmulatedMedia", {"media": ""})


def test_without_scripts_the_tables_are_there_and_have_no_buttons(tmp_path: Path, browser: Browser) -> None:
    path = written(tmp_path, "report")
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(path)
    found = browser.tell("Runtime.evaluate", {"expression": "document.querySelectorAll('button').length"})
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": False})
    assert found["result"]["value"] == 0
