"""Names and arguments as they stand in a recipe: looked up and checked, so that an error names their key."""

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from hdlif.errors import RecipeError, did_you_mean

_T = TypeVar("_T")


def choose(table: Mapping[str, _T], name: object, key: str) -> _T:
    """What `table` has under `name`, which the recipe gives at `key`. Raises `RecipeError`."""
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f'{key} = "{name}" is unknown; {did_you_mean(str(name), table)}')
    return table[name]


def call(
    function: Callable[..., _T],
    section: str,
    arguments: Mapping[str, Any],
    *,
    kind: str | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    beside: Collection[str] = (),
    **given: Any,
) -> _T:
    """Call with the arguments of a recipe's section, and with those given, which it may not set.

    Numbers, text and lists must have the type that the function states. What is a function or an object stands in a
    recipe as a name of its table; without a table it is no key of a recipe.

    Args:
        kind: of the section, where it has one.
        tables: what names stand for, by argument.
        beside: keys of the section that are not arguments, for the error that lists what it takes.
    Raises:
        RecipeError: an argument is unknown, missing, of another type, or refused by the function.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    tables = {name: table for name, table in (tables or {}).items() if name in parameters}
    hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    values = {}
    for name, value in arguments.items():
        key = f"{section}.{name}"
        if name in tables:
            values[name] = choose(tables[name], value, key)
        elif name in parameters and (check := _check(hints.get(name, Any))) is not None:
            values[name] = _checked(check, value, key)
        else:
            keys = {*tables, *beside} | {p for p in parameters if _check(hints.get(p, Any)) is not None}
            raise RecipeError(f"{key} is unknown; {_mend(name, keys, section, kind)}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise RecipeError(f"{section}.{name} is missing; give it a value")
    try:
        return function(**values, **given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{section}: {error}") from error


def _mend(name: str, keys: Collection[str], section: str, kind: str | None) -> str:
    choices = did_you_mean(name, keys) if keys else "it takes no arguments"
    if kind is None or "did you mean" in choices:
        return choices
    whole = f'--set "{section}={{kind: {kind}}}"'
    return f"{choices}; to leave out what is of another kind, set the section as a whole: {whole}"


def _check(annotation: Any) -> TypeAdapter[Any] | None:
    """What checks values of this type; None where they are functions or objects, which no recipe can hold."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    if any(typing.get_origin(a) is Callable for a in (typing.get_args(annotation) if union else [annotation])):
        return None
    try:
        # Lenient for sequences alone: a YAML list stands for any of them, and no text for a number.
        return TypeAdapter(annotation, config=ConfigDict(strict=True))
    except PydanticSchemaGenerationError:
        return None


def _checked(check: TypeAdapter[Any], value: Any, key: str) -> Any:
    """`value` as it stands. Raises `RecipeError` unless it is of the type."""
    try:
        check.validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise RecipeError(f"{key} = {value!r} is refused; it {message.removeprefix('Input ')}") from None
    return value
