"""Read and write recipes, and apply base recipes and overrides. Each error message contains the relevant key.

A recipe with a `base` lists only its differences from the base. A base recipe cannot itself have a base. A section with
a `kind` replaces the base's section. A section without a `kind` is merged with the base's section key by key. A base is
a shipped recipe, or a file in the recipe's folder or a subfolder. Error messages never quote a base file, because the
file may not be a recipe.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hdlif.config import DataConfig, Recipe
from hdlif.errors import RecipeError, cut, did_you_mean
from hdlif.inputs.plain_yaml import MOST_BYTES, MOST_DEPTH, Dumper, parse_yaml, shown, text_of
from hdlif.recipe.faults import AUGMENT, AUGMENT_EXAMPLE, recipe_error, worst


def shipped(folder: str) -> list[str]:
    """Return the sorted names of the YAML files in a folder of the package."""
    names = [one.name for one in files("hdlif").joinpath(folder).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def shipped_recipes() -> list[str]:
    """Return the sorted names of the recipes that ship with hdlif."""
    return shipped("recipes")


def named_text(name_or_path: str | Path, folder: str, what: str) -> tuple[str, str]:
    """Return the name and the text of a YAML file: a shipped file in a folder of the package, or a file at a path.

    Shipped names take precedence over files in the working folder.

    Args:
        what: kind of file, for error messages.
    Raises:
        RecipeError: the file or name does not exist, or the file is not UTF-8 text of at most `MOST_BYTES`.
    """
    names = shipped(folder)
    if isinstance(name_or_path, str) and name_or_path in names:
        return name_or_path, files("hdlif").joinpath(folder, f"{name_or_path}.yaml").read_text("utf-8")
    path = Path(name_or_path)
    try:
        return path.stem, text_of(path, f"a {what}")
    except FileNotFoundError:
        fix = f"give the path of a YAML file or {did_you_mean(str(name_or_path), names)}"
        raise RecipeError(f"{name_or_path}: there is no such file and no shipped {what} of that name; {fix}") from None


def recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    """Return the name and the text of a shipped recipe or of a file. Raises `RecipeError`."""
    return named_text(name_or_path, "recipes", "recipe")


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, and check keys, types and ranges.

    Args:
        name_or_path: the name of a shipped recipe, or the path of a YAML file.
        overrides: `key=value` or `section.key=value`, with the value in YAML. To choose a kind with other arguments,
            replace an entire section: `neuron={kind: lif}`.
    Raises:
        RecipeError: the recipe is invalid; the message contains the file, the key, the given and the accepted values.
    """
    name, own = _own_tree(name_or_path)
    base, tree, ships = own.pop("base", None), own, True
    if base is not None:
        ships, of_base = _base(name_or_path, base)
        tree = _merged(of_base, own)
    for override in overrides:
        replace_value(tree, override)
    try:
        return Recipe.model_validate({"name": name} | tree)
    except ValidationError as error:
        errors = error.errors()
    if ships:
        raise recipe_error(name_or_path, errors, tree)
    # Do not quote a base file, which may not be a recipe.
    if worst(errors)["type"] != "missing" and not _states(own, overrides, worst(errors)["loc"][:2]):
        seen = f"{name_or_path}: base = {shown(base)} is not a recipe of this version of hdlif"
        raise RecipeError(f"{seen}; run `hdlif recipes check` on that file for details")
    raise recipe_error(name_or_path, errors, own)


