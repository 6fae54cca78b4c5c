"""`hdlif ablate`: a table of trainings as a queue that can be stopped and resumed.

A table is a YAML file: a recipe to start from, rows and columns of overrides, and how many seeds. Every cell is
trained once a seed, in a run folder of its own; a folder whose summary.json holds the same recipe is a finished cell
and is skipped. So running the command again goes on where it stopped, and with more seeds it adds to what is there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from hdlif.cli.provenance import measured as provenance_of
from hdlif.commands.table_runs import TableRun, cell_of, read_runs, recipe_digest, run_of, unlike
from hdlif.commands.tables import figure, measured
from hdlif.commands.train import in_one_process, train
from hdlif.errors import CheckpointError, InUseError, RecipeError, TrainingError, brief, cut, did_you_mean
from hdlif.graph.ops import SampleName
from hdlif.inputs.plain_yaml import parse_yaml, shown, text_of
from hdlif.recipe import Recipe, below, builders, explained, load_recipe, one_component, shipped_recipes, worst
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.folders import begun, finished, left_by_a_run
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.recipe_data import Looks, as_begun
from hdlif.recipe.runs.sample_names import sample_name_of_all
from hdlif.report import ablation
from hdlif.report.spread import in_percent, seeds_from

UNDEFINED = "—"
UNITS = {
    "sops": " M SOPs",
    "nops": " M NOPs",
    "firing_rate": " fire",
    "parameters": " parameters",
    "train_seconds": " s",
    "peak_bytes": " MB",
    "stored_mb": " kB stored",
}
"""Of the quantities of a cell, behind each."""
HEADINGS = {"nops": "M NOPs", "parameters": "parameters", "stored_mb": "kB stored"}
"""Of the quantities that may be the same in all columns of a row."""
MOST_CELLS = 10_000
MOST_LIKE = 8
"""Tables that are like one another."""
_TAKEN = ("seeds", "rows", "columns", "quantities", "memory_repeats", "undefined", "left_out")
"""What a table takes from the one that it is like."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("should be printable, on one line")
    return text


Printable = Annotated[str, AfterValidator(_printable)]
Quantity = Literal[
    "accuracy",
    "metric",
    "sops",
    "nops",
    "firing_rate",
    "parameters",
    "train_seconds",
    "peak_bytes",
    "stored_mb",
]


class Table(BaseModel):
    """An ablation: every row with every column, `seeds` times."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: Printable
    base: str
    """The recipe that all cells start from: one that ships, or a file at or below the folder of the table."""
    like: str | None = None
    """Another table, which ships or is a file at or below this one's folder. What this one does not state of `seeds`,
    `quantities` and `memory_repeats` is the other's; of `rows`, `columns`, `undefined` and `left_out` it adds to the
    other's, changes those of the same name, and takes away those that it says are null."""
    seeds: int = Field(default=1, ge=1)
    overrides: list[str] = []
    """For all cells."""
    rows: dict[Printable, list[str]] = Field(min_length=1)
    columns: dict[Printable, list[str]] = Field(min_length=1)
    quantities: list[Quantity] = ["accuracy"]
    """What a cell of the printed table says; table.json has all. "metric" is the first figure of the task, which is no
    accuracy where it does not classify."""
    memory_repeats: int = Field(default=0, ge=0)
    """Fresh processes that measure the peak memory of each cell's training at its first seed, for it is that of all; 0
    leaves it out."""
    undefined: dict[str, list[str]] = {}
    """Columns by row that do not exist; why is for the documentation to say."""
    left_out: dict[str, list[str]] = {}
    """Columns by row that exist, and are not asked for."""


@dataclass(frozen=True)
class Cell:
    row: str
    column: str
    seed: int
    recipe: Recipe
    folder: Path


