"""Create one-line error messages about a recipe's keys, which contain the given value and the accepted values."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hdlif.config import Component, DataConfig, Recipe, TrainingConfig
from hdlif.errors import RecipeError, cut, did_you_mean
from hdlif.inputs.plain_yaml import recipe_fields, shown

ALIASES: Mapping[str, str] = {
    "T": "time_steps",
    "batch": "data.batch_size",
    "bs": "data.batch_size",
    "lr": "training.learning_rate",
    "wd": "training.weight_decay",
}
"""Other names of keys, used only for suggestions in errors."""
AUGMENT, AUGMENT_EXAMPLE = "data.augment", "[{kind: jitter, deviation: 0.05}]"
"""A key, and an example of its value for errors."""
_MOST_PLACES = 5
"""Maximum number of names in an error."""
_MOST_BRANCHES = 4
"""Maximum number of explained errors for one key."""
Keys = Sequence[str | int]


def worst(errors: list[ErrorDetails]) -> ErrorDetails:
    """Return the first error about an unknown key or, if all keys are known, the first error."""
    # An unknown key may explain a missing key.
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def recipe_error(name: object, errors: list[ErrorDetails], tree: Mapping[str, Any]) -> RecipeError:
    """Return an error that begins with the recipe's name and explains the worst fault in the recipe's tree."""
    first = worst(errors)
    path = _path_of(first, tree)
    key = cut(".".join(map(str, path)))
    seen = f"{key} = {shown(first['input'])}"
    no_section = None
    match first["type"]:
        case "extra_forbidden" if places := _places([str(part) for part in path], tree):
            said = f"{seen} is unknown; did you mean {' or '.join(places)}?"
        case "model_type" if _model_at(Recipe, path) is Component:
            no_section, given = key, first["input"]
            kind = given if isinstance(given, str) and re.fullmatch(r"\w{1,40}", given, re.ASCII) else "NAME"
            section = f'{key}: {{kind: {kind}}} in a file, --set "{key}={{kind: {kind}}}" in a shell'
            said = f"{seen} is refused; it should be a section, for example {section}"
        case "tuple_type":
            said = f"{seen} is refused; it should be a list, for example [flip, shift] or {AUGMENT_EXAMPLE}"
        case "invalid-json-value":
            said = f"{seen} is refused; it should be text, a number, true, false, null, a list or a mapping"
        case "missing" if key.startswith(f"{AUGMENT}."):
            said = f"{key} is missing; begin each item with its kind, for example {AUGMENT_EXAMPLE}"
        case "missing":
            said = f"{key} is missing; `hdlif recipes show digits_hdlif` prints a complete recipe"
        case _:
            said = explain(Recipe, tree, errors)
    return RecipeError(f"{name}: {said}", no_section=no_section)


def explain(
    model: type[BaseModel],
    tree: Mapping[str, Any],
    errors: list[ErrorDetails],
    section: str = "",
    accepted: Callable[[Any], Iterable[str]] = lambda model: model.model_fields,
) -> str:
    """Explain the worst error in a section of a recipe.

    Args:
        model: class of the section.
        section: key of the section.
        accepted: function that returns the keys of a class of sections.
    """
    first = worst(errors)
    path, before = _path_of(first, tree), [section] if section else []
    key = cut(".".join([*before, *map(str, path)]))
    seen = f"{key} = {shown(first['input'])}"
    # Each branch of a union adds an error with the same value.
    of_key = [error for error in errors if _path_of(error, tree)[:1] == path[:1]]
    match first["type"]:
        case "extra_forbidden":
            known = list(accepted(_model_at(model, path[:-1])))
            return f"{seen} is unknown; {did_you_mean(str(path[-1]), known) if known else 'it takes no arguments'}"
        case "missing":
            return f"{key} is missing; give it a value"
        case "model_type" if len(of_key) == 1:
            return f"{seen} is refused; it should be a section of keys and values"
        case "literal_error" if len(of_key) == 1 and isinstance(first["input"], str):
            return f"{seen} is unknown; {did_you_mean(first['input'], _words(first))}"
        case "value_error" if len(of_key) == 1:
            said = first["msg"].removeprefix("Value error, ")
            return f"{seen} is refused; it {said}" if said.startswith("should ") else said
        case _ if len(of_key) == 1:
            return f"{seen} is refused; {_wanted(first, ())}"
    name = str(path[0])
    seen, field = f"{'.'.join([*before, cut(name)])} = {shown(tree[name])}", model.model_fields.get(name)
    meaning = f": {field.description}" if field is not None and field.description else ""
    words = [one for error in of_key if error["type"] == "literal_error" for one in _words(error)]
    if isinstance(tree[name], str) and words:
        return f"{seen} is unknown; {did_you_mean(tree[name], words)}{meaning}"
    # A list may have thousands of items, each with an error.
    wanted = dict.fromkeys(_wanted(error, _path_of(error, tree)) for error in of_key[:_MOST_BRANCHES])
    return f"{seen} is refused; {', or '.join(wanted)}{meaning}"


def _wanted(error: ErrorDetails, path: Keys) -> str:
    """Return Pydantic's description of the accepted values."""
    message = error["msg"].partition(" should ")[2].partition(" after validation")[0]
    said = re.sub(r"a valid dictionary or instance of \w+|a valid dictionary", "a mapping", message)
    items = [part + 1 for part in path if isinstance(part, int)]
    return f"item {items[-1]} of it should {said}" if items else f"it should {said}"


def _words(error: ErrorDetails) -> list[str]:
    """Return the accepted names, which Pydantic lists as 'a', 'b' or 'c'."""
    return re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))


def _path_of(error: ErrorDetails, tree: Any) -> Keys:
    """Return the path of keys to an invalid value, without Pydantic's names for the branches of a union."""
    path: list[str | int] = []
    *outer, last = error["loc"] or ("",)
    for part in outer:
        if (isinstance(tree, Mapping) and part in tree) or (isinstance(tree, list | tuple) and isinstance(part, int)):
            path.append(part)
            inside: Any = tree
            tree = inside[part]
    is_key = isinstance(tree, Mapping) and (last in tree or error["type"] == "missing")
    return [*path, last] if is_key or (isinstance(tree, list | tuple) and isinstance(last, int)) else path


def _model_at(model: type[BaseModel], path: Keys) -> type[BaseModel]:
    """Return the class of the section at a path of keys, or at the last known key of the path."""
    for key in path:
        field = model.model_fields.get(str(key))
        inside = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return model


def _places(path: Sequence[str], tree: Mapping[str, Any]) -> list[str]:
    """Return the full keys, such as SECTION.KEY, that a user may have meant by an alias or an unknown top-level key."""
    key = ALIASES.get(path[-1], "")
    if key and ".".join(path) in (path[-1], f"{key.rpartition('.')[0]}.{path[-1]}"):
        return [key]
    if len(path) > 1:
        return []
    # Import difflib here, because its import is slow and only errors need it.
    import difflib

    sections = (("data", DataConfig), ("training", TrainingConfig))
    known = {f"{key}.{field}" for key, section in sections for field in section.model_fields}
    stated = recipe_fields({key: value for key, value in tree.items() if isinstance(value, Mapping)})
    places = {*known, *stated}
    names = {place.rpartition(".")[2] for place in places}
    likely = difflib.get_close_matches(cut(path[0]), {*names, *Recipe.model_fields}, n=1, cutoff=0.8)
    return sorted(place for place in places if place.rpartition(".")[2] in likely)[:_MOST_PLACES]
