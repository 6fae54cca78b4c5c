"""The navigation: each room of docs/ in the order, under the headings and by the names of its index page.

A page is one line of its room's index.md, `- [Name](file.md): what it is.`; one that is in none is a warning. A
notebook is the page that docs/hooks/notebooks.py makes of it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from python_api import PACKAGES, page_of

ROOMS = ("tutorials", "how_to", "explanation", "benchmarks", "reference", "contributing")
PROJECT = {
    "Changes": "project/changelog.md",
    "Contributing": "project/contributing.md",
    "Conduct": "project/conduct.md",
    "Security": "project/security.md",
}
"""What docs/hooks/links.py makes of files at the root of the repository."""
MADE = {
    "Command line": ("command_line.md", "every subcommand, its options and their defaults."),
    "Recipe keys": ("recipe_keys.md", "every section, key and kind of a recipe, with its type, default and meaning."),
    "Python": ("python/index.md", "what `import hdlif` offers, package by package."),
}
"""Pages of the reference that other hooks make."""
PYTHON = ["reference/python/index.md", *({name: f"reference/python/{page_of(name)}"} for name in PACKAGES)]
MADE_HEADING = "Generated pages"
_HEADING = re.compile(r"^## (?P<heading>.+)$")
_PAGE = re.compile(r"^- \[(?P<name>[^\]]+)\]\((?P<file>[^)#]+)\.(md|ipynb)\): \S")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    docs = Path(config.docs_dir)
    rooms = {title(docs / room / "index.md"): entries(docs, room) for room in ROOMS}
    made = [{name: PYTHON if name == "Python" else f"reference/{page}"} for name, (page, _) in MADE.items()]
    next(one for one in rooms["Reference"] if MADE_HEADING in one)[MADE_HEADING] = made
    project = [{name: page} for name, page in PROJECT.items()]
    config.nav = [{"Home": "index.md"}, *({name: pages} for name, pages in rooms.items()), {"Project": project}]
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri != "reference/index.md":
        return markdown
    return "\n".join(
        [markdown.rstrip(), "", *(f"- [{name}]({made}): {said}" for name, (made, said) in MADE.items()), ""]
    )


def title(page: Path) -> str:
    return page.read_text("utf-8").splitlines()[0].removeprefix("# ")


def entries(docs: Path, room: str) -> list:
    """The room's index, and its pages below their headings."""
    found: list = [f"{room}/index.md"]
    place = found
    for line in (docs / room / "index.md").read_text("utf-8").splitlines():
        if heading := _HEADING.match(line):
            place = []
            found.append({heading["heading"]: place})
        elif page := _PAGE.match(line):
            place.append({page["name"]: posixpath.normpath(f"{room}/{page['file']}.md")})
    return found
