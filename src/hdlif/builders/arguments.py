"""Names and arguments as they stand in a recipe: looked up and checked, so that an error names their key."""

import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from hdlif.builders.imported import own_or_one_of
from hdlif.builders.installed import GROUPS, part
from hdlif.builders.places import PACKAGE, At, parameters
from hdlif.errors import HdlifError, RecipeError, brief, cut, did_you_mean, first_line

_T = TypeVar("_T")


def choose(table: Mapping[str, _T], name: object, key: str) -> _T:
    """What `table` has under `name`, which the recipe gives at `key`. Raises `RecipeError`."""
    if not isinstance(name, str) or name not in table:
        mend = own_or_one_of(name, table) if key in GROUPS else did_you_mean(cut(str(name)), table)
        raise RecipeError(f'{key} = "{cut(str(name))}" is unknown; {mend}')
    return table[name]


def chosen(table: Mapping[str, Callable[..., _T]], kind: str, key: str) -> Callable[..., _T]:
    """What makes a part: that of `table` under `kind`; or one's own, `package.module:Name` or an installed package's.

    Raises:
        RecipeError: there is no such part, it cannot be imported, or makes nothing.
    """
    if kind in table:
        return table[kind]
    found = part(kind, key, table)
    if not callable(found):
        raise RecipeError(f'{key} = "{kind}" is {brief(found)}; it must be a class or a function')
    return cast(Callable[..., _T], found)


@dataclass(frozen=True)
class Checked(Generic[_T]):
    """A function with arguments of a recipe's section, whose names and types are known to be good.

    Attributes:
        values: as they stand in the recipe.
        named: what makes the values that stand there as names.
        takes: which of the arguments that it may be given it takes; it is called without the others.
        is_own: whether it is the user's, which may fail in any way.
    """

    function: Callable[..., _T]
    section: str
    values: Mapping[str, Any]
    named: Mapping[str, Callable[[], Any]]
    takes: Collection[str]
    is_own: bool = False

    def __call__(self, **given: Any) -> _T:
        """Call it with these arguments and those given. Raises `RecipeError` where it refuses a value."""
        given = {name: value for name, value in given.items() if name in self.takes}
        try:
            named = {name: make() for name, make in self.named.items()}
            return self.function(**self.values, **named, **given)
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            raise RecipeError(f"{self.section}: {first_line(error)}") from error
        except HdlifError:
            raise
        except Exception as error:
            if not self.is_own:
                raise
            raise RecipeError(f"{self.section}: {type(error).__name__}: {first_line(error)}") from error


def checked(
    function: Callable[..., _T],
    section: str,
    arguments: Mapping[str, Any],
    *,
    kind: str | None = None,
    others: Callable[[], Collection[str]] = set,
    tables: Mapping[str, Mapping[str, Callable[[], Any]]] | None = None,
    beside: Collection[str] = (),
    given: Collection[str] = (),
) -> Checked[_T]:
    """A function with the arguments of a recipe's section, checked; neither it nor what it is made of is imported.

    Numbers, text and lists must have the type that the function states. What is a function or an object stands in a
    recipe as a name of its table; without a table it is no key of a recipe.

    Args:
        kind: of the section, where it has several.
        others: the keys that its other kinds take, for the error about one that a change of kind has left.
        tables: what makes that for which names stand, by argument.
        beside: keys of the section that are not arguments, for the error that lists what it takes.
        given: arguments that whoever calls it gives, and a recipe may not set.
    Raises:
        RecipeError: an argument is unknown, missing, or of another type.
    """
    all_taken = parameters(function)
    taken = {name: parameter for name, parameter in all_taken.items() if name not in given}
    tables = {name: table for name, table in (tables or {}).items() if name in taken}
    required = [name for name, parameter in taken.items() if parameter.required]
    values, named = {}, {}
    for name, value in arguments.items():
        key = f"{section}.{cut(name)}"
        if name in tables:
            named[name] = choose(tables[name], value, key)
        elif name in taken and (check := adapter(taken[name].annotation)) is not None:
            values[name] = _of_type(check, value, key)
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
    takes = [name for name in given if name in all_taken]
    return Checked(function, section, values, named, takes, _is_own(function))


