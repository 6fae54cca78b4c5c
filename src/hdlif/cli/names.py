"""Complete names in the shell without importing PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

import hdlif
from hdlif.zoo import network_names

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    # In older releases of click, this class takes no type argument.
    ParamType = click.ParamType

VARIABLE = "_HDLIF_COMPLETE"
"""Environment variable set by the script that `hdlif completion` prints."""


class Named(ParamType):
    """A parameter type for text, which the shell completes with names and optionally with files."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]], *, or_path: bool = False) -> None:
        self._names = names
        self._or_path = or_path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Return the completions, with files first, because bash discards all items that precede files."""
        files = [CompletionItem(incomplete, type="file")] if self._or_path else []
        return files + [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


def _yaml_of(folder: str) -> list[str]:
    return sorted(path.stem for path in Path(hdlif.__file__).with_name(folder).glob("*.yaml"))


def _data() -> list[str]:
    from hdlif.inputs.datasets import PUBLIC, SHIPPED

    return sorted({*SHIPPED, *PUBLIC})


def _public() -> Iterable[str]:
    from hdlif.inputs.datasets import PUBLIC

    return PUBLIC


def _neurons() -> Iterable[str]:
    from hdlif.recipe.builders import NEURONS

    return NEURONS


def _keys() -> Iterator[str]:
    """Yield the recipe keys whose values `--set` can replace, including keys within sections."""
    from hdlif.recipe import Component, Recipe

    for name, field in Recipe.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and hasattr(kind, "model_fields")):
            yield f"{name}="
            continue
        fields = kind.model_fields
        if issubclass(kind, Component):
            yield f"{name}="
        yield from (f"{name}.{key}=" for key in fields)


def _data_keys() -> Iterator[str]:
    return (key for key in _keys() if key.startswith("data."))


NETWORK = Named(network_names, or_path=True)
RECIPE = Named(lambda: _yaml_of("recipes"), or_path=True)
TABLE = Named(lambda: _yaml_of("ablations"), or_path=True)
DATA = Named(_data, or_path=True)
PUBLIC_SET = Named(_public)
NEURON = Named(_neurons)
KEY = Named(_keys)
DATA_KEY = Named(_data_keys)
