"""The site of docs/: what a reader sees has no fault that axe finds, on a telephone or a screen, light or dark.

It takes the extra "docs", Chromium, and axe-core by npm: `make docs axe`.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browser import AXE, Browser, chromium

ROOT = Path(__file__).parents[2]
PAGES = (
    "index.html",
    "tutorials/your_own_images.html",
    "how_to/index.html",
    "how_to/adding_a_neuron.html",
    "reference/equations.html",
    "reference/recipes.html",
    "reference/command_line.html",
    "reference/recipe_keys.html",
    "reference/python/runtime.html",
)
WIDTHS = (400, 1400)
PALETTES = ("light", "dark")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    built = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(built, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def show(window: Browser, page: Path, *, width: int, palette: str) -> None:
    """Open a page as a reader does whose screen is so wide, and whose system has that palette."""
    preferred = [{"name": "prefers-color-scheme", "value": palette}]
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    for command, asked in (
        ("Emulation.setEmulatedMedia", {"features": preferred}),
        ("Emulation.setDeviceMetricsOverride", metrics),
    ):
        window.ask("goog/cdp/execute", {"cmd": command, "params": asked})
    window.open(page)
    window.wait("return 'reachable' in document.documentElement.dataset")


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make axe")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("palette", PALETTES)
def test_axe_finds_no_fault(site: Path, window: Browser, width: int, palette: str) -> None:
    faults: dict[str, Any] = {}
    for page in PAGES:
        show(window, site / page, width=width, palette=palette)
        scheme = window.run("return document.body.dataset.mdColorScheme")
        assert scheme == {"light": "default", "dark": "slate"}[palette]
        window.run(AXE.read_text("utf-8"))
        window.run("axe.run().then(({violations}) => { window.found = {violations}; })")
        for violation in window.wait("return window.found")["violations"]:
            places = [node["target"] for node in violation["nodes"]]
            faults.setdefault(violation["id"], []).append(
                (page, len(places), places[:3], violation["nodes"][0]["failureSummary"])
            )
    assert faults == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(site: Path, window: Browser, width: int) -> None:
    wide = []
    # The host shows 404.html at any address, so that its own are absolute.
    every = sorted({*site.rglob("*.html")} - {site / "404.html"})
    for page in every if width == min(WIDTHS) else [site / page for page in PAGES]:
        show(window, page, width=width, palette="light")
        if (seen := window.run("return document.documentElement.scrollWidth")) > width:
            wide.append((page.relative_to(site).as_posix(), seen))
    assert wide == []


def test_nothing_is_fetched_from_elsewhere(site: Path, window: Browser) -> None:
    for page in PAGES:
        show(window, site / page, width=1400, palette="light")
        loaded = window.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [name for name in loaded if not name.startswith("file:")] == []


def test_search_finds_a_page_that_is_opened_as_a_file(site: Path, window: Browser) -> None:
    show(window, site / "index.html", width=1400, palette="light")
    window.run(
        "const field = document.querySelector('.md-search__input'); field.focus();"
        "field.value = 'stochastic window'; field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}))"
    )
    found = window.wait("return [...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)")
    assert any("long_time.html" in link for link in found)


def test_no_text_is_taken_for_a_tag(site: Path) -> None:
    unknown = {}
    for page in site.rglob("*.html"):
        article = re.search(r"<article.*</article>", page.read_text("utf-8"), re.DOTALL)
        tags = set(re.findall(r"<([A-Za-z][^\s/>]*)", article[0] if article else ""))
        if wrong := {tag for tag in tags if not re.fullmatch(r"[a-z]+[1-6]?|svg|path", tag)} | (
            tags & {"n", "d", "t", "k"}
        ):
            unknown[page.relative_to(site).as_posix()] = wrong
    assert unknown == {}


@pytest.mark.parametrize("page", ["index.html", "reference/recipe_keys.html"])
def test_headings_go_down_by_one(site: Path, window: Browser, page: str) -> None:
    show(window, site / page, width=1400, palette="light")
    levels = window.run(
        "return [...document.querySelectorAll('article :is(h1,h2,h3,h4,h5,h6)')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
