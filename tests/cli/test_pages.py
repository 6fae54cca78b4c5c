"""Errors name the page that helps, and the page is there."""

from pathlib import Path

import pytest

from command_line import hdlif
from command_tree import COMMANDS
from hdlif.cli.pages import OF_ERRORS, OF_SUBCOMMANDS, page_of
from hdlif.errors import DataError, InputError, RecipeError

ROOT = Path(__file__).parents[2]


def test_the_pages_and_the_subcommands_of_the_tables_are_there() -> None:
    for page in {*OF_ERRORS.values(), *OF_SUBCOMMANDS.values()}:
        assert (ROOT / page).is_file(), page
    assert {verb for verb, _ in OF_SUBCOMMANDS} <= COMMANDS.keys()


def test_the_page_of_a_subcommand_goes_before_that_of_the_error() -> None:
    for subcommand, error, page in (
        ("train", DataError("x"), "docs/reference/data.md"),
        ("data get", DataError("x"), "docs/how_to/public_data.md"),
        ("serve net", InputError("x"), "docs/how_to/serving.md"),
        ("train", InputError("x"), None),
        # A message that names a page gets no other.
        ("train", RecipeError("see docs/how_to/serving.md"), None),
    ):
        assert page_of(subcommand, error) == page


def test_an_error_ends_with_its_page() -> None:
    for line, ending in (
        ("train nothing", "(docs/reference/recipes.md)\n"),
        ("data get mnits", "(docs/how_to/public_data.md)\n"),
        ("run nothing x.png", "(docs/reference/artefact_format.md)\n"),
        ("import nothing --out x", "(docs/how_to/nir.md)\n"),
    ):
        done = hdlif(*line.split())
        assert (done.returncode, done.stderr.count("\n"), done.stderr.endswith(ending)) == (2, 1, True), done.stderr
    with pytest.raises(RecipeError):
        hdlif("--debug", "recipes", "show", "digits_hdlf")
