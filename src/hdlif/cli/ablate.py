"""Implement `hdlif ablate`, which trains the networks of an ablation table.

A cell of the table is finished if its run folder contains a summary.json for the same recipe. `hdlif ablate` skips
finished cells. To add training runs, repeat the command with a larger value of `--seeds`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from hdlif.cli.names import TABLE
from hdlif.cli.options import FILE, DataRoot, argument, option, subcommand
from hdlif.cli.output import saying_how_to_go_on, show
from hdlif.errors import RecipeError, say_nothing


def ablate(
    table: Annotated[str, argument(type=TABLE)],
    *,
    seeds: int | None = None,
    data_root: DataRoot = None,
    out: Path | None = None,
    known: Annotated[Sequence[Path], option(type=FILE, multiple=True)] = (),
    progress: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> dict[str, Any]:
    """Train every cell of TABLE, which is a YAML file or the name of a shipped table, such as digits or fashion_mnist.

    If you run `hdlif ablate` again, it skips finished cells and resumes interrupted training runs. To add training
    runs, repeat the command with a larger value of --seeds. After every cell, `hdlif ablate` writes table.md,
    table.json and table.html to OUT.

    \f
    Several processes can work on the same table, because each process skips cells that another process is training.

    Args:
        seeds: Training runs per cell.  [default: the table's own number]
        out: Folder of all runs.  [default: runs/TABLE]
        known: A table.json from elsewhere, whose training runs are not repeated; repeatable.
    Returns:
        the content of OUT/table.json.
    Raises:
        RecipeError: the table or one of its cells cannot be used; the message contains the table's file.
        InputError: a file in `known` is not a table.json.
        TrainingError: training failed for a cell; raised after all other cells are done.
    """
    from hdlif.cli.ablation_queue import Queue
    from hdlif.recipe.runs.ablation_tables import cells, load_table
    from hdlif.recipe.runs.processes import check_alone

    check_alone("hdlif ablate")
    chosen, root = load_table(table), None if data_root is None else Path(data_root)
    if seeds is not None:
        chosen = chosen.model_copy(update={"seeds": seeds})
    out = out or Path("runs") / Path(table).stem
    try:
        queue = list(cells(chosen, out, data_root=root))
    except RecipeError as error:
        raise RecipeError(f"{table}: {error}") from None
    with saying_how_to_go_on():
        return Queue(chosen, queue, out, known, data_root=root, progress=progress, say=say).run()


def _print(result: dict[str, Any], as_json: bool, given: dict[str, Any]) -> None:
    def text() -> str:
        from hdlif.cli.ablation_text import markdown
        from hdlif.recipe.runs.ablation_tables import load_table

        return markdown(load_table(given["table"]), result).rstrip()

    show(result, as_json, text)


COMMAND = subcommand(
    ablate,
    ("hdlif ablate digits", "every neuron with every rule, into runs/digits"),
    ("hdlif ablate digits --seeds 1 --out runs/one_seed", "one training run per cell, for a first look"),
    shown=_print,
)
