"""The changelog, and the files that the rules of the house name."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_changelog_has_a_place_for_what_comes_and_the_coming_release() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    coming = settings["tool"]["setuptools_scm"]["fallback_version"].removesuffix(".dev0")
    # Until its tag there is the coming release, written up already; behind the tag, the one before it.
    assert re.fullmatch(r"\d+\.\d+\.\d+", headings[1])
    assert tuple(map(int, headings[1].split("."))) <= tuple(map(int, coming.split(".")))


def test_files_that_the_rules_of_the_house_name_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for path in re.findall(r"\]\(([\w./]+\.md)\)|`(include/\w+\.h|packages/[\w/-]+\.json|benchmarks/\w+\.py)`", text):
        assert (ROOT / (path[0] or path[1])).exists(), path
