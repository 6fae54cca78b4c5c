"""How to install is said in one way, and the table of extras has all of them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = """\
    python3 -m venv .venv
    . .venv/bin/activate
    pip install '.[train]'
"""


@pytest.mark.parametrize(
    "page", ["README.md", "docs/index.md", "docs/tutorials/first_network.md", "docs/reference/installing.md"]
)
def test_every_page_that_installs_has_the_same_commands(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert text.count(COMMANDS) == 1
    assert "Python 3.11 or later and a C++ compiler" in text


def test_the_table_of_extras_has_each_of_them_once() -> None:
    text = (ROOT / "docs/reference/installing.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert sorted(listed) == sorted(project["optional-dependencies"])
