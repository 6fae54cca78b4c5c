"""Links from pages to files outside docs/.

In the repository such a link names the file, `../../SECURITY.md`. In the site it goes to the page that is made of the
file (`PAGES`), to the file in the repository where `repo_url` is known, or becomes its text alone. One to a file that
is not there stays as it is, and mkdocs warns of it.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Files at the root of the repository, and the pages that are made of them."""
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
_CODE = re.compile(r"(^(?P<fence>```+|~~~+).*?^(?P=fence)|`[^`]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.docs_dir).parent
    for file, page in PAGES.items():
        files.append(File.generated(config, page, content=(root / file).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    root, docs = Path(config.docs_dir).parent, Path(config.docs_dir).name
    source = {made: file for file, made in PAGES.items()}.get(page.file.src_uri, f"{docs}/{page.file.src_uri}")
    return linked(markdown, source=source, page=page.file.src_uri, root=root, docs=docs, repo_url=config.repo_url)


def linked(
    markdown: str, *, source: str, page: str, root: Path, docs: str = "docs", repo_url: str | None = None
) -> str:
    """The text of a page with its links to files outside `docs` turned into links of the site.

    Args:
        source: the file in the repository that the text is of.
        page: where it is in the site.
    """

    def turned(found: re.Match[str]) -> str:
        target, text, anchor = found["target"], found["text"], found["anchor"] or ""
        if ":" in target or target.startswith("/"):
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file.startswith(f"{docs}/") and file.endswith(".ipynb"):
            there = file.removeprefix(f"{docs}/").removesuffix("ipynb") + "md"
        elif file in PAGES:
            there = PAGES[file]
        elif file.startswith(f"{docs}/"):
            there = file.removeprefix(f"{docs}/")
        elif not (root / file).exists():
            return found[0]
        elif repo_url:
            return f"{found['image']}[{text}]({repo_url.rstrip('/')}/blob/HEAD/{file}{anchor})"
        else:
            return text
        relative = os.path.relpath(there, posixpath.dirname(page) or ".").replace(os.sep, "/")
        return f"{found['image']}[{text}]({relative}{anchor})"

    # What stands between code stays where it is: `split` gives text, code, fence, text, ...
    parts, place = [], 0
    for code in _CODE.finditer(markdown):
        parts += [_LINK.sub(turned, markdown[place : code.start()]), code[0]]
        place = code.end()
    return "".join([*parts, _LINK.sub(turned, markdown[place:])])
