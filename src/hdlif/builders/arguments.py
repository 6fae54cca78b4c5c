"""Names and arguments as they stand in a recipe: looked up and checked, so that an error names their key."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from hdlif.errors import RecipeError, did_you_mean

_T = TypeVar("_T")


def choose(table: Mapping[str, _T], name: object, key: str) -> _T:
    """What `table` has under `name`, which the recipe gives at `key`. Raises `RecipeError`."""
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f'{key} = "{name}" is unknown; {did_you_mean(str(name), table)}')
    return table[name]


def call(function: Callable[..., _T], section: str, arguments: Mapping[str, Any], **given: Any) -> _T:
    """Call with the arguments of a recipe's section, and with those given, which it may not set.

    What comes from the file as it stands (numbers, text, lists) must have the type that the function states.

    Raises:
        RecipeError: an argument is unknown, missing, of another type, or refused by the function.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    for name, value in arguments.items():
        if name not in parameters:
            choices = did_you_mean(name, parameters) if parameters else "it takes no arguments"
            raise RecipeError(f"{section}.{name} is unknown; {choices}")
        if isinstance(value, str | int | float | list | dict | None):
            _check_type(f"{section}.{name}", value, _annotation(function, name))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise RecipeError(f"{section}.{name} is missing; give it a value")
    try:
        return function(**arguments, **given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{section}: {error}") from error


def _annotation(function: Callable[..., Any], name: str) -> Any:
    stated = function.__init__ if inspect.isclass(function) else function
    return typing.get_type_hints(stated).get(name, Any)


def _check_type(key: str, value: object, annotation: Any) -> None:
    """Raise `RecipeError` unless `value` is of the type stated; types that pydantic cannot check pass."""
    try:
        # Lenient for sequences alone: a YAML list stands for any of them, and no text for a number.
        TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except PydanticSchemaGenerationError:
        return
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise RecipeError(f"{key} = {value!r} is refused; it {message.removeprefix('Input ')}") from None