def _is_own(function: Callable[..., object]) -> bool:
    """Whether it is none of this package's."""
    return not isinstance(function, At) and not (getattr(function, "__module__", None) or "").startswith(f"{PACKAGE}.")


def call(
    function: Callable[..., _T],
    section: str,
    arguments: Mapping[str, Any],
    *,
    kind: str | None = None,
    others: Callable[[], Collection[str]] = set,
    **given: Any,
) -> _T:
    """Call with the arguments of a recipe's section, as `checked` says, and with those given."""
    return checked(function, section, arguments, kind=kind, others=others, given=given)(**given)


def keys(
    *functions: Callable[..., object], tables: Collection[str] = (), given: Collection[str] = ("time_steps",)
) -> set[str]:
    """The arguments of any of the functions that a recipe's section may set; those of `tables` stand there as names."""
    return {
        name
        for function in functions
        for name, parameter in parameters(function).items()
        if name not in given and (name in tables or adapter(parameter.annotation) is not None)
    }


def adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """What checks values of this type; None where they are functions or objects, which no recipe can hold.

    Of a type such as int | Tensor it is the part that a recipe can.
    """
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    if any(typing.get_origin(a) is Callable for a in (typing.get_args(annotation) if union else [annotation])):
        return None
    try:
        # Lenient for sequences alone: a YAML list stands for any of them, and no text for a number.
        return TypeAdapter(annotation, config=ConfigDict(strict=True))
    except PydanticSchemaGenerationError:
        parts = [part for part in typing.get_args(annotation) if adapter(part) is not None] if union else []
        return adapter(typing.Union[tuple(parts)]) if set(parts) - {types.NoneType} else None  # noqa: UP007


def _of_type(check: TypeAdapter[Any], value: Any, key: str) -> Any:
    """`value` as it stands, a plain name as a list of one where a list is asked for.

    Raises:
        RecipeError: it is not of the type.
    """
    try:
        kept = check.validate_python(value)
        if isinstance(value, bool | float) and type(kept) is not type(value):
            # Of a closed set of integers 1 is a member, and to Python true and 1.0 equal it.
            check.validate_python(_NEITHER)
    except ValidationError as error:
        if isinstance(value, str) and value.strip() and takes_list_of_names(check):
            if "," not in value:
                return [value]
            listed = ", ".join(part.strip() for part in value.split(","))
            raise RecipeError(f"{key} = {brief(value)} is text; give a list: --set '{key}=[{listed}]'") from None
        wanted = ", or ".join(dict.fromkeys(_wanted(one["loc"], one["msg"]) for one in error.errors()))
        raise RecipeError(f"{key} = {brief(value)} is refused; {wanted}") from None
    return value


def _wanted(place: tuple[int | str, ...], message: str) -> str:
    """What should stand at a place of a value, of a message of pydantic's.

    >>> _wanted((), "Input should be 'mean'"), _wanted((1,), "Input should be a valid number")
    ("it should be 'mean'", 'item 2 of it should be a valid number')
    """
    said = "should be a list" if "Sequence" in message else message.removeprefix("Input ")
    items = [part + 1 for part in place if isinstance(part, int)]
    return f"item {items[-1]} of it {said}" if items else f"it {said}"


_NEITHER = object()
"""What is of no type that a recipe has."""


def takes_list_of_names(check: TypeAdapter[Any]) -> bool:
    """Whether a list of text is of this type, and text alone is not."""
    return _is_of_type(check, ["name"]) and not _is_of_type(check, "name")


def _is_of_type(check: TypeAdapter[Any], value: Any) -> bool:
    try:
        check.validate_python(value)
    except ValidationError:
        return False
    return True
