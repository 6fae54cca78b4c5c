"""Every `hdlif` command in the documentation has the options that it is given, and a recipe that it may be given."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cases import naming
from hdlif.cli import cli
from hdlif.cli.recipes import check_all
from hdlif.recipe import shipped_recipes

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_STANDS_FOR = re.compile(r"^(?:[A-Z_]{2,}(?:\.[a-z]+)?|KEY=.*|.*[|…].*)$")
"""A word such as RECIPE or DIR, which the reader replaces."""


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments after `hdlif` of each command in an indented block."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL).replace("\\\n", " ")
    for line in re.findall(r"^ {4,}(.*)$", text, re.MULTILINE):
        for part in re.split(r"\s(?:\||&&)\s", line):
            if command := re.match(r"(?:[A-Z_0-9]+=\S+ )*hdlif (.*)", part):
                yield shlex.split(command[1], comments=True)


@functools.cache
def check(recipe: str, overrides: tuple[str, ...]) -> None:
    check_all([recipe], list(overrides))


def parsed(arguments: list[str]) -> click.Context:
    """The context of the subcommand, with what it was given; nothing runs."""
    context = cli.make_context("hdlif", list(arguments))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_are_such_as_can_be_given(page: Path) -> None:
    for arguments in commands(page):
        if any(_STANDS_FOR.match(word) and word.startswith("-") for word in arguments) or "…" in arguments:
            continue
        with naming(page, shlex.join(arguments)):
            try:
                given = parsed([word for word in arguments if word != "..."])
            except click.exceptions.Exit:
                continue  # --help and --version
            recipe = str(given.params.get("recipe") or given.params.get("target"))
            overrides = [one for one in given.params.get("overrides") or () if not _STANDS_FOR.match(one)]
            # data and parts of the reader's own are looked at by the tests of their pages
            if recipe in shipped_recipes() and "--data" not in arguments and not re.search(r"\w:\w", str(overrides)):
                check(recipe, tuple(overrides))
