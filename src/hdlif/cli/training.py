"""Verbs that train: one network, a table of them, a search."""

from pathlib import Path
from typing import Any

import click

from hdlif.cli.completion import DATA, KEY, RECIPE, TABLE
from hdlif.cli.examples import examples
from hdlif.cli.options import FILE, data_root_option, json_option
from hdlif.cli.output import saying_how_to_go_on, show, to_stderr


@examples(
    ("hdlif train digits_hdlif_w1p5_s4", "bundled digits; the run is in runs/digits_hdlif_w1p5_s4"),
    (
        "hdlif train digits_hdlif_w1p5_s4 --set training.epochs=2 --out runs/short",
        "one value of the recipe replaced, in another folder",
    ),
    ("hdlif train digits_hdlif_w1p5_s4 --resume", "go on after Ctrl-C"),
    ("hdlif train --data photos/", "your own images, a folder for each class; settings follow from the data"),
)
@click.command(short_help="Train a recipe, and measure the result.")
@click.argument("recipe", type=RECIPE, required=False)
@click.option(
    "--set", "overrides", multiple=True, type=KEY, metavar="A.B=V", help="Replace one value of the recipe; repeatable."
)
@click.option(
    "--data",
    type=DATA,
    metavar="NAME|PATH",
    help="A data set that ships, or data of your own (pictures, series, sounds, tables, recordings, shards, "
    "package.module:Name: docs/how_to/your_own_*.md), in place of the recipe's.",
)
@data_root_option
@click.option("--out", type=FILE, help="Run folder.  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on from the run folder's last checkpoint, exactly.")
@click.option("--overwrite", is_flag=True, help="Replace the run that the run folder holds.")
@click.option(
    "--stream",
    is_flag=True,
    help="Learn from sequences that never end: each sample goes on with the state of the one before it, with an update "
    "every training.stream steps.  [default: the most up to 16 that divide time_steps]",
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    help="Processes on this machine, each with an equal share of data.batch_size.  [default: torchrun's, or 1]",
)
@click.option(
    "--nodes", type=click.IntRange(1), help="Machines (docs/how_to/many_machines.md).  [default: torchrun's, or 1]"
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that read and augment, for each device.  [default: as the data set needs]",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the training.  [default: OMP_NUM_THREADS, or what is measured to be best]",
)
@click.option(
    "--memory-repeats",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Fresh processes that measure peak memory, for the median; 0 leaves it out.",
)
@click.option("--seeds", type=click.IntRange(1), help="Train with so many seeds, from the recipe's own one on.")
@json_option
def train(recipe: str | None, seeds: int | None, as_json: bool, **options: Any) -> None:
    """Train RECIPE (a YAML file, or a name from `hdlif recipes ls`) and measure the result.

    Without RECIPE, network, rule and optimiser follow from the sizes of your data (--data PATH). They are printed and
    written to recipe.yaml, and --set replaces any of them.

    The run folder gets model.safetensors (the best epoch on validation), last.safetensors (to resume from),
    metrics.jsonl, TensorBoard events and summary.json. Ctrl-C leaves a checkpoint that --resume continues. A folder
    that holds a run is refused without --resume or --overwrite.

    With --seeds the run folder gets a run seed_42, seed_43, ... for each, and seeds.json with means and standard
    deviations. Finished seeds are skipped and a stopped one is resumed.
    """
    from hdlif.commands import seeds as many
    from hdlif.commands.train import train as command
    from hdlif.commands.training_text import as_text

    if seeds is not None:
        say = to_stderr(as_json)
        with saying_how_to_go_on():
            found = many.train_seeds(recipe, seeds=seeds, progress=not as_json, say=say, **options)
        show(found.as_dict(), as_json, lambda: many.as_text(found, options["out"]))
        return
    with saying_how_to_go_on("--resume"):
        result = command(recipe, progress=not as_json, say=to_stderr(as_json), **options)
    # The first process alone has something to show.
    if result:
        out = options["out"] or Path("runs") / result.name
        show(result.as_dict(), as_json, lambda: as_text(result, out))


@examples(
    ("hdlif ablate digits", "every neuron with every rule, into runs/digits"),
    ("hdlif ablate digits --seeds 1 --out runs/one_seed", "one training a cell, for a first look"),
)
@click.command(short_help="Train every cell of a table of recipes and seeds.")
@click.argument("table", type=TABLE)
@click.option("--seeds", type=click.IntRange(1), help="Trainings per cell.  [default: the table's own number]")
@data_root_option
@click.option("--out", type=FILE, help="Folder of all runs.  [default: runs/TABLE]")
@click.option(
    "--known",
    type=FILE,
    multiple=True,
    help="A table.json from elsewhere, whose trainings are not repeated; repeatable.",
)
@json_option
def ablate(table: str, as_json: bool, **options: Any) -> None:
    """Train every cell of TABLE (a YAML file, or the name of one that ships: digits, digits_norms, fashion_mnist, ...).

    Finished cells are skipped and a stopped training is resumed, so run it as often as you like; more seeds
    add to what is there. OUT gets table.md, table.json and table.html, with curves, after every cell.
    """
    from hdlif.commands.ablate import ablate as command
    from hdlif.commands.ablate import load_table, markdown

    with saying_how_to_go_on():
        result = command(table, progress=not as_json, say=to_stderr(as_json), **options)
    show(result, as_json, lambda: markdown(load_table(table), result).rstrip())


@examples(
    ("hdlif sweep digits_hdlif --space space.yaml --trials 20", "the study and its runs, in runs/digits_hdlif_sweep"),
    (
        "hdlif sweep digits_hdlif --space space.yaml --trials 20 --set training.epochs=3",
        "the same, with short trainings",
    ),
)
@click.command(short_help="Search a space of recipes for the best.")
@click.argument("recipe", type=RECIPE)
@click.option("--space", type=FILE, required=True, help="YAML file: keys of the recipe, and what each may be.")
@click.option("--trials", type=click.IntRange(1), required=True, help="Trials of the whole study.")
@click.option("--out", type=FILE, help="Folder of the study and all its runs.  [default: runs/NAME_sweep]")
@click.option("--study", type=FILE, help="The journal to share, in a folder of its own.  [default: OUT/study.journal]")
@click.option(
    "--set", "overrides", multiple=True, type=KEY, metavar="A.B=V", help="Replace one value for all; repeatable."
)
@data_root_option
@json_option
def sweep(recipe: str, as_json: bool, **options: Any) -> None:
    """Search a space of recipes around RECIPE for the best validation accuracy.

    Any number of processes, on any machines that see the study's folder, work on one study: start the same command in
    each. A trial that is worse than the median is pruned; one whose process was stopped or killed is resumed by the
    next, from its checkpoint. Needs the extra hdlif[sweep].

    \b
    A space reads
      training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}
      model.width: {kind: int, low: 8, high: 32}
      neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}
    """
    from hdlif.commands import tables
    from hdlif.commands.sweep import sweep as command

    with saying_how_to_go_on():
        result = command(recipe, progress=not as_json, say=to_stderr(as_json), **options)
    show(result.as_dict(), as_json, lambda: tables.trials_table(result))
