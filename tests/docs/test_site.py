"""The site of docs/: what a reader sees has no fault that axe finds, on a telephone or a screen, light or dark.

It takes the extra "docs", Chromium, and axe-core by npm: `make docs axe`.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browser import Browser, chromium
from cases import naming

ROOT = Path(__file__).parents[2]
PAGES = [
    "index",
    "tutorials/your_own_images",
    "how_to/index",
    "how_to/your_own_parts",
    *(f"reference/{name}" for name in ("definitions", "hdlif", "lif", "neurons", "recipes")),
    *(f"reference/{name}" for name in ("command_line", "recipe_keys", "python/runtime")),
]
FORMULAS = [f"reference/{name}" for name in ("definitions", "hdlif", "lif")]
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


@contextmanager
def inside(window: Browser, frame: str) -> Iterator[None]:
    window.ask("frame", {"id": window.find(frame)})
    yield
    window.ask("frame/parent", {})


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
    # The host shows 404.html at any address, so that its own are absolute; the live page is not of the theme.
    for page in sorted({*site.rglob("*.html")} - {site / "404.html", site / "live.html"}):
        show(window, page, width=NARROW)
        assert window.run("return document.documentElement.scrollWidth") <= NARROW, page


def test_outputs_look_different_from_commands(site: Path, window: Browser) -> None:
    for scheme in SCHEMES:
        show(window, site / "tutorials/first_network.html", scheme=scheme)
        grounds = [
            window.run(f"return getComputedStyle(document.querySelector('.language-{of} code')).backgroundColor")
            for of in ("command", "text")
        ]
        assert grounds[0] != grounds[1]


def test_the_home_page_classifies_a_digit_that_is_drawn_on_it(site: Path, window: Browser) -> None:
    best = "return document.querySelector('#classes .best')?.firstChild.textContent"
    for width in (NARROW, WIDE):
        show(window, site / "index.html", width=width)
        window.wait("return parseFloat(document.querySelector('iframe.live').style.height) > 0")
        with inside(window, "iframe.live"):
            assert window.wait(best) == "2"
            window.drag("#pad", [(0, -110), (0, 110)])
            window.next_frame()
            assert window.run(best) == "1"
            page = "document.documentElement"
            assert window.run(f"return [{page}.scrollHeight - innerHeight, {page}.scrollWidth - innerWidth]") == [0, 0]
        assert window.complaints() == []
        window.open(site / "live.html")
        assert window.wait(best) == "2"
        assert window.run(f"return {page}.scrollWidth") <= width


def test_the_live_page_has_the_palette_of_the_home_page(site: Path, window: Browser) -> None:
    def brightness() -> float:
        with inside(window, "iframe.live"):
            colour = window.run("return getComputedStyle(document.getElementById('clear')).color")
        return sum(map(int, re.findall(r"\d+", colour)))

    show(window, site / "index.html", scheme="light")
    window.wait("return parseFloat(document.querySelector('iframe.live').style.height) > 0")
    light = brightness()
    # From the system's palette to the light one, and to the dark one.
    for _ in range(2):
        window.run("document.querySelector('[data-md-component=palette] label:not([hidden])').click()")
    assert window.run("return document.body.dataset.mdColorScheme") == SCHEMES["dark"]
    window.next_frame()
    assert light < 200 < 500 < brightness()
    window.run("localStorage.clear()")


def test_every_formula_is_drawn(site: Path, window: Browser) -> None:
    for page in FORMULAS:
        with naming(page):
            show(window, site / f"{page}.html")
            assert window.run("return document.querySelectorAll('.arithmatex').length") > 5
            assert window.run("return document.querySelectorAll('.arithmatex:not(:has(.katex-html))').length") == 0
            assert window.run("return document.querySelectorAll('.katex-error').length") == 0


def test_search_finds_a_page_that_is_opened_as_a_file(site: Path, window: Browser) -> None:
    show(window, site / "index.html")
    window.run(
        "const field = document.querySelector('.md-search__input'); field.focus();"
        "field.value = 'stochastic window'; field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}))"
    )
    found = window.wait("return [...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)")
    assert any("choosing_a_rule.html" in link for link in found)


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
