"""Ablation tables, whose rows and columns are sets of overrides for training runs.

A table is a YAML file with a base recipe, rows and columns of overrides, and a number of seeds. Every cell of a table
is trained once per seed, each time in a separate run folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hdlif.errors import RecipeError, brief, cut, did_you_mean
from hdlif.inputs.plain_yaml import parse_yaml, shown
from hdlif.recipe import Recipe, below, builders, load_recipe, one_component, shipped_recipes
from hdlif.recipe.faults import explain
from hdlif.recipe.loading import named_text, shipped
from hdlif.recipe.runs.recipe_data import Looks, seeds_from

FOLDER = "ablations"
"""Name of the folder with the shipped tables."""
MOST_CELLS = 10_000
MOST_LIKE = 8
"""Maximum length of a chain of tables linked by `like`."""
_TAKEN = ("seeds", "rows", "columns", "quantities", "memory_repeats", "undefined", "left_out")
"""Keys inherited through `like`."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("should be printable, on one line")
    return text


Printable = Annotated[str, AfterValidator(_printable)]
Quantity = Literal[
    "accuracy", "metric", "sops", "nops", "firing_rate", "parameters", "train_seconds", "peak_bytes", "stored_mb"
]


class Table(BaseModel):
    """An ablation table, which combines every row with every column and trains each combination `seeds` times."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: Printable
    base: str
    """Base recipe of all cells: a shipped one, or a file at or below the folder of the table."""
    like: str | None = None
    """Parent table: a shipped one, or a file at or below this one's folder. This table inherits `seeds`,
    `quantities` and `memory_repeats` unless it sets them; in `rows`, `columns`, `undefined` and `left_out` it adds to
    the parent's entries, replaces those of the same name, and removes those set to null."""
    seeds: int = Field(default=1, ge=1)
    overrides: list[str] = []
    """Overrides that apply to all cells."""
    rows: dict[Printable, list[str]] = Field(min_length=1)
    columns: dict[Printable, list[str]] = Field(min_length=1)
    quantities: list[Quantity] = ["accuracy"]
    """Quantities in a cell of the printed table; table.json contains all of them. "metric" is the first figure of the
    task, which is an accuracy only for classification."""
    memory_repeats: int = Field(default=0, ge=0)
    """Number of new processes that measure the peak memory of each cell's training. They use the first seed, which
    represents all seeds; 0 skips the measurement."""
    undefined: dict[str, list[str]] = {}
    """Columns that are impossible in each row; the documentation explains why."""
    left_out: dict[str, list[str]] = {}
    """Columns that are possible in each row but not requested."""


@dataclass(frozen=True)
class Cell:
    row: str
    column: str
    seed: int
    recipe: Recipe
    folder: Path


def shipped_tables() -> list[str]:
    """Return the sorted names of the tables that ship with the package."""
    return shipped(FOLDER)


def load_table(name_or_path: str | Path) -> Table:
    """Return a shipped table by name, or a table from a YAML file. Raises `RecipeError`."""
    table = _table(name_or_path, ())
    if table.base not in shipped_recipes():
        folder, seen = Path(name_or_path).parent, f"{name_or_path}: base = {shown(table.base)}"
        below(folder, table.base, seen)
        table = table.model_copy(update={"base": str(folder / table.base)})
        try:
            load_recipe(table.base)
        except RecipeError:
            raise RecipeError(f"{seen} is not a recipe; run `hdlif recipes check` on that file for details") from None
    for key in ("undefined", "left_out"):
        for row, columns in getattr(table, key).items():
            for name, known in ((row, table.rows), *((column, table.columns) for column in columns)):
                if name not in known:
                    raise RecipeError(f"{name_or_path}: {key}: {brief(name)} is unknown; {did_you_mean(name, known)}")
    return table


def _table(name_or_path: str | Path, above: tuple[str, ...]) -> Table:
    """Return a table merged with its parent; `above` contains the tables that inherit from this table."""
    _, text = named_text(name_or_path, FOLDER, "table")
    stated = parse_yaml(text, source=str(name_or_path))
    # Wrong types are rejected below, where all keys are checked.
    if isinstance(stated, dict) and isinstance(like := stated.get("like"), str):
        stated = _beside(_other(name_or_path, like, above), stated)
    if not isinstance(stated, dict):
        keys = ", ".join(Table.model_fields)
        raise RecipeError(f"{name_or_path}: {shown(stated)} is not a table; it is a YAML mapping with the keys {keys}")
    try:
        return Table.model_validate(stated)
    except ValidationError as error:
        raise RecipeError(f"{name_or_path}: {explain(Table, stated, error.errors())}") from None


