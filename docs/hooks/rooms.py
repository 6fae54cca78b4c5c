"""The navigation: each room of docs/ in the order, under the headings and by the names of its index page.

A page is one line of its room's index.md, `- [Name](file.md): what it is.`; one that is in none is a warning. A
notebook is the page that docs/hooks/notebooks.py makes of it.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

ROOMS = ("tutorials", "how_to", "explanation", "reference")
PROJECT = {
    "Changes": "project/changelog.md",
    "Contributing": "project/contributing.md",
    "Security": "project/security.md",
}
"""What docs/hooks/links.py makes of files at the root of the repository."""
_HEADING = re.compile(r"^## (?P<heading>.+)$")
_PAGE = re.compile(r"^- \[(?P<name>[^\]]+)\]\((?P<file>[^)#]+)\.(md|ipynb)\): \S")

log = logging.getLogger("mkdocs.hooks.rooms")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    docs = Path(config.docs_dir)
    rooms = ({title(docs / room / "index.md"): entries(docs, room)} for room in ROOMS)
    config.nav = [{"Home": "index.md"}, *rooms, {"Project": [{name: page} for name, page in PROJECT.items()]}]
    return config


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
    return [one for one in found if one != {} and (isinstance(one, str) or next(iter(one.values())))]
