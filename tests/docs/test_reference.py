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
import pytest
import yaml

from cases import naming
from hdlif import config
from hdlif.cli import cli
from hdlif.cli.neurons import costs_table, step_costs
from hdlif.cli.recipes import check_all
from hdlif.data import AUGMENTATIONS, manifest
from hdlif.data import folders as class_folders
from hdlif.data.public import SETS
from hdlif.graph import graph
from hdlif.graph.artefact import files
from hdlif.inputs import pictures, plain_yaml
from hdlif.recipe import builders, shipped_recipes
from hdlif.recipe.builders import checks, model
from hdlif.recipe.builders.metrics import METRICS
from hdlif.recipe.runs import ablation_tables as ablate
from hdlif.recipe.runs import summary
from hdlif.runtime import Session
from hdlif.serve import Settings
from hdlif.serve.protocol import MOST_HEADER_BYTES
from hdlif.serve.reading import TYPES
from hdlif.serve.refusals import JSON
from hdlif.serve.streams import OVERHEAD_BYTES
from hdlif.training import checkpoint
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
        "how_to/public_data": SETS,
        "reference/installing": SETTINGS["project"]["optional-dependencies"],
    }.items():
        text = page(name)
        assert [kind for kind in kinds if not re.search(rf"`(?:[\w:]*:)?{re.escape(kind)}`", text)] == [], name


def test_every_public_set_has_its_source_and_hash() -> None:
    text = page("how_to/public_data")
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
    assert f"\n\n{costs_table(step_costs())}\n\n" in page("reference/equations")


def test_functions_of_the_equations_exist() -> None:
    for name in set(re.findall(r"`(hdlif(?:\.\w+)+)`", page("reference/equations"))):
        assert pydoc.locate(name) is not None, name


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


def test_a_limit_is_stated_as_it_is() -> None:
    session, of_server = inspect.signature(Session).parameters, Settings()
    security = (
        ("| file, value of `--set` | 2^16 bytes", plain_yaml.MOST_BYTES, 2**16),
        ("| lists and mappings in each other | 16", plain_yaml.MOST_DEPTH, 16),
        ("| `name` | 200 bytes", config.MOST_NAME_BYTES, 200),
        ("| `time_steps` | 32767", config.MOST_TIME_STEPS, 32767),
        ("| blocks or layers of a plan; stages | 1000; 16", (model.MOST_LAYERS, model.MOST_STAGES), (1000, 16)),
        ("| parameters and buffers | 2^30", checks.MOST_VALUES, 2**30),
        ("| neurons of a batch | 2^36", checks.MOST_NEURONS, 2**36),
        ("| cells of a table, all seeds together | 10,000", ablate.MOST_CELLS, 10_000),
        ("| record of a checkpoint | 2^20 characters", checkpoint.MOST_RECORD, 2**20),
        ("| metrics.jsonl that a report reads | 2^30 bytes", summary.MOST_METRICS, 2**30),
        ("| data_files.json that a resumed training is compared with | 2^30 bytes", manifest.MOST_BYTES, 2**30),
        ("| other files of a run | 2^26 bytes, 64 levels", (summary.MOST_SUMMARY, summary.MOST_LEVELS), (2**26, 64)),
        ("| file | 2^31 bytes, regular |", files.MAX_FILE_BYTES, 2**31),
        ("| nodes | 2^17 |", graph.MAX_NODES, 2**17),
        ("| entries of a tensor or a value | 2^30 |", graph.MAX_ELEMENTS, 2**30),
        ("`max_bytes`, 2^32 by default", session["max_bytes"].default, 2**32),
        ("`max_operations`, 2^42 by default", session["max_operations"].default, 2**42),
        ("80 million pixels, 65,535 a side", (pictures.MOST_PIXELS, pictures.MOST_SIDE), (80_000_000, 65_535)),
        ("at most 10^7 files and folders are looked at", class_folders.MOST_FILES, 10**7),
    )
    serving = (
        ("`--max-streams` (0 leaves them out) | 4096", of_server.max_streams, 4096),
        ("4,096 counted for each", OVERHEAD_BYTES, 4096),
        ("`--max-stream-bytes` | 2^28", of_server.max_stream_bytes, 2**28),
        ("`--stream-idle-seconds` | 300", of_server.stream_idle_seconds, 300),
        ("`--max-body-bytes` | 2^24", of_server.max_body_bytes, 2**24),
        ("inputs and answers | | 2^29", of_server.max_bodies_bytes, 2**29),
        ("such as decoding an image | | 10", of_server.read_seconds, 10),
        ("A JPEG of more than 100 scans", pictures.MOST_SCANS, 100),
        ("steps of a request to a stream | | 2^14", of_server.max_steps, 2**14),
        ("`--max-old-bytes` (2^28;", of_server.max_old_bytes, 2**28),
        ("`--max-pixels` | 2^25", of_server.max_pixels, 2**25),
        ("inputs of a request | | 1024", of_server.max_inputs, 1024),
        ("`--max-operations` | 2^30, 2^38", (of_server.max_bytes, of_server.max_operations), (2**30, 2**38)),
        ("that wait | | 2048", of_server.max_waiting, 2048),
        ("headers, bytes (up to 2^12 more if they come at once) | | 2^14", MOST_HEADER_BYTES, 2**14),
        ("`--receive-seconds` | 30", of_server.receive_seconds, 30),
        ("`--send-seconds` | 30", of_server.send_seconds, 30),
        ("`--keep-alive-seconds` | 30", of_server.keep_alive_seconds, 30),
        ("`--max-connections` | 2048", of_server.max_connections, 2048),
        ("`--latency-budget-ms` (2)", of_server.latency_budget_ms, 2),
        ("`--max-batch` (16)", of_server.max_batch, 16),
    )
    stated = (((ROOT / "SECURITY.md").read_text("utf-8"), security), (page("how_to/serving"), serving))
    for text, words, limit, value in ((text, *row) for text, rows in stated for row in rows):
        with naming(words):
            assert words in text
            assert limit == value


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
    lines = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install '.[train]'")
    assert text.count("".join(f"    {line}\n" for line in lines)) == 1
    assert "Python 3.11 or later and a C++ compiler" in text


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