def _other(name_or_path: str | Path, like: str, above: tuple[str, ...]) -> Table:
    """Return the parent table, which the key `like` sets."""
    seen, chain, other = f"{name_or_path}: like = {shown(like)}", (*above, str(name_or_path)), like
    if like not in shipped_tables():
        other = str(below(Path(name_or_path).parent, like, seen, kind="table", ships=FOLDER))
    if other in chain:
        raise RecipeError(f"{seen} leads back to {other}; leave like out, and give rows and columns")
    if len(chain) > MOST_LIKE:
        raise RecipeError(f"{seen} is the last of {len(chain)} tables in a chain; give at most {MOST_LIKE}")
    return _table(other, chain)


def _beside(other: Table, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a table after merging them with the keys of its parent."""
    merged: dict[str, Any] = other.model_dump(include=set(_TAKEN))
    for key, value in stated.items():
        if isinstance(value, dict) and isinstance(known := merged.get(key), dict):
            merged[key] = {name: one for name, one in {**known, **value}.items() if one is not None}
        else:
            merged[key] = value
    gone = [{name for name, one in _mapping(stated.get(key)).items() if one is None} for key in ("rows", "columns")]
    for key in ("undefined", "left_out"):
        for row, names in list(_mapping(merged[key]).items()):
            if row in gone[0]:
                del merged[key][row]
            elif isinstance(names, list):
                merged[key][row] = [name for name in names if name not in gone[1]]
    return merged


def _mapping(stated: Any) -> Mapping[Any, Any]:
    return stated if isinstance(stated, dict) else {}


def cells(table: Table, out: Path, *, data_root: Path | None = None) -> Iterator[Cell]:
    """Yield all cells seed by seed, so that stopping early leaves complete tables. Raises `RecipeError`."""
    for names in (table.rows, table.columns):
        slugs = [_slug(name) for name in names]
        for name, slug in zip(names, slugs, strict=True):
            try:
                one_component(slug or "_")
            except ValueError as error:
                raise RecipeError(f"{brief(name)}: its folder {error}") from None
            if not slug or slugs.count(slug) > 1:
                raise RecipeError(f"{name!r} would share the folder {slug!r} with another; give it letters of its own")
    base_seed = load_recipe(table.base).seed
    number = len(table.rows) * len(table.columns) * table.seeds
    if number > MOST_CELLS:
        limit = f"at most {MOST_CELLS:,} are accepted"
        raise RecipeError(f"{cut(table.title)}: has {number:,} cells with all seeds; {limit}")
    look = Looks(data_root)
    for seed in seeds_from(base_seed, table.seeds):
        for row, of_row in table.rows.items():
            for column, of_column in table.columns.items():
                if column in table.undefined.get(row, ()) or column in table.left_out.get(row, ()):
                    continue
                name = f"{row}, {column}"
                try:
                    recipe = look(load_recipe(table.base, [*table.overrides, *of_row, *of_column, f"seed={seed}"]))
                    if seed == base_seed:
                        builders.check(recipe)
                except RecipeError as error:
                    fix = ""
                    if all(_is_good(table, alone, look) for alone in (of_row, of_column)):
                        fix = "; name the cell in undefined if it does not exist"
                    raise RecipeError(f"{name}: {error}{fix}") from None
                if recipe.task.kind != "classify" and "accuracy" in table.quantities:
                    seen = f'{name}: task.kind = "{recipe.task.kind}", but the table compares accuracies'
                    raise RecipeError(f"{seen}; set quantities: [metric]")
                yield Cell(row, column, seed, recipe, out / _slug(row) / _slug(column) / f"seed_{seed}")


def _is_good(table: Table, overrides: Sequence[str], look: Looks) -> bool:
    """Return whether hdlif can build the recipe of a single row or column."""
    try:
        builders.check(look(load_recipe(table.base, [*table.overrides, *overrides])))
    except RecipeError:
        return False
    return True


def _slug(name: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