def shipped_tables() -> list[str]:
    """Names of the tables that come with the package, sorted."""
    folder = files("hdlif").joinpath("ablations")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_table(name_or_path: str | Path) -> Table:
    """A shipped table by name, or a table from a YAML file.

    Raises:
        RecipeError: no such table, or a key or value that is not accepted.
    """
    table = _table(name_or_path, ())
    if table.base not in shipped_recipes():
        folder, seen = Path(name_or_path).parent, f"{name_or_path}: base = {shown(table.base)}"
        below(folder, table.base, seen)
        table = table.model_copy(update={"base": str(folder / table.base)})
        try:
            load_recipe(table.base)
        except RecipeError:
            raise RecipeError(f"{seen} is not a recipe; `hdlif recipes check` of that file says where") from None
    for key in ("undefined", "left_out"):
        for row, columns in getattr(table, key).items():
            for name, known in ((row, table.rows), *((column, table.columns) for column in columns)):
                if name not in known:
                    raise RecipeError(f"{name_or_path}: {key}: {brief(name)} is unknown; {did_you_mean(name, known)}")
    return table


def _table(name_or_path: str | Path, above: tuple[str, ...]) -> Table:
    """A table, with what it takes from the one that it is like; its base is not looked at.

    Args:
        above: the tables that are like this one.
    """
    stated = parse_yaml(_text(name_or_path), source=str(name_or_path))
    # What is no mapping or no text is refused where all keys are checked.
    if isinstance(stated, dict) and isinstance(like := stated.get("like"), str):
        stated = _beside(_other(name_or_path, like, above), stated)
    try:
        return Table.model_validate(stated)
    except ValidationError as error:
        raise RecipeError(f"{name_or_path}: {_explained(worst(error.errors()))}") from None


_EXAMPLES = {"quantities": "accuracy", "undefined": "a column", "left_out": "a column"}
"""Of what stands in a list, by the key of the table."""


def _explained(first: ErrorDetails) -> str:
    """One line on an error of a table."""
    keys = ", ".join(Table.model_fields)
    location = [str(part) for part in first["loc"] if part != "[key]"]
    key, value = cut(".".join(location)), first["input"]
    seen = f"{key} = {shown(value)}"
    match first["type"]:
        case _ if not location:
            return f"{shown(value)} is not a table; a table is a YAML mapping with the keys {keys}"
        case "list_type":
            example = shown(value) if isinstance(value, str) else _EXAMPLES.get(location[0], "neuron.kind=lif")
            return f"{seen} is refused; it should be a list, for example [{example}]"
        case "dict_type":
            example = _EXAMPLES.get(location[0], "neuron.kind=lif")
            return f"{seen} is refused; it should be lists by name, for example {{LIF: [{example}]}}"
        case "too_short":
            return f"{seen} is refused; it should have one entry or more"
        case "literal_error" if isinstance(value, str):
            return f"{seen} is unknown; {did_you_mean(value, get_args(Quantity))}"
        case _:
            return explained(first, key, Table.model_fields, whole=f"a table has the keys {keys}")


def _text(name_or_path: str | Path) -> str:
    shipped = shipped_tables()
    try:
        if isinstance(name_or_path, str) and name_or_path in shipped:
            return files("hdlif").joinpath("ablations", f"{name_or_path}.yaml").read_text("utf-8")
        return text_of(Path(name_or_path), "a table")
    except FileNotFoundError:
        raise RecipeError(
            f"{name_or_path}: there is no such file and no shipped table of that name; "
            f"give the path of a YAML file or {did_you_mean(str(name_or_path), shipped)}"
        ) from None


def _other(name_or_path: str | Path, like: str, above: tuple[str, ...]) -> Table:
    """The table that one is like."""
    shipped, seen, chain = shipped_tables(), f"{name_or_path}: like = {shown(like)}", (*above, str(name_or_path))
    other = like
    if like not in shipped:
        other = str(below(Path(name_or_path).parent, like, seen, kind="table", shipped=shipped))
    if other in chain:
        raise RecipeError(f"{seen} comes back to {other}; leave like out, and give rows and columns")
    if len(chain) > MOST_LIKE:
        raise RecipeError(
            f"{seen} is the last of {len(chain)} tables that are each like the next; give at most {MOST_LIKE}"
        )
    return _table(other, chain)


