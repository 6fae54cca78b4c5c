"""What stands around the code is well formed: how to cite it, templates, the changelog, what a release needs."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_citation_names_the_software_and_the_paper() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert found["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "type"} <= found.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert found["license"] == project["license"]
    assert found["authors"] == project["authors"]
    (paper,) = found["references"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2410.07547"}]


def test_every_form_of_an_issue_asks_for_something() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert any(field.get("validations", {}).get("required") for field in fields)
        assert len({field["id"] for field in fields}) == len(fields)


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
