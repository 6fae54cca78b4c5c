"""Errors name the page that helps, and the page is there."""

from pathlib import Path

import click
import pytest

from cli.test_cli import hdlif
from hdlif.cli import cli
from hdlif.cli.pages import OF_ERRORS, OF_VERBS, page_of
from hdlif.errors import DataError, InputError, RecipeError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", sorted({*OF_ERRORS.values(), *OF_VERBS.values()}))
def test_a_page_that_is_named_is_there(page: str) -> None:
    assert (ROOT / page).is_file()


def test_the_verbs_of_the_table_are_verbs() -> None:
    for verb, _ in OF_VERBS:
        name, _, own = verb.partition(" ")
        command = cli.commands[name]
        assert not own or (isinstance(command, click.Group) and own in command.commands)


def test_the_page_of_a_verb_goes_before_that_of_the_error() -> None:
    assert page_of("train", DataError("x")) == "docs/reference/data.md"
    assert page_of("data get", DataError("x")) == "docs/how_to/public_data.md"
    assert page_of("data inspect", DataError("x")) == "docs/reference/data.md"
    assert page_of("serve net", InputError("x")) == "docs/how_to/serving.md"
    assert page_of("train", InputError("x")) is None


def test_a_message_that_names_a_page_gets_no_other() -> None:
    assert page_of("train", RecipeError("see docs/how_to/serving.md")) is None


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        (["train", "nothing"], "(docs/reference/recipes.md)\n"),
        (["--debug", "recipes", "show", "digits_hdlf"], None),
        (["data", "get", "mnits"], "(docs/how_to/public_data.md)\n"),
        (["run", "nothing", "x.png"], "(docs/reference/artefact_format.md)\n"),
        (["import", "nothing", "--out", "x"], "(docs/how_to/nir.md)\n"),
    ],
)
def test_an_error_ends_with_its_page(arguments: list[str], ending: str | None) -> None:
    if ending is None:
        with pytest.raises(RecipeError):
            hdlif(*arguments)
        return
    done = hdlif(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith(ending)
    assert done.stderr.count("\n") == 1
