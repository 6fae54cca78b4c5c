"""Pages name what there is, and all of it: parts of recipes, files, extras, sources of data, costs of neurons."""

import ast
import pydoc
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from cases import naming
from hdlif.cli.neurons import costs_table, step_costs
from hdlif.data import AUGMENTATIONS
from hdlif.data.public import SETS
from hdlif.recipe import builders
from hdlif.recipe.builders.metrics import METRICS
from hdlif.recipe.runs.ablation_tables import Quantity, cells, load_table
from hdlif.serve.reading import TYPES
from hdlif.serve.refusals import JSON
from pages import page

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_kind_is_documented() -> None:
    tables = [kind for name, table in vars(builders).items() if name.isupper() for kind in table]
    for name, kinds in {
        "reference/recipes": tables,
        "reference/data": (*builders.DATA, *AUGMENTATIONS),
        "reference/tasks": METRICS,
        "how_to/serving": (JSON, *TYPES),
        "how_to/public_data": SETS,
    }.items():
        text = page(name)
        assert [kind for kind in kinds if not re.search(rf"`(?:[\w:]*:)?{re.escape(kind)}`", text)] == [], name


def test_every_public_set_has_its_source_and_hash() -> None:
    text = page("how_to/public_data")
    for source in (source for found in SETS.values() for source in found.sources):
        assert source.sha256 in text
        assert f"{source.version}" in text
        assert source.package in text or f"-{source.package.removeprefix('asterisk-core-sounds-')}" in text


def test_the_example_of_a_table_is_one_with_all_quantities_named_after_it(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(title: .*?)```\n\n(`quantities` .*?)\n\n", page("reference/recipes"), re.DOTALL)
    assert found
    (tmp_path / "mine.yaml").write_text(found[1])
    table = load_table(tmp_path / "mine.yaml")
    assert len(list(cells(table.model_copy(update={"seeds": 1}), tmp_path))) == 4
    assert [name for name in get_args(Quantity) if f"`{name}`" not in found[2]] == []


def test_the_table_of_costs_is_that_of_the_command() -> None:
    assert f"\n\n{costs_table(step_costs())}\n\n" in page("reference/equations")


def test_functions_and_tests_of_the_equations_exist() -> None:
    text = page("reference/equations")
    for name in set(re.findall(r"`(hdlif(?:\.\w+)+)`", text)):
        assert pydoc.locate(name) is not None, name
    for path, function in set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)):
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert function in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, function


def test_every_file_that_a_page_names_is_there() -> None:
    named = re.compile(r"`((?:tests|src|benchmarks|include|packages)/[\w/.-]+)`|\]\(((?:docs/)?[\w/]+\.md)\)")
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for in_root, beside in named.findall(path.read_text("utf-8")):
            # NAME stands for one that the reader replaces.
            exists = (ROOT / in_root).exists() if in_root else (path.parent / beside).exists()
            assert exists or "NAME" in in_root, f"{path}: {in_root or beside}"


def test_the_changelog_has_a_place_for_what_comes_and_the_coming_release() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    coming = SETTINGS["tool"]["setuptools_scm"]["fallback_version"].removesuffix(".dev0")
    # Until its tag there is the coming release, written up already; after the tag, the one before it.
    assert re.fullmatch(r"\d+\.\d+\.\d+", headings[1])
    assert tuple(map(int, headings[1].split("."))) <= tuple(map(int, coming.split(".")))


@pytest.mark.parametrize("name", ["README", "docs/index", "docs/tutorials/first_network", "docs/reference/installing"])
def test_every_page_that_installs_has_the_same_commands(name: str) -> None:
    text = (ROOT / f"{name}.md").read_text("utf-8")
    commands = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install '.[train]'")
    assert text.count("".join(f"    {command}\n" for command in commands)) == 1
    assert "Python 3.11 or later and a C++ compiler" in text


def test_the_table_of_extras_has_each_of_them_once() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", page("reference/installing"), re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(SETTINGS["project"]["optional-dependencies"])


def test_workflows_pin_each_action_by_its_commit_and_state_their_permissions() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        flow = yaml.safe_load(path.read_text("utf-8"))
        assert flow["permissions"] == {"contents": "read"}, path
        for name, job in flow["jobs"].items():
            # Those that publish get what they need in place of it, and do not read the sources.
            rights = job.get("permissions", {})
            with naming(path, name):
                assert rights in ({}, {"id-token": "write"}, {"id-token": "write", "pages": "write"})
                assert not rights or job["environment"]
                actions = [step["uses"] for step in job["steps"] if "uses" in step]
                assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions)
