"""The site of docs/: what a reader sees has no fault that axe finds, on a telephone or a screen, light or dark.

It takes the extra "docs", Chromium, and axe-core by npm: `make docs axe`.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, chromium
from cases import naming

ROOT = Path(__file__).parents[2]
PAGES = [
    "index",
    "tutorials/your_own_images",
    "how_to/index",
    "how_to/adding_a_neuron",
    *(f"reference/{name}" for name in ("equations", "recipes", "command_line", "recipe_keys", "python/runtime")),
]
NARROW, WIDE = 400, 1400
SCHEMES = {"light": "default", "dark": "slate"}

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


def show(window: Browser, page: Path, *, width: int = WIDE, scheme: str = "light") -> None:
    """Open a page as a reader does whose screen is so wide, and whose system has that scheme."""
    window.show(width, scheme=scheme)
    window.open(page)
    window.wait("return 'reachable' in document.documentElement.dataset")


def test_pages_fit_their_screen_load_nothing_and_have_no_fault_that_axe_finds(site: Path, window: Browser) -> None:
    for page, width, scheme in itertools.product(PAGES, (NARROW, WIDE), SCHEMES):
        with naming(page, width, scheme):
            show(window, site / f"{page}.html", width=width, scheme=scheme)
            assert window.run("return document.body.dataset.mdColorScheme") == SCHEMES[scheme]
            assert window.run("return document.documentElement.scrollWidth") <= width
            loaded = window.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
            assert [name for name in loaded if not name.startswith("file:")] == []
            assert window.inaccessible() == []


def test_no_page_is_wider_than_a_telephone(site: Path, window: Browser) -> None:
    # The host shows 404.html at any address, so that its own are absolute.
    for page in sorted({*site.rglob("*.html")} - {site / "404.html"}):
        show(window, page, width=NARROW)
        assert window.run("return document.documentElement.scrollWidth") <= NARROW, page


def test_search_finds_a_page_that_is_opened_as_a_file(site: Path, window: Browser) -> None:
    show(window, site / "index.html")
    window.run(
        "const field = document.querySelector('.md-search__input'); field.focus();"
        "field.value = 'stochastic window'; field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}))"
    )
    found = window.wait("return [...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)")
    assert any("long_time.html" in link for link in found)


def test_no_text_is_taken_for_a_tag_and_headings_go_down_by_one(site: Path) -> None:
    for page in site.rglob("*.html"):
        article = re.search(r"<article.*</article>", page.read_text("utf-8"), re.DOTALL)
        if article is None:
            continue
        tags = set(re.findall(r"<([A-Za-z][^\s/>]*)", article[0]))
        unknown = {tag for tag in tags if not re.fullmatch(r"[a-z]+[1-6]?|svg|path", tag)}
        assert unknown | (tags & {"n", "d", "t", "k"}) == set(), page
        if page.name in ("index.html", "recipe_keys.html"):
            levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", article[0])]
            assert levels[0] == 1, page
            assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), page
