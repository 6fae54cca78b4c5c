"""Implement `hdlif recipes`, which lists, prints and checks recipes."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

from hdlif.cli.names import RECIPE
from hdlif.cli.options import DataRoot, Place, Settings, argument, group, subcommand
from hdlif.cli.output import put
from hdlif.cli.output import show as print_result
from hdlif.errors import DataError, InputError, RecipeError, say_nothing
from hdlif.inputs.datasets import WITHOUT_DOWNLOAD
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe, recipe_text, shipped_recipes
from hdlif.recipe.runs.files import write_text
from hdlif.report.tables import aligned, figure

_PUBLISHED = re.compile(r"^# published: (?P<accuracy>[0-9.]+) %(?:, (?P<mb>[0-9.]+) MB)?$", re.MULTILINE)
_MEASURED = re.compile(
    r"^# measured: (?P<parameters>[0-9,]+) parameters, (?P<metric>\w+) (?P<value>[0-9.]+), (?P<seeds>[0-9]+) seeds?$",
    re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)])\. (?=[A-Z])")


def ls(
    *,
    published: bool = False,
) -> dict[str, Any]:
    """List the shipped recipes by data set.

    The list shows each recipe's neuron, learning rule, and bits per weight and per spike (32 is float). For recipes
    that we have trained, the list also shows the number of parameters, and the test accuracy or another metric (the
    mean over the seeds).

    \f
    Recipes that need no data download are listed first. The result always includes descriptions, and published and
    measured figures.

    Args:
        published: List only recipes from published tables, with the published figures.
    """
    names = sorted(shipped_recipes(), key=lambda name: (not needs_no_download(name), name))
    found = {name: published_figures(name) for name in names}
    return {
        "recipes": names,
        "details": {name: details(load_recipe(name)) for name in names},
        "about": {name: about(name) for name in names},
        "published": {name: figures for name, figures in found.items() if figures is not None},
        "measured": {name: figures for name in names if (figures := measured_figures(name)) is not None},
    }


def needs_no_download(shipped: str) -> bool:
    """Return whether a shipped recipe uses only bundled or generated data."""
    return shipped.startswith(tuple(f"{name}_" for name in WITHOUT_DOWNLOAD))


def about(name_or_path: str | Path) -> str:
    """Return the first descriptive sentence of a recipe's header comment, or "" if there is none."""
    _, text = recipe_text(name_or_path)
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    about_it = (line for line in lines if not line.startswith(("# hdlif train ", "# published: ", "# measured: ")))
    said = " ".join(line.removeprefix("#").strip() for line in about_it)
    return _SENTENCE_END.split(said)[0].removesuffix(".")


def details(recipe: Recipe) -> dict[str, Any]:
    """Return a shipped recipe's data set, neuron, learning rule, weight bits and spike bits."""
    data = recipe.data
    graded = builders.NEURONS[recipe.neuron.kind].IS_GRADED
    return {
        "data": Path(str(data.arguments["path"])).name if "path" in data.arguments else data.kind,
        "neuron": recipe.neuron.kind,
        "rule": recipe.rule.kind,
        "weight_bits": {"float": 32, "ternary": 1.5, "binary": 1}[recipe.weights.kind],
        "spike_bits": recipe.spikes.arguments.get("bits", 32) if graded else 1,
    }


def listed(found: Mapping[str, Any]) -> str:
    """Format one table per data set, with one row per recipe."""
    of_data: dict[str, list[list[str]]] = {}
    for name in found["recipes"]:
        one = found["details"][name]
        row = [name, one["neuron"], one["rule"], f"{one['weight_bits']:g}/{one['spike_bits']:g}"]
        of_data.setdefault(one["data"], []).append([*row, *_reached(found["measured"].get(name))])
    headings = ["neuron", "rule", "bits", "params", "test"]
    tables = [aligned([f"data: {data}", *headings], rows, left=range(4)) for data, rows in of_data.items()]
    return "\n\n".join(tables)


