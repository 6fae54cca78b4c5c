"""Pages in a headless Chromium: tables that sort, rules of accessibility, widths, and what is printed."""

import itertools
from pathlib import Path

import pytest

from browser import Browser
from finished_runs import history, result
from hdlif.graph.ops import SampleName
from hdlif.report import ablation
from hdlif.report.page import render
from hdlif.report.runs import Run
from hdlif.report.traces import NeuronTrace, Traces
from report import live_networks

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
    trace = NeuronTrace([0.75, 0.25], [0.5, 0.5], [0.25, 0.0], "channel 7")
    return render(run, commands=["hdlif demo"], traces=Traces("test image 0", {"net_a": {"act1:7": trace}}))


def table_page() -> str:
    columns = ["STBP", "SLTT", "random step"]
    one = {"accuracy": 0.5, "std": 0.01, "accuracy_per_step": [0.4, 0.5], "sops": 1e6, "n": 3}
    cells = {row: dict.fromkeys(columns, one) for row in ("LIF", "HD-LIF")}
    texts = {row: ["50.00 ± 1.00 (3), 1.0 M"] * 3 for row in cells}
    more = {
        "quantities": ["accuracy", "sops"],
        "samples": SampleName("image", "images"),
        "provenance": [("cpu", "one")],
    }
    return ablation.render("A table", columns, cells, columns, texts, **more)


PAGES = {"report": report_page, "table": table_page, "live": lambda: live_networks.page(live_networks.network())}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(make(), "utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


def column(browser: Browser, number: int, table: str = ".results") -> list[str]:
    """What stands in a column of a table, from above."""
    rows = "[...document.querySelector(arguments[1]).tBodies[0].rows]"
    script = f"return {rows}.map((row) => row.cells[arguments[0]].textContent)"
    return [text.strip() for text in browser.run(script, number, table)]


def test_headings_sort_by_number_up_down_and_back_and_dashes_are_last(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"])
    sizes = ["—", "1,234.50", "2.00"]
    assert column(browser, 3) == sizes
    browser.run("document.querySelectorAll('.results thead button')[3].focus()")
    sorted_by = "return [...document.querySelectorAll('.results [aria-sort]')].map(h => [h.textContent, h.ariaSort])"
    enter, space = "\ue007", " "
    for key, expected, shown in (
        (enter, ["2.00", "1,234.50", "—"], [["stored", "ascending"]]),
        (space, ["1,234.50", "2.00", "—"], [["stored", "descending"]]),
        (enter, sizes, []),
    ):
        browser.press(key)
        assert (column(browser, 3), browser.run(sorted_by)) == (expected, shown)
    browser.click(".results thead button")
    assert [name.split()[0] for name in column(browser, 0)] == ["net_a", "net_b", "net_c"]
    # Another column takes over.
    browser.run("document.querySelectorAll('.results thead button')[1].click()")
    assert column(browser, 1) == ["85.00", "90.00", "95.00"]
    assert browser.run(sorted_by) == [["%", "ascending"]]
    # Names with numbers are sorted as people do.
    browser.run(
        "const tables = [...document.querySelectorAll('details table')];"
        "const table = tables.find((t) => t.tHead.textContent.includes('class'));"
        "table.id = 'classes'; table.querySelector('button').click();"
    )
    assert column(browser, 0, "#classes") == CLASSES
    assert browser.complaints() == []


def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(browser: Browser, pages: dict[str, Path]) -> None:
    for page, width, scheme in itertools.product(PAGES, (400, 1400), ("light", "dark")):
        browser.show(width, scheme=scheme)
        browser.open(pages[page])
        browser.wait("return document.getElementById('pad') === null || window.hdlif !== undefined")
        assert browser.run("return document.documentElement.scrollWidth") <= width, page
        assert browser.inaccessible() == [], page


def test_printed_pages_are_of_paper_width_without_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    browser.show(680)
    browser.open(pages["report"])
    browser.tell("Emulation.setEmulatedMedia", {"media": "print"})
    # A4 less its margins has 680 pixels.
    shown = "[...document.querySelectorAll('table, svg, pre')]"
    assert browser.run(f"return Math.max(...{shown}.map((one) => one.getBoundingClientRect().right))") <= 681
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    arrow = "getComputedStyle(document.querySelector('.results button'), '::after').content"
    assert browser.run(f"return {arrow}") == "none"
    browser.tell("Emulation.setEmulatedMedia", {"media": ""})


def test_without_scripts_the_tables_are_there_and_have_no_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(pages["report"])
    found = browser.tell("Runtime.evaluate", {"expression": "document.querySelectorAll('button').length"})
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": False})
    assert found["result"]["value"] == 0
