"""Names and arguments as they stand in a recipe: looked up and checked, so that an error names their key."""

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from hdlif.errors import RecipeError, brief, cut, did_you_mean

_T = TypeVar("_T")


def choose(table: Mapping[str, _T], name: object, key: str) -> _T:
    """What `table` has under `name`, which the recipe gives at `key`. Raises `RecipeError`."""
    if not isinstance(name, str) or name not in table:
        seen = cut(str(name))
        raise RecipeError(f'{key} = "{seen}" is unknown; {did_you_mean(seen, table)}')
    return table[name]


def call(
    function: Callable[..., _T],
    section: str,
    arguments: Mapping[str, Any],
    *,
    kind: str | None = None,
    others: Callable[[], Collection[str]] = set,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    beside: Collection[str] = (),
    **given: Any,
) -> _T:
    """Call with the arguments of a recipe's section, and with those given, which it may not set.

    Numbers, text and lists must have the type that the function states. What is a function or an object stands in a
    recipe as a name of its table; without a table it is no key of a recipe.

    Args:
        kind: of the section, where it has several.
        others: the keys that its other kinds take, for the error about one that a change of kind has left.
        tables: what names stand for, by argument.
        beside: keys of the section that are not arguments, for the error that lists what it takes.
    Raises:
        RecipeError: an argument is unknown, missing, of another type, or refused by the function.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    tables = {name: table for name, table in (tables or {}).items() if name in parameters}
    required = [name for name, p in parameters.items() if p.default is p.empty]
    hints = _hints(function)
    values = {}
    for name, value in arguments.items():
        key = f"{section}.{cut(name)}"
        if name in tables:
            values[name] = choose(tables[name], value, key)
        elif name in parameters and (check := _check(hints.get(name, Any))) is not None:
            values[name] = _checked(check, value, key)
        else:
            accepted = {*beside, *keys(function, tables=tables, given=given)}
            mend = did_you_mean(name, accepted) if accepted else "it takes no arguments"
            if name not in given and name in others():
                whole = f'--set "{section}={{kind: {kind}{", ..." if required else ""}}}"'
                mend += f"; to leave out what is of another kind, set the section as a whole: {whole}"
            raise RecipeError(f"{key} is unknown; {mend}")
    for name in required:
        if name not in arguments:
            raise RecipeError(f"{section}.{name} is missing; give it a value")
    try:
        return function(**values, **given)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise RecipeError(f"{section}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says on its first line, of torch's some have many more."""
    return cut((str(error).splitlines() or [type(error).__name__])[0], 300)


def keys(
    *functions: Callable[..., object], tables: Collection[str] = (), given: Collection[str] = ("time_steps",)
) -> set[str]:
    """The arguments of any of the functions that a recipe's section may set; those of `tables` stand there as names."""
    found = set()
    for function in functions:
        hints = _hints(function)
        for name in inspect.signature(function).parameters:
            if name not in given and (name in tables or _check(hints.get(name, Any)) is not None):
                found.add(name)
    return found


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)


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
        raise RecipeError(f"{key} = {brief(value)} is refused; it {message.removeprefix('Input ')}") from None
    return value
