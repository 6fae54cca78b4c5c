"""Runs the examples of the documentation: README, docs/, and the docstrings of the package."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

pytest_plugins = ["time_limits"]


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples may write files."""
    monkeypatch.chdir(tmp_path)


markdown = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/**/*.md"],
    # Code there goes on from commands: tests/docs/test_pages.py runs both.
    excludes=["docs/tutorials/*.md"],
    fixtures=["in_empty_folder"],
)
# `**` stands for one folder here, so each depth is named.
docstrings = Sybil(
    parsers=[DocTestParser()],
    patterns=[f"src/hdlif/{'*/' * depth}*.py" for depth in range(4)],
    fixtures=["in_empty_folder"],
)

pytest_collect_file = (markdown + docstrings).pytest()