def _reached(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return ["", ""]
    value, metric = figures["value"], figures["metric"]
    result = f"{value:.1%}" if metric == "accuracy" else f"{metric} {value:.3f}"
    return [f"{figures['parameters']:,}", result]


def measured_figures(name: str) -> dict[str, Any] | None:
    """Return the parameters, test metric, mean value and number of seeds in a shipped recipe's header, or None."""
    _, text = recipe_text(name)
    found = _MEASURED.search(text)
    if found is None:
        return None
    parameters, seeds = int(found["parameters"].replace(",", "")), int(found["seeds"])
    return {"parameters": parameters, "metric": found["metric"], "value": float(found["value"]), "seeds": seeds}


def published_figures(name_or_path: str | Path) -> dict[str, float | None] | None:
    """Return the published "accuracy" (0..1) and "params_mb" in a recipe's header, or None if there are no figures."""
    _, text = recipe_text(name_or_path)
    found = _PUBLISHED.search(text)
    if found is None:
        return None
    mb = found["mb"]
    return {"accuracy": round(float(found["accuracy"]) / 100, 6), "params_mb": None if mb is None else float(mb)}


def published_table() -> str:
    """Format the published figures of the shipped recipes as a table."""
    rows = [
        [name, f"{figures['accuracy']:.2%}", figure(figures["params_mb"], ".2f")]
        for name, figures in ls()["published"].items()
    ]
    return aligned(["recipe", "published accuracy", "published MB"], rows)


def show(
    recipe: Annotated[Place, argument(type=RECIPE)],
    *,
    resolved: bool = False,
) -> dict[str, Any]:
    """Print the YAML text of RECIPE.

    Args:
        resolved: Fill in the base, and print every value.
    """
    named = recipe if isinstance(recipe, str) else Path(recipe)
    if resolved:
        loaded = load_recipe(named)
        return {"name": loaded.name, "text": dump_recipe(loaded)}
    name, text = recipe_text(named)
    return {"name": name, "text": text}


def schema(
    *,
    out: Place | None = None,
) -> str:
    """Print the JSON Schema for recipes, which lets an editor complete and check keys and kinds.

    The schema contains the kinds that hdlif and installed packages define. `hdlif recipes check` checks more than the
    schema does.

    Args:
        out: The file to write, such as recipe.schema.json.  [default: standard output]
    """
    from hdlif.recipe.builders.schema import recipe_schema

    text = json.dumps(recipe_schema(), indent=2, ensure_ascii=False)
    if out is None:
        return text
    text += "\n"
    write_text(Path(out), text)
    return f"{out}: {len(text.encode()):,} bytes"


def check_all(
    names: Annotated[Sequence[str], argument(metavar="[RECIPE]...", nargs=-1, type=RECIPE)] = (),
    overrides: Settings = (),
    *,
    build: bool = False,
    data_root: DataRoot = None,
    say: Callable[[str], None] = say_nothing,
) -> dict[str, Any]:
    """Check the keys, names, arguments and types of each RECIPE, or of all shipped recipes.

    With --build, `hdlif recipes check` also checks argument ranges and layer names, and whether the network fits the
    data, trains and can be exported. These checks need PyTorch.

    \f
    Return the names of the valid recipes.

    Args:
        overrides: Replace one value first; repeatable.
        build: Also build the network and all other parts, try one update on noise, and report whether the network can
            be exported.
    Raises:
        RecipeError: recipes are invalid, or their data are unavailable; the message lists the error of each.
    """
    if data_root is not None and not build:
        raise InputError("--data-root applies only to --build, which reads the data; add --build")
    good, faults, undeployed = [], [], {}
    for name in names or shipped_recipes():
        try:
            found = check(name, overrides, build=build, data_root=data_root)
            good.append(found["name"])
            if "not_exported" in found:
                undeployed[found["name"]] = found["not_exported"]
            say(f"{name}: {verdict(found)}")
        except (RecipeError, DataError) as error:
            faults.append(f"{name}: {str(error).removeprefix(f'{name}: ')}")
            say(faults[-1])
    if faults:
        raise RecipeError(f"{len(faults)} of {len(good) + len(faults)} recipes have errors: " + "; ".join(faults))
    return {"recipes": good, **({"not_exported": undeployed} if undeployed else {})}


def verdict(found: Mapping[str, Any]) -> str:
    """Format the result of a recipe check as one line."""
    why = found.get("not_exported")
    return "good" if why is None else f"can be trained, but not exported: {why}"


def check(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, build: bool = False, data_root: Place | None = None
) -> dict[str, Any]:
    """Check a recipe and return it with all values explicit.

    Args:
        build: whether to also build all parts, as before training, try one update on noise, and try to deploy the
            network. If deployment fails, "not_exported" of the result is the reason. Without `build`, PyTorch is not
            imported.
        data_root: with `build`, the folder of the data; the user's own data are inspected.
    Raises:
        RecipeError: the recipe cannot be trained; the message reports the first problem.
    """
    recipe = load_recipe(name_or_path, overrides)
    if build:
        recipe, _ = builders.with_data_found(recipe, None if data_root is None else Path(data_root))
        builders.check(recipe)
        builders.try_update(recipe)
        from hdlif.report.counts import why_not_exported

        why = why_not_exported(recipe)
    else:
        builders.check_names(recipe)
        why = None
    found = {"name": recipe.name, "recipe": recipe.model_dump(mode="json")}
    return found if why is None else {**found, "not_exported": why}


def _print_list(result: dict[str, Any], as_json: bool, given: dict[str, Any]) -> None:
    print_result(result, as_json, published_table if given["published"] else lambda: listed(result))


def _check(check_all: Callable[..., dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    if len(given["names"]) != 1 or (given["data_root"] is not None and not given["build"]):
        return check_all(**given)
    return check(given["names"][0], given["overrides"], build=given["build"], data_root=given["data_root"])


def _checked(result: Mapping[str, Any]) -> str:
    if "name" in result:
        return f"{result['name']}: {verdict(result)}"
    return f"{len(result['recipes'])} recipes: valid"


COMMAND = group(
    "recipes",
    "List, show and check recipes, and their schema for editors.",
    [
        subcommand(
            ls,
            ("hdlif recipes ls", "a table for each data set"),
            ("hdlif recipes ls --published", "rows of published tables, with their figures"),
            shown=_print_list,
        ),
        subcommand(
            show,
            ("hdlif recipes show digits_hdlif_w1p5_s4", "as written"),
            ("hdlif recipes show digits_hdlif_w1p5_s4 --resolved > mine.yaml", "as the start of your own recipe"),
            text=lambda found: str(found["text"]).rstrip(),
        ),
        subcommand(
            check_all,
            ("hdlif recipes check mine.yaml", "keys, names and types"),
            ("hdlif recipes check digits_hdlif --set model.width=32 --build", "the network too, and an update"),
            ("hdlif recipes check", "all shipped recipes"),
            name="check",
            call=_check,
            text=_checked,
            short="Check recipes without training.",
        ),
        subcommand(
            schema,
            ("hdlif recipes schema --out recipe.schema.json", "for an editor, as in docs/how_to/experiments.md"),
            ("hdlif recipes schema | less", "to read it"),
            shown=lambda text, as_json, given: put(text),
            json=False,
            short="The JSON Schema with which editors complete keys.",
        ),
    ],
    ("hdlif recipes ls", "shipped recipes"),
    ("hdlif recipes show digits_hdlif --resolved", "every value of one recipe"),
)