def changed(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return a copy of a recipe after applying overrides as in `load_recipe`. Raises `RecipeError`."""
    tree = recipe.model_dump(mode="json")
    for override in overrides:
        replace_value(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise recipe_error(recipe.name, error.errors(), tree) from None


def _states(own: dict[str, Any], overrides: Sequence[str], location: Iterable[str | int]) -> bool:
    """Return whether the value at a location is set by the recipe's own keys or by the overrides."""
    try:
        for override in overrides:
            replace_value(own, override)
    except RecipeError:
        # The override sets a key in a section of the base.
        return True
    place: Any = own
    for part in location:
        if not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return True


def data_section(name: str, keys: Mapping[str, Any]) -> DataConfig:
    """Check the keys of a `data` section, and return the section. Error messages begin with `name`.

    Raises:
        RecipeError: as in `load_recipe`.
    """
    try:
        return DataConfig.model_validate(keys)
    except ValidationError as error:
        errors = error.errors()
    for one in errors:
        one["loc"] = ("data", *one["loc"])
    raise recipe_error(name, errors, {"data": keys})


def _base(name_or_path: str | Path, stated: Any) -> tuple[bool, dict[str, Any]]:
    """Return whether a recipe's base is shipped with hdlif, and the keys of the base."""
    seen = f"{name_or_path}: base = {shown(stated)}"
    if not isinstance(stated, str) or not stated:
        raise RecipeError(f"{seen} is refused; give the name or path of a recipe")
    ships = stated in shipped_recipes()
    _, tree = _own_tree(stated if ships else below(Path(name_or_path).parent, stated, seen), seen)
    if "base" in tree:
        that_one = f"base: {tree['base']}" if ships else "that one"
        raise RecipeError(f"{seen} has a base itself; name {that_one}, and state what differs from it")
    # By default, a recipe has the name of its own file.
    tree.pop("name", None)
    return ships, tree


def below(folder: Path, stated: str, seen: str, *, kind: str = "recipe", ships: str = "recipes") -> Path:
    """Return the resolved path of a base file in or below `folder`, which contains the recipe or table.

    Args:
        seen: beginning of error messages.
        kind: expected kind of file.
        ships: folder of the package with the shipped files of this kind.
    """
    path = None
    # The path may contain a NUL or half a surrogate pair, a loop of links, or an unreadable folder.
    with contextlib.suppress(ValueError, OSError, RuntimeError):
        folder, path = folder.resolve(), (folder / stated).resolve()
    # Do not look outside the folder, so errors reveal nothing about files there.
    if path is None or not path.is_relative_to(folder):
        raise RecipeError(f"{seen} is refused; give a shipped {kind}, or a file at or below the folder of this one")
    # The name may be too long.
    with contextlib.suppress(OSError):
        if path.is_file():
            return path
    fix = f"give the path of a YAML file at or below the folder of this one or {did_you_mean(stated, shipped(ships))}"
    raise RecipeError(f"{seen}: there is no such file and no shipped {kind} of that name; {fix}")


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of `own`, and the base's keys that `own` does not set."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in own.items():
        section = merged.get(key)
        if isinstance(value, dict) and isinstance(section, dict) and "kind" not in value:
            section.update(value)
        else:
            merged[key] = value
    return merged


def _own_tree(name_or_path: str | Path, hidden: str = "") -> tuple[str, dict[str, Any]]:
    """Return the name of a recipe and the keys in the recipe's file.

    Args:
        hidden: text that replaces path and content in errors.
    """
    try:
        name, text = recipe_text(name_or_path)
        tree = parse_yaml(text, source=str(name_or_path))
    except RecipeError:
        if not hidden:
            raise
        tree = None
    if isinstance(tree, dict):
        return name, tree
    if hidden:
        raise RecipeError(f"{hidden} is not a recipe; run `hdlif recipes check` on that file for details")
    keys = ", ".join(sorted(Recipe.model_fields))
    raise RecipeError(f"{name_or_path}: {shown(tree)} is not a recipe; a recipe is a YAML mapping with the keys {keys}")


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as canonical YAML without disabled extras; `load_recipe` reads the same recipe back."""
    # Escape characters other than ASCII, because PyYAML would write U+0085 raw and read it as a line break.
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=Dumper, sort_keys=False)


def replace_value(tree: dict[str, Any], override: str) -> None:
    """Apply an override `a.b=v`, which sets one value of `tree` in place."""
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    source = f"--set {cut(override)}"
    if not equals or not all([*sections, key]):
        raise RecipeError(f"{source}: is not an assignment; write key=value, for example --set training.epochs=3")
    if len(sections) >= MOST_DEPTH:
        raise RecipeError(f"{source}: has {len(sections) + 1} nested keys; at most {MOST_DEPTH} are accepted")
    if len(text) > MOST_BYTES:
        raise RecipeError(f"{source}: is longer than {MOST_BYTES:,} characters; write it into a recipe of its own")
    place = tree
    for depth, section in enumerate(sections, 1):
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            name = cut(".".join(sections[:depth]))
            value = f'"{name}={AUGMENT_EXAMPLE}"' if name == AUGMENT else f"{name}=VALUE"
            raise RecipeError(
                f"{source}: {name} = {shown(place)} has no keys; set {name} as a whole, for example --set {value}"
            )
    try:
        value = parse_yaml(text, source=source)
    except RecipeError:
        if (mark := text.lstrip()[:1]) not in tuple("*&!%@`"):
            raise
        quoted = "'" + text.strip().replace("'", "''") + "'"
        fix = f'quote it: --set "{cut(path.strip())}={cut(quoted)}"'
        raise RecipeError(f"{source}: a text in YAML cannot begin with {mark}; {fix}") from None
    joined = [name for name, given in value.items() if given is None and ":" in name] if isinstance(value, dict) else []
    if joined:
        fix = f'--set "{cut(path.strip())}={cut(_JOINED.sub(": ", text.strip()))}"'
        seen = f"{source}: YAML reads {cut(joined[0])} as a key without a value"
        raise RecipeError(f"{seen}; add a space after the colon: {fix}")
    place[key] = value


_JOINED = re.compile(r"(?<=\w):(?=\S)")
"""Matches a colon without the space that YAML requires after a key."""
