"""Pages name what there is, and all of it: parts of recipes, commands, files, extras, sources of data, limits."""

import functools
import inspect
import pydoc
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import yaml

from cases import naming
from hdlif.cli import cli
from hdlif.cli.neurons import costs_table, step_costs
from hdlif.cli.recipes import check_all
from hdlif.data import AUGMENTATIONS
from hdlif.data.public import SETS
from hdlif.recipe import builders, shipped_recipes
from hdlif.recipe.builders.metrics import METRICS
from hdlif.recipe.runs import ablation_tables as ablate
from hdlif.runtime import Session
from hdlif.serve import Settings
from hdlif.serve.reading import TYPES
from hdlif.serve.refusals import JSON
from pages import blocks, page

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_kind_is_documented() -> None:
    tables = [kind for name, table in vars(builders).items() if name.isupper() for kind in table]
    for name, kinds in {
        "reference/recipes": (*tables, *get_args(ablate.Quantity)),
        "reference/data": (*builders.DATA, *AUGMENTATIONS),
        "reference/tasks": METRICS,
        "how_to/serving": (JSON, *TYPES),
        "how_to/datasets": SETS,
        "reference/installing": SETTINGS["project"]["optional-dependencies"],
    }.items():
        text = page(name)
        assert [kind for kind in kinds if not re.search(rf"`(?:[\w:]*:)?{re.escape(kind)}`", text)] == [], name


def test_every_public_set_has_its_source_and_hash() -> None:
    text = page("how_to/datasets")
    for source in (source for found in SETS.values() for source in found.sources):
        assert source.sha256 in text
        assert source.version in text
        assert source.package in text or f"-{source.package.removeprefix('asterisk-core-sounds-')}" in text


def test_the_example_of_a_table_is_one(tmp_path: Path) -> None:
    (example,) = (block for block in blocks(page("reference/recipes"), "yaml") if block.startswith("title: "))
    (tmp_path / "mine.yaml").write_text(example)
    table = ablate.load_table(tmp_path / "mine.yaml")
    assert len(list(ablate.cells(table.model_copy(update={"seeds": 1}), tmp_path))) == 4


def test_the_table_of_costs_is_that_of_the_command() -> None:
    assert f"\n\n{costs_table(step_costs())}\n\n" in page("reference/neurons")


def test_functions_of_the_definitions_exist() -> None:
    for of in ("neurons", "lif", "hdlif", "definitions"):
        for name in set(re.findall(r"`(hdlif(?:\.\w+)+)`", page(f"reference/{of}"))):
            with naming(of, name):
                assert pydoc.locate(name) is not None


def test_every_file_and_test_that_a_page_names_is_there() -> None:
    named = re.compile(
        r"`((?:tests|src|benchmarks|include|packages)/[\w/.-]+)(?:::(\w+))?`|\]\(((?:docs/)?[\w/]+\.md)\)"
    )
    for path in PAGES:
        for in_root, test, beside in set(named.findall(path.read_text("utf-8"))):
            file = ROOT / in_root if in_root else path.parent / beside
            # NAME stands for one that the reader replaces.
            if "NAME" not in in_root:
                with naming(path, file, test):
                    assert file.exists()
                    assert not test or f"\ndef {test}(" in file.read_text("utf-8")


_STANDS_FOR = re.compile(r"^(?:[A-Z_]{2,}(?:\.[a-z]+)?|KEY=.*|.*[|…].*)$")
"""A word such as RECIPE or DIR, which the reader replaces."""


