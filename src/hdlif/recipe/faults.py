"""Errors of a recipe's keys and values, in one line each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hdlif.errors import cut, did_you_mean
from hdlif.recipe.config import Component, DataConfig, Recipe, TrainingConfig
from hdlif.recipe.plain_yaml import shown

ALIASES: Mapping[str, str] = {
    "T": "time_steps",
    "batch": "data.batch_size",
    "bs": "data.batch_size",
    "lr": "training.learning_rate",
    "wd": "training.weight_decay",
}
"""Other names of keys, for the error that names the key; a recipe takes none of them."""


def recipe_fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested mappings by its whole key.

    >>> recipe_fields({"seed": 1, "neuron": {"kind": "lif"}})
    {'seed': 1, 'neuron.kind': 'lif'}
    """
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields |= recipe_fields(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return fields


def worst(errors: list[ErrorDetails]) -> ErrorDetails:
    """The first error; an unknown key comes first, for it is often why another is missing."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def explain(errors: list[ErrorDetails], tree: Mapping[str, Any]) -> str:
    """One line on the worst error of a recipe's tree."""
    first = worst(errors)
    location = [str(part) for part in first["loc"]]
    if location[:2] == ["data", "augment"]:
        # data, augment, 0, "part" (how it is written), "strength", and JSON's types
        location = location[:3] + location[4:5] + location[6::2]
    section = _section(location)
    if section is Component or (section is DataConfig and location[1] not in DataConfig.model_fields):
        # pydantic tags each level of a JSON value with its type: model, blocks, "list", 0, "float".
        location = location[:2] + location[3::2]
    key = cut(".".join(location))
    seen = f"{key} = {shown(first['input'])}"
    match first["type"]:
        case "extra_forbidden" if places := _places(location, tree):
            return f"{seen} is unknown; did you mean {' or '.join(places)}?"
        case "model_type" if _section([*location, ""]) is Component:
            given = first["input"]
            kind = given if isinstance(given, str) and re.fullmatch(r"\w{1,40}", given, re.ASCII) else "NAME"
            section_of = f'{key}: {{kind: {kind}}} in a file, --set "{key}={{kind: {kind}}}" in a shell'
            return f"{seen} is refused; it should be a section, for example {section_of}"
        case "model_type":
            return f"{seen} is refused; it should be a section of keys and values"
        case "tuple_type":
            return f"{seen} is refused; it should be a list, for example [flip, shift]"
        case "invalid-json-value":
            return f"{seen} is refused; it should be text, a number, true, false, null, a list or a mapping"
        case _:
            return explained(
                first, key, section.model_fields, whole="`hdlif recipes show digits_hdlif` prints a complete recipe"
            )


def explained(first: ErrorDetails, key: str, keys: Iterable[str], *, whole: str) -> str:
    """One line on an error of a tree of keys and values, as far as it is told by its type.

    Args:
        key: the whole key at fault.
        keys: those that are known where it stands.
        whole: where a tree that lacks none is to be seen.
    """
    seen, message = f"{key} = {shown(first['input'])}", first["msg"]
    match first["type"]:
        case "extra_forbidden":
            return f"{seen} is unknown; {did_you_mean(str(first['loc'][-1]), keys)}"
        case "missing":
            return f"{key} is missing; {whole}"
        case "value_error":
            said = message.removeprefix("Value error, ")
            return f"{seen} is refused; it {said}" if said.startswith("should ") else said
        case _:
            return f"{seen} is refused; it should {message.partition(' should ')[2]}"


def no_section(error: ErrorDetails) -> str | None:
    """The key of a part that is given without its section."""
    location = [str(part) for part in error["loc"]]
    return ".".join(location) if error["type"] == "model_type" and _section([*location, ""]) is Component else None


def _places(location: Sequence[str], tree: Mapping[str, Any]) -> list[str]:
    """The keys that an alias means, or inside sections one which stands beside the sections and is unknown there."""
    key = ALIASES.get(location[-1], "")
    if key and ".".join(location) in (location[-1], f"{key.rpartition('.')[0]}.{location[-1]}"):
        return [key]
    if len(location) > 1:
        return []
    # imported here, for it takes longer than a good run's other imports from the standard library
    import difflib

    sections = (("data", DataConfig), ("training", TrainingConfig))
    known = {f"{key}.{field}" for key, section in sections for field in section.model_fields}
    stated = recipe_fields({key: value for key, value in tree.items() if isinstance(value, Mapping)})
    places = {*known, *stated}
    names = {place.rpartition(".")[2] for place in places}
    likely = difflib.get_close_matches(cut(location[0]), {*names, *Recipe.model_fields}, n=1, cutoff=0.8)
    return sorted(place for place in places if place.rpartition(".")[2] in likely)[:_MOST_PLACES]


_MOST_PLACES = 5
"""That an error names."""


def _section(location: Sequence[str]) -> type[BaseModel]:
    """The section that holds the last key of `location`; of one inside a `Component`, that."""
    section: type[BaseModel] = Recipe
    for key in location[:-1]:
        if key in section.model_fields:
            annotation = section.model_fields[key].annotation
            found = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
            section = found[0] if found else section
    return section
