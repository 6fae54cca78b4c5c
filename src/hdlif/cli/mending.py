"""What mends a command line: the form of --set for what was given as an option, and the kinds of a section."""

import re
from collections.abc import Sequence

import click

from hdlif.cli.names import DATA_KEY, KEY


def form_that_works(error: click.NoSuchOption, words: Sequence[str]) -> str:
    """The --set that an unknown option stands for; "" where it is no key, or the subcommand sets none.

    Args:
        words: of the command line.
    """
    types = [] if error.ctx is None else [parameter.type for parameter in error.ctx.command.params]
    keys = [key for key in _keys(error.option_name.lstrip("-").replace("-", "_")) if KEY in types or _is_of_data(key)]
    if not keys or not (KEY in types or DATA_KEY in types):
        return ""
    value = _value(error.option_name, words) or "VALUE"
    return "A recipe's values are set by " + " or ".join(_assignment(key, value) for key in keys) + "."


def kinds_of(section: str | None) -> str:
    """The end of an error about a section of a recipe that is none: the names it may have."""
    from hdlif.recipe.builders.registry import KINDS

    names = KINDS.get(f"{section}.kind")
    return f"; kind is one of {', '.join(sorted(names))}" if names else ""


def _keys(name: str) -> list[str]:
    """The keys of a recipe whose last part is `name`; a section has none but its own."""
    from hdlif.recipe import ALIASES, Recipe
    from hdlif.recipe.builders.schema import KEYS as MEANINGS

    name = ALIASES.get(name, name)
    if "." in name or name in Recipe.model_fields:
        return [name]
    inside = {f"{key}.{field}" for key in ("data", "training") for field in _fields(key)}
    inside |= {key for key in MEANINGS if key.count(".") == 1}
    return sorted(key for key in inside if key.partition(".")[2] == name and name != "kind")


def _fields(section: str) -> Sequence[str]:
    from hdlif.recipe import Recipe

    kind = Recipe.model_fields[section].annotation
    return list(getattr(kind, "model_fields", ()))


def _assignment(key: str, value: str) -> str:
    from hdlif.recipe import Component, Recipe

    annotation = Recipe.model_fields[key].annotation if key in Recipe.model_fields else None
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return f'--set "{key}={{kind: {value}}}"'
    return f"--set {key}={value}"


def _is_of_data(key: str) -> bool:
    return key.startswith("data.")


def _value(option: str, words: Sequence[str]) -> str | None:
    """What stands behind an option, if it may be a value as it is."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if name == option and re.fullmatch(r"[\w.][\w.:/+-]{,59}", value):
            return value
    return None