def _beside(other: Table, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated, and what the other table has of it."""
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
    """All cells, one seed after the other, so that a stopped queue has whole tables.

    Args:
        data_root: the folder of the data, which are looked at where they are the user's own.
    Raises:
        RecipeError: a cell cannot be built; it names the cell.
    """
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
        raise RecipeError(
            f"{cut(table.title)}: has {number:,} cells with all seeds; at most {MOST_CELLS:,} are accepted"
        )
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
                    mend = ""
                    if all(_is_good(table, alone, look) for alone in (of_row, of_column)):
                        mend = "; name the cell in undefined if it does not exist"
                    raise RecipeError(f"{name}: {error}{mend}") from None
                if recipe.task.kind != "classify" and "accuracy" in table.quantities:
                    raise RecipeError(
                        f'{name}: task.kind = "{recipe.task.kind}", and the table compares accuracies; set quantities: '
                        "[metric]"
                    )
                yield Cell(row, column, seed, recipe, out / _slug(row) / _slug(column) / f"seed_{seed}")


def _is_good(table: Table, overrides: Sequence[str], look: Looks) -> bool:
    """Whether a row, or a column, could be trained without the other."""
    try:
        builders.check(look(load_recipe(table.base, [*table.overrides, *overrides])))
    except RecipeError:
        return False
    return True


def ablate(
    table: str | Path,
    *,
    seeds: int | None = None,
    data_root: Path | None = None,
    out: Path | None = None,
    known: Sequence[Path] = (),
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train what is missing of a table, and write OUT/table.json, .md and .html after every cell.

    Several processes may share a table: a cell that another one trains is left to it.

    Args:
        table: the name of one that ships, or a file.
        seeds: instead of the table's own number.
        out: the folder of all runs; runs/NAME by default.
        known: table.json of this table from other folders or machines, whose trainings are taken as they are where
            recipe and seed are the same.
        progress: show a bar for each training.
        say: gets a line for every cell.
    Returns:
        the content of OUT/table.json.
    Raises:
        RecipeError: the table, or a cell of it, cannot be used; it names the table's file.
        InputError: what is `known` is no such file.
        TrainingError: at the end, if the training of a cell failed; the other cells are done.
    """
    check_alone("hdlif ablate")
    chosen = load_table(table)
    if seeds is not None:
        chosen = chosen.model_copy(update={"seeds": seeds})
    out = out or Path("runs") / Path(table).stem
    try:
        queue, failed = list(cells(chosen, out, data_root=data_root)), list[str]()
    except RecipeError as error:
        raise RecipeError(f"{table}: {error}") from None
    elsewhere = _known(known, queue, say)
    runs: dict[Path, TableRun] = {}

    def look() -> None:
        """Read what has been finished, here or by another process; it stays so."""
        for cell in queue:
            if cell.folder not in runs and (summary := finished(cell.folder, cell.recipe)) is not None:
                runs[cell.folder] = run_of(summary, cell.recipe)

    def written() -> dict[str, Any]:
        return _write(chosen, queue, elsewhere | runs, out)

    def trained(cell: Cell, name: str) -> bool:
        """Train what is left of a cell; False where another process is at it."""
        try:
            trained_cell = train(
                cell.recipe,
                data_root=data_root,
                out=cell.folder,
                resume=None,
                progress=progress,
                memory_repeats=chosen.memory_repeats if cell.seed == queue[0].seed else 0,
                label=f"{cell.row}, {cell.column}, seed {cell.seed}",
            )
        except InUseError as error:
            say(f"{name}: left out, {error}")
            return False
        except (TrainingError, CheckpointError) as error:
            failed.append(f"{cell.row}, {cell.column}, seed {cell.seed}: {error}")
            say(f"{name}: {error}")
            return True
        result = in_one_process(trained_cell)
        runs[cell.folder] = run_of(result, cell.recipe)
        say(f"{name}: {measured(result)} in {result.train_seconds:.0f} s")
        look()
        written()
        return True

    look()
    left = []
    for number, cell in enumerate(queue, start=1):
        name = f"{number}/{len(queue)} {cell.row}, {cell.column}, seed {cell.seed}"
        if cell.folder in runs or cell.folder in elsewhere:
            say(f"{name}: {'done before' if cell.folder in runs else 'done elsewhere'}")
            continue
        say(f"{name}: training{', in place of an earlier one of another recipe' if _of_another(cell) else ''}")
        if not trained(cell, name):
            left.append((cell, name))
    # Once more, when all others are done: who was at them may have finished, or failed.
    left = [(cell, name) for cell, name in left if not trained(cell, name)]
    look()
    table_written = written()
    for name in [name for cell, name in left if cell.folder not in runs]:
        say(f"{name}: still training; run this again for the whole table")
    for row, columns in table_written["rows"].items():
        for column, cell_written in columns.items():
            if differ := unlike(cell_written["runs"]):
                say(
                    f"warning: {row}, {column}: its seeds differ in {differ}, which the recipe alone decides: they "
                    "were measured by different versions of hdlif; train them again in another --out"
                )
    if failed:
        raise TrainingError(f"{len(failed)} of {len(queue)} cells failed, the others are in {out}; first {failed[0]}")
    return table_written


def _of_another(cell: Cell) -> bool:
    """Whether a cell's folder holds a training of another recipe than its own."""
    return bool(left_by_a_run(cell.folder)) and not begun(cell.folder, as_begun(cell.recipe, cell.folder))


def _known(paths: Sequence[Path], queue: Sequence[Cell], say: Callable[[str], None]) -> dict[Path, TableRun]:
    """By the folder that it would have: what other tables keep of the cells of this one."""
    if not paths:
        return {}
    wanted = {(cell.row, cell.column, cell.seed, recipe_digest(cell.recipe)): cell.folder for cell in queue}
    found: dict[Path, TableRun] = {}
    for path in paths:
        total = taken = 0
        for (row, column), runs in read_runs(path).items():
            mine = {
                folder: run for run in runs if (folder := wanted.get((row, column, run.seed, run.recipe))) is not None
            }
            # The curve is that of all of them.
            found |= mine if len(mine) == len(runs) else {f: replace(run, curve=()) for f, run in mine.items()}
            total, taken = total + len(runs), taken + len(mine)
        say(f"{path}: {taken} of its {total} trainings are of this table's cells, recipes and seeds")
    return found


def _write(table: Table, queue: list[Cell], runs: Mapping[Path, TableRun], out: Path) -> dict[str, Any]:
    """Write what is known of the cells by folder; returns the content of table.json."""
    found: dict[str, dict[str, list[TableRun]]] = {row: {c: [] for c in table.columns} for row in table.rows}
    for cell in queue:
        if (run := runs.get(cell.folder)) is not None:
            found[cell.row][cell.column].append(run)
    result = {
        "title": table.title,
        "base": table.base,
        "rows": {
            row: {column: cell_of(of_cell) for column, of_cell in columns.items() if of_cell}
            for row, columns in found.items()
        },
        "undefined": table.undefined,
        **provenance_of(sorted({cell.seed for cell in queue})),
    }
    write_json(out / "table.json", result)
    write_text(out / "table.md", markdown(table, result))
    write_text(out / "table.html", _page(table, result, sample_name_of_all(cell.recipe for cell in queue)))
    return result


def markdown(table: Table, result: dict[str, Any]) -> str:
    """Accuracies in per cent as mean ± standard deviation (n), and means of what else is asked for; rows by columns.

    What is the same in all columns of every row has a column of its own, in front of them.
    """
    headings, texts = _texts(table, result)
    lines = [f"| {table.title} | {' | '.join(headings)} |", "| --- |" + " --- |" * len(headings)]
    lines += [f"| {row} | {' | '.join(cells)} |" for row, cells in texts.items()]
    return "\n".join(lines) + "\n"


def _page(table: Table, result: dict[str, Any], samples: SampleName) -> str:
    of_cells = [cell for row in result["rows"].values() for cell in row.values()]
    machines = {_machine(run["hardware"]) for cell in of_cells for run in cell["runs"]} or {
        _machine(result["hardware"])
    }
    provenance = [
        ("Recipe that all cells start from", table.base),
        ("Changed in all of them", ", ".join(table.overrides) or "nothing"),
        ("Seeds of a cell", " or ".join(map(str, sorted({cell["n"] for cell in of_cells}))) or "none"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())),
        ("Hardware", "; ".join(sorted(machines))),
    ]
    headings, texts = _texts(table, result)
    return ablation.render(
        table.title,
        list(table.columns),
        result["rows"],
        headings,
        texts,
        quantities=table.quantities,
        samples=samples,
        provenance=provenance,
    )


