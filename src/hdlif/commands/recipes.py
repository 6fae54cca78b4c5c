"""`hdlif recipes ls|show|check|schema`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from hdlif.errors import DataError, RecipeError
from hdlif.inputs.datasets import WITHOUT_DOWNLOAD
from hdlif.recipe import dump_recipe, load_recipe, recipe_text, shipped_recipes
from hdlif.recipe.runs.files import writing
from hdlif.whole_files import whole_file

_PUBLISHED = re.compile(r"^# published: (?P<accuracy>[0-9.]+) %(?:, (?P<mb>[0-9.]+) MB)?$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)])\. (?=[A-Z])")


def ls() -> dict[str, Any]:
    """The names of the recipes that ship, those first that need no download, what each is, and published figures."""
    names = sorted(shipped_recipes(), key=lambda name: (not needs_no_download(name), name))
    found = {name: published(name) for name in names}
    return {
        "recipes": names,
        "about": {name: about(name) for name in names},
        "published": {name: figures for name, figures in found.items() if figures is not None},
    }


def needs_no_download(shipped: str) -> bool:
    """Whether the data of a recipe that ships, whose name begins with theirs, are bundled or generated."""
    return shipped.startswith(tuple(f"{name}_" for name in WITHOUT_DOWNLOAD))


def about(name_or_path: str | Path) -> str:
    """The first sentence of the comment that heads a recipe, behind its command and figure; "" where it has none."""
    _, text = recipe_text(name_or_path)
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    about_it = (line for line in lines if not line.startswith(("# hdlif train ", "# published: ")))
    said = " ".join(line.removeprefix("#").strip() for line in about_it)
    return _SENTENCE_END.split(said)[0].removesuffix(".")


def listed(found: Mapping[str, Any]) -> str:
    """Each name, and what the recipe is."""
    width = max(map(len, found["recipes"]))
    return "\n".join(f"{name:{width}}  {found['about'][name]}".rstrip() for name in found["recipes"])


def published(name_or_path: str | Path) -> dict[str, float | None] | None:
    """The figures in the recipe's header: "accuracy" in 0..1 and "params_mb", or None; None where it has none."""
    _, text = recipe_text(name_or_path)
    found = _PUBLISHED.search(text)
    if found is None:
        return None
    mb = found["mb"]
    return {"accuracy": round(float(found["accuracy"]) / 100, 6), "params_mb": None if mb is None else float(mb)}


def published_table() -> str:
    """The published figures of the shipped recipes as a Markdown table."""
    lines = ["| recipe | published accuracy % | published MB |", "| --- | --- | --- |"]
    for name, figures in ls()["published"].items():
        mb = "—" if figures["params_mb"] is None else f"{figures['params_mb']:.2f}"
        lines.append(f"| `{name}` | {100 * figures['accuracy']:.2f} | {mb} |")
    return "\n".join(lines)


def show(name_or_path: str | Path) -> dict[str, Any]:
    """The text of one recipe, comments included."""
    name, text = recipe_text(name_or_path)
    return {"name": name, "text": text}


def resolve(name_or_path: str | Path) -> dict[str, Any]:
    """The text of one recipe with its base filled in, as a run folder keeps it."""
    recipe = load_recipe(name_or_path)
    return {"name": recipe.name, "text": dump_recipe(recipe)}


def schema_text() -> str:
    """The JSON Schema of a recipe, as `hdlif.recipe_schema` gives it."""
    from hdlif.recipe.builders.schema import recipe_schema

    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False)


def write_schema(out: Path) -> int:
    """Write it as a file whole; its bytes."""
    content = f"{schema_text()}\n".encode()
    with writing(out), whole_file(out) as file:
        file.write_bytes(content)
    return len(content)


def check_all(
    names: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    *,
    build: bool = False,
    data_root: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """`check` each of several recipes, or all that ship; the names of those that are good.

    Raises:
        RecipeError: some are not, or their data cannot be had; it has the fault of each.
    """
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
        raise RecipeError(f"{len(faults)} of {len(good) + len(faults)} recipes are refused: " + "; ".join(faults))
    return {"recipes": good, **({"not_exported": undeployed} if undeployed else {})}


def verdict(found: Mapping[str, Any]) -> str:
    """Say what `check` has found, in one line."""
    why = found.get("not_exported")
    return "good" if why is None else f"can be trained, but not exported: {why}"


def check(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, build: bool = False, data_root: Path | None = None
) -> dict[str, Any]:
    """Check keys, types and ranges, then every name and argument; the recipe with every value stated.

    Args:
        build: build all of it too, as a training does before it starts, try one update on noise, and try to deploy the
            network ("not_exported" of the result is why that fails); without that, PyTorch is not imported.
        data_root: with `build`, the folder of the data, which are looked at where they are the user's own.
    Raises:
        RecipeError: the first thing that would keep the recipe from training.
    """
    from hdlif.recipe import builders

    recipe = load_recipe(name_or_path, overrides)
    if build:
        recipe, _ = builders.with_data_found(recipe, data_root)
        builders.check(recipe)
        builders.try_update(recipe)
        from hdlif.report.counts import why_not_exported

        why = why_not_exported(recipe)
    else:
        builders.check_names(recipe)
        why = None
    found = {"name": recipe.name, "recipe": recipe.model_dump(mode="json")}
    return found if why is None else {**found, "not_exported": why}
