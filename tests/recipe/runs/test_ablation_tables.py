"""Tables of recipes: their cells, tables that are like another, and what is refused."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
from cases import naming
from hdlif.cli.table_runs import recipe_digest
from hdlif.errors import RecipeError
from hdlif.recipe import builders
from hdlif.recipe.runs.ablation_tables import Table, cells, load_table, shipped_tables
from series_files import write_public_arrays
from sound_files import write_public_voices

TABLE = """
title: tiny
base: digits_hdlif
seeds: 1
rows:
  HD-LIF: ["neuron={kind: hdlif}"]
  LIF: ["neuron={kind: lif}"]
columns:
  fp32: []
  4 bit: ["spikes={kind: quantised}"]
undefined:
  LIF: [4 bit]
"""


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    write_public_arrays(tmp_path / "hapt", classes=12, steps=128, channels=6)
    write_public_arrays(tmp_path / "vowels", classes=9, steps=29, channels=12)
    write_public_voices(tmp_path / "voices")
    return tmp_path


def seen_once(table: Table) -> Table:
    """The table without the cells that are neither in the first row nor in the first column."""
    (first, *_), (_, *others) = table.rows, table.columns
    left_out = {row: [*table.left_out.get(row, ()), *others] for row in table.rows if row != first}
    return table.model_copy(update={"left_out": table.left_out | left_out})


def drawn_tables() -> list[Any]:
    """Every table; in the default tier some alone, without the cells that `seen_once` leaves out."""
    drawn = random.Random(cases.seed()).sample(shipped_tables(), 5)
    whole = [pytest.param(name, True, marks=pytest.mark.slow) for name in shipped_tables()]
    return [*((name, False) for name in drawn), *whole]


@pytest.mark.parametrize(("name", "whole"), drawn_tables())
def test_every_cell_of_a_shipped_table_can_be_built(name: str, whole: bool, data_root: Path) -> None:
    # One seed is built as the others are.
    table = load_table(name).model_copy(update={"seeds": 1})
    table = table if whole else seen_once(table)
    queue = list(cells(table, data_root, data_root=data_root))
    assert len({cell.folder for cell in queue}) == len(queue)
    missing = {(row, column) for of in (table.undefined, table.left_out) for row in of for column in of[row]}
    assert len(queue) == len(table.rows) * len(table.columns) - len(missing)


# The neurons and rules of these are all that the tables of longer series have, too.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["hapt", "vowels", "mackey_glass"])
def test_every_cell_of_a_table_of_series_takes_an_update(name: str, data_root: Path) -> None:
    for cell in cells(load_table(name).model_copy(update={"seeds": 1}), data_root, data_root=data_root):
        builders.try_update(cell.recipe)


def test_a_table_like_another_adds_rows_and_changes_those_of_the_same_name(tmp_path: Path) -> None:
    table = tmp_path / "tiny.yaml"
    table.write_text(TABLE)
    other = table.with_name("other.yaml")
    other.write_text("title: other\nbase: digits_lif\nlike: tiny.yaml\nseeds: 2\nrows:\n  LIF: [seed=1]\n  third: []\n")
    one, like = load_table(table), load_table(other)
    assert like.rows == {"LIF": ["seed=1"], "HD-LIF": one.rows["HD-LIF"], "third": []}
    assert (like.columns, like.undefined, like.quantities) == (one.columns, one.undefined, one.quantities)
    assert (like.title, like.base, like.overrides, like.seeds) == ("other", "digits_lif", [], 2)
    last = table.with_name("last.yaml")
    last.write_text("title: last\nbase: digits_lif\nlike: other.yaml\noverrides: [seed=3]\n")
    assert load_table(last).rows == like.rows
    assert load_table(last).seeds == 2
    last.write_text("title: last\nbase: digits_lif\nlike: other.yaml\nrows: {LIF: null}\n")
    assert (list(load_table(last).rows), load_table(last).undefined) == (["HD-LIF", "third"], {})
    last.write_text('title: last\nbase: digits_lif\nlike: other.yaml\ncolumns: {"4 bit": null}\n')
    assert (list(load_table(last).columns), load_table(last).undefined) == (["fp32"], {"LIF": []})


def test_tables_that_are_like_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "back.yaml").write_text("title: back\nbase: digits_lif\nlike: round.yaml\n")
    (tmp_path / "typed.yaml").write_text(TABLE + "quantites: [accuracy]\n")
    for number in range(10):
        other = f"title: one\nbase: digits_lif\nlike: one_{number + 1}.yaml\n"
        (tmp_path / f"one_{number}.yaml").write_text(other)
    path = tmp_path / "round.yaml"
    for text, words in (
        ("like: absent.yaml", 'like = "absent.yaml"'),
        ("like: digit", '(did you mean "digits"?)'),
        ("like: ../table.yaml", 'like = "../table.yaml"'),
        ("like: 3", "like = 3"),
        ("like: list.yaml", "list.yaml: [1]"),
        ("like: round.yaml", 'round.yaml: like = "round.yaml" leads back to '),
        ("like: back.yaml", "round.yaml; leave like out"),
        ("like: typed.yaml", 'typed.yaml: quantites = ["accuracy"]'),
        ("like: hapt\nundefined: 3", "undefined = 3"),
        ("like: hapt\nrows: {LIF: null}\nleft_out: {resonate: 3}", "left_out.resonate = 3"),
        ("like: one_0.yaml", "at most 8"),
        ("like: digits\nrows: {LIF: null, third: null, fourth: 3}", "rows.fourth = 3"),
    ):
        path.write_text(f"title: round\nbase: digits_lif\n{text}\n")
        with naming(text), pytest.raises(RecipeError, match=re.escape(words)):
            load_table(path)


def test_the_folder_of_data_is_no_part_of_what_a_training_was_on(tmp_path: Path) -> None:
    recipes = []
    for root in ("one", "another"):
        write_public_arrays(tmp_path / root / "vowels", classes=9, steps=29, channels=12)
        first = next(cells(load_table("vowels"), tmp_path, data_root=tmp_path / root))
        recipes.append(first.recipe)
    assert recipes[0] != recipes[1]
    assert recipe_digest(recipes[0]) == recipe_digest(recipes[1])
    np.save(tmp_path / "another/vowels/x.npy", 2 * np.load(tmp_path / "one/vowels/x.npy"))
    other = next(cells(load_table("vowels"), tmp_path, data_root=tmp_path / "another")).recipe
    assert recipe_digest(other) != recipe_digest(recipes[0])
