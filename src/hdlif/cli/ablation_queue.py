"""Train the networks of an ablation table from a queue that any number of processes can share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hdlif.cli.ablation_text import markdown, page
from hdlif.cli.table_runs import TableRun, cell_of, read_runs, recipe_digest, run_of, unlike
from hdlif.cli.training_run import TrainingOptions, train_in_one_process
from hdlif.errors import CheckpointError, InUseError, TrainingError, say_nothing
from hdlif.recipe import builders
from hdlif.recipe.runs.ablation_tables import Cell, Table
from hdlif.recipe.runs.files import write_json, write_text
from hdlif.recipe.runs.folders import begun, finished, left_by_a_run
from hdlif.recipe.runs.recipe_data import as_begun
from hdlif.report.provenance import measured as provenance_of
from hdlif.report.tables import measured


@dataclass
class Queue:
    """The cells of an ablation table, with their finished training runs.

    Attributes:
        known: table.json files of other tables.
        runs: finished runs by folder, from this or another process, or from `known`.
        failed: errors, one line per cell.
    """

    table: Table
    cells: Sequence[Cell]
    out: Path
    known: Sequence[Path] = ()
    data_root: Path | None = None
    progress: bool = False
    say: Callable[[str], None] = field(default=say_nothing)
    runs: dict[Path, TableRun] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Train the missing cells of the table and return the content of table.json."""
        known = _known(self.known, self.cells, self.say)
        self._read_finished()
        elsewhere = known.keys() - self.runs.keys()
        self.runs = known | self.runs
        left = []
        for number, cell in enumerate(self.cells, start=1):
            name = f"{number}/{len(self.cells)} {cell.row}, {cell.column}, seed {cell.seed}"
            if cell.folder in self.runs:
                self.say(f"{name}: {'done elsewhere' if cell.folder in elsewhere else 'done before'}")
                continue
            self.say(f"{name}: training{', replacing a run of another recipe' if _of_another(cell) else ''}")
            if not self._train(cell, name):
                left.append((cell, name))
        # Try these cells again after all others: the process that trained them may have finished, or failed.
        left = [(cell, name) for cell, name in left if not self._train(cell, name)]
        self._read_finished()
        written = self._write()
        for name in [name for cell, name in left if cell.folder not in self.runs]:
            self.say(f"{name}: still training; run this command again to complete the table")
        for row, columns in written["rows"].items():
            for column, cell_written in columns.items():
                if differ := unlike(cell_written["runs"]):
                    self.say(
                        f"warning: {row}, {column}: its seeds differ in {differ}, which depends only on the recipe; "
                        "they come from different versions of hdlif; train them again with another --out"
                    )
        if self.failed:
            raise TrainingError(
                f"{len(self.failed)} of {len(self.cells)} cells failed; the others are in {self.out}; first failure: "
                f"{self.failed[0]}"
            )
        return written

    def _train(self, cell: Cell, name: str) -> bool:
        """Train or resume a cell, or return False if another process is training the cell."""
        options = TrainingOptions(
            data_root=self.data_root,
            resume=None,
            progress=self.progress,
            memory_repeats=self.table.memory_repeats if cell.seed == self.cells[0].seed else 0,
            label=f"{cell.row}, {cell.column}, seed {cell.seed}",
        )
        try:
            result = train_in_one_process(cell.recipe, cell.folder, options)
        except InUseError as error:
            self.say(f"{name}: skipped: {error}")
            return False
        except (TrainingError, CheckpointError) as error:
            self.failed.append(f"{cell.row}, {cell.column}, seed {cell.seed}: {error}")
            self.say(f"{name}: {error}")
            return True
        self.runs[cell.folder] = run_of(result, cell.recipe)
        self.say(f"{name}: {measured(result)} in {result.train_seconds:.0f} s")
        self._read_finished()
        self._write()
        return True

    def _read_finished(self) -> None:
        """Read all finished training runs, including runs from other processes."""
        for cell in self.cells:
            if cell.folder not in self.runs and (summary := finished(cell.folder, cell.recipe)) is not None:
                self.runs[cell.folder] = run_of(summary, cell.recipe)

    def _write(self) -> dict[str, Any]:
        """Write table.json, table.md and table.html. Return the content of table.json."""
        table = self.table
        found: dict[str, dict[str, list[TableRun]]] = {row: {c: [] for c in table.columns} for row in table.rows}
        for cell in self.cells:
            if (run := self.runs.get(cell.folder)) is not None:
                found[cell.row][cell.column].append(run)
        result = {
            "title": table.title,
            "base": table.base,
            "rows": {
                row: {column: cell_of(of_cell) for column, of_cell in columns.items() if of_cell}
                for row, columns in found.items()
            },
            "undefined": table.undefined,
            **provenance_of(sorted({cell.seed for cell in self.cells})),
        }
        write_json(self.out / "table.json", result)
        write_text(self.out / "table.md", markdown(table, result))
        samples = builders.sample_name_of(cell.recipe for cell in self.cells)
        write_text(self.out / "table.html", page(table, result, samples))
        return result


def _of_another(cell: Cell) -> bool:
    """Return whether a cell's folder contains a run with a different recipe."""
    return bool(left_by_a_run(cell.folder)) and not begun(cell.folder, as_begun(cell.recipe, cell.folder))


def _known(paths: Sequence[Path], queue: Sequence[Cell], say: Callable[[str], None]) -> dict[Path, TableRun]:
    """Return the runs from other table.json files that match cells of this table, keyed by run folder."""
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
            # The curve is the mean over all runs of a cell.
            found |= mine if len(mine) == len(runs) else {f: replace(run, curve=()) for f, run in mine.items()}
            total, taken = total + len(runs), taken + len(mine)
        say(f"{path}: {taken} of its {total} training runs match this table's cells, recipes and seeds")
    return found