def _machine(hardware: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in hardware.items())


def _texts(table: Table, result: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """The headings of the columns, and by row what the table says in each."""
    rows = result["rows"]
    known = {row: [_quantities(rows[row][c]) for c in table.columns if c in rows[row]] for row in table.rows}
    of_rows = [
        quantity
        for quantity in table.quantities
        if quantity in HEADINGS
        and len(table.columns) > 1
        and all(len({cell[quantity] for cell in cells}) <= 1 for cells in known.values())
    ]
    of_cells = [quantity for quantity in table.quantities if quantity not in of_rows]
    texts = {}
    for row in table.rows:
        first = [known[row][0][quantity] if known[row] else "not run" for quantity in of_rows]
        texts[row] = first + [_cell_text(table, row, c, rows[row].get(c), of_cells) for c in table.columns]
    return [*(HEADINGS[quantity] for quantity in of_rows), *table.columns], texts


def _cell_text(table: Table, row: str, column: str, found: dict[str, Any] | None, quantities: Sequence[str]) -> str:
    if column in table.undefined.get(row, ()):
        return UNDEFINED
    if found is None:
        return "not run"
    texts = _quantities(found)
    said = (f"{texts[quantity]}{UNITS.get(quantity, '')}" for quantity in quantities)
    return f"{', '.join(said)} ({found['n']})"


def _quantities(found: Mapping[str, Any]) -> dict[str, str]:
    """What a cell may say, without units."""
    return {
        "accuracy": in_percent(found["accuracy"], found["std"]) if "accuracy" in found else UNDEFINED,
        "metric": _metric_text(found),
        "sops": figure(found["sops"], ".3f", 1e-6),
        "nops": figure(found["nops"], ".3f", 1e-6),
        "firing_rate": f"{found['firing_rate']:.0%}",
        "parameters": figure(found["parameters"], ",.0f"),
        "train_seconds": figure(found["train_seconds"], ",.0f"),
        "peak_bytes": figure(found["peak_bytes"], ",.1f", 1e-6),
        "stored_mb": figure(found["stored_mb"], ",.1f", 1e3),
    }


def _metric_text(found: Mapping[str, Any]) -> str:
    """Of the first figure of a task: an accuracy in per cent, anything else in its own unit."""
    if "accuracy" in found:
        return in_percent(found["accuracy"], found["std"])
    if found["value"] is None:
        return UNDEFINED
    spread = "" if found["value_std"] is None else f" ± {found['value_std']:.3g}"
    return f"{found['metric']} {found['value']:.4g}{spread}"


def _slug(name: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