def commands(path: Path) -> Iterator[list[str]]:
    """The arguments after `hdlif` of each command in an indented block."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL).replace("\\\n", " ")
    for line in re.findall(r"^ {4,}(.*)$", text, re.MULTILINE):
        for part in re.split(r"\s(?:\||&&)\s", line):
            if command := re.match(r"(?:[A-Z_0-9]+=\S+ )*hdlif (.*)", part):
                yield shlex.split(command[1], comments=True)


def parsed(arguments: list[str]) -> click.Context:
    """The context of the subcommand, with what it was given; nothing runs."""
    context = cli.make_context("hdlif", list(arguments))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def test_commands_of_pages_are_such_as_can_be_given() -> None:
    check = functools.cache(lambda recipe, overrides: check_all([recipe], list(overrides)))
    for path, arguments in ((one, given) for one in PAGES for given in commands(one)):
        if any(_STANDS_FOR.match(word) and word.startswith("-") for word in arguments) or "…" in arguments:
            continue
        with naming(path, shlex.join(arguments)):
            try:
                given = parsed([word for word in arguments if word != "..."])
            except click.exceptions.Exit:
                continue  # --help and --version
            recipe = str(given.params.get("recipe") or given.params.get("target"))
            overrides = [one for one in given.params.get("overrides") or () if not _STANDS_FOR.match(one)]
            # data and parts of the reader's own are looked at by the tests of their pages
            if recipe in shipped_recipes() and "--data" not in arguments and not re.search(r"\w:\w", str(overrides)):
                check(recipe, tuple(overrides))


LIMITS = {
    "SECURITY": {
        "| file, value of `--set` | 2^16 bytes": "inputs.plain_yaml.MOST_BYTES",
        "| lists and mappings in each other | 16": "inputs.plain_yaml.MOST_DEPTH",
        "| `name` | 200 bytes": "config.MOST_NAME_BYTES",
        "| `time_steps` | 32767": "config.MOST_TIME_STEPS",
        "| blocks or layers of a plan; stages | 1000": "recipe.builders.model.MOST_LAYERS",
        "| blocks or layers of a plan; stages | 1000; 16": "recipe.builders.model.MOST_STAGES",
        "| parameters and buffers | 2^30": "recipe.builders.checks.MOST_VALUES",
        "| neurons of a batch | 2^36": "recipe.builders.checks.MOST_NEURONS",
        "| cells of a table, all seeds together | 10,000": "recipe.runs.ablation_tables.MOST_CELLS",
        "| record of a checkpoint | 2^20 characters": "training.checkpoint.MOST_RECORD",
        "| metrics.jsonl that a report reads | 2^30 bytes": "recipe.runs.summary.MOST_METRICS",
        "| data_files.json that a resumed training is compared with | 2^30 bytes": "data.manifest.MOST_BYTES",
        "| other files of a run | 2^26 bytes": "recipe.runs.summary.MOST_SUMMARY",
        "| other files of a run | 2^26 bytes, 64 levels": "recipe.runs.summary.MOST_LEVELS",
        "| file | 2^31 bytes, regular |": "graph.artefact.files.MAX_FILE_BYTES",
        "| nodes | 2^17 |": "graph.graph.MAX_NODES",
        "| entries of a tensor or a value | 2^30 |": "graph.graph.MAX_ELEMENTS",
        "at most 256 MiB, 80 million pixels": "inputs.pictures.MOST_PIXELS",
        "80 million pixels, 65,535 a side": "inputs.pictures.MOST_SIDE",
        "at most 10^7 files and folders are looked at": "data.folders.MOST_FILES",
    },
    "docs/how_to/serving": {
        "4,096 counted for each": "serve.streams.OVERHEAD_BYTES",
        "JPEG files with more than 100 scans": "inputs.pictures.MOST_SCANS",
        "headers, bytes (up to 2^12 more if they come at once) | | 2^14": "serve.protocol.MOST_HEADER_BYTES",
        "inputs and answers | | 2^29": "serve.Settings.max_bodies_bytes",
        "such as decoding an image | | 10": "serve.Settings.read_seconds",
        "steps of a request to a stream | | 2^14": "serve.Settings.max_steps",
        "inputs of a request | | 1024": "serve.Settings.max_inputs",
        "that wait | | 2048": "serve.Settings.max_waiting",
        "`--max-bytes`, `--max-operations` | 2^30": "serve.Settings.max_bytes",
        "`--max-bytes`, `--max-operations` | 2^30, 2^38": "serve.Settings.max_operations",
        "`--max-streams` (0 leaves them out) | 4096": "serve.Settings.max_streams",
    },
}
"""Words of a page whose last number is the value of a name of `hdlif`."""


def number(text: str) -> int:
    """Return the last number of a text, which may be a power."""
    plain = text.replace(",", "").replace(" million", "000000")
    base, power = re.findall(r"(\d+)(?:\^(\d+))?", plain)[-1]
    return int(base) ** int(power or 1)


def test_a_limit_is_stated_as_it_is() -> None:
    for name, limits in LIMITS.items():
        text = (ROOT / f"{name}.md").read_text("utf-8")
        for words, place in limits.items():
            with naming(words):
                assert words in text
                assert number(words) == pydoc.locate(f"hdlif.{place}")
    options = re.findall(r"(?<!, )`--([a-z-]+)`(?: \| | \(|\s\(default )([\d^]+)(?! leaves)", page("how_to/serving"))
    assert len(options) == 12
    for name, limit in options:
        assert number(limit) == getattr(Settings, name.replace("-", "_")), name
    session = inspect.signature(Session).parameters
    defaults = re.findall(r"`(max_\w+)`, (\S+) by default", (ROOT / "SECURITY.md").read_text("utf-8"))
    assert len(defaults) == 2
    for name, limit in defaults:
        assert number(limit) == session[name].default, name


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
