"""A part of a recipe: one class per kind, whose fields are the keys of a section, and which builds from them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from hdlif.errors import HdlifError, RecipeError, brief, cut, did_you_mean, first_line


@dataclass(frozen=True)
class At:
    """A function or class of this package at "module:name", which is imported when it is called or got."""

    place: str

    def get(self) -> Any:
        """Import the function or class."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.get()(*args, **kwargs)


def nothing() -> None:
    """Make nothing: for kinds that turn a section off."""


class Keys(BaseModel):
    """A section of a recipe, or one inside it; its fields are the keys.

    Attributes:
        MAKES: called by `build` with the stated keys; by default it makes nothing.
        BESIDE: keys that are no arguments of `MAKES`.
        IS_OWN: whether it is the user's, which may fail in any way.
    """

    # Built on first use, for a recipe uses a dozen of the classes.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True, protected_namespaces=()
    )

    MAKES: ClassVar[Callable[..., Any]] = staticmethod(nothing)
    BESIDE: ClassVar[frozenset[str]] = frozenset()
    IS_OWN: ClassVar[bool] = False

    _section: str = PrivateAttr("")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `MAKES` that the recipe states; its own defaults stand for the others."""
        return {
            field.alias or name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set and name != "kind" and name not in self.BESIDE
        }

    def build(self, **given: Any) -> Any:
        """Call `MAKES` with the stated values, and with those of `given` that it takes.

        Raises:
            RecipeError: it refuses a value.
        """
        function = self.MAKES.get() if isinstance(self.MAKES, At) else self.MAKES
        with_given = {name: value for name, value in given.items() if name in takes(function)}
        return called(self._section, function, is_own=self.IS_OWN, **self.arguments, **with_given)

    @classmethod
    def key_names(cls) -> set[str]:
        """The keys of the section but for `kind`."""
        return {field.alias or name for name, field in cls.model_fields.items() if name != "kind"}

    @classmethod
    def read(cls, section: str, tree: Mapping[str, Any], *, others: Callable[[], set[str]] = set) -> Self:
        """Check a section's keys and values.

        Args:
            section: the key of the section in the recipe.
            others: gives the keys of its other kinds, for the error about one that a change of kind has left.
        Raises:
            RecipeError: a key is unknown, missing, or has a value of another type.
        """
        try:
            part = cls.model_validate(dict(tree))
        except ValidationError as error:
            raise RecipeError(_explained(cls, section, tree, error.errors(), others)) from None
        part._section = section
        return part


class Part(Keys):
    """A section of one kind."""

    kind: str


def takes(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function or class by name; none if Python does not know them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def called(section: str, function: Callable[..., Any], /, *, is_own: bool = False, **arguments: Any) -> Any:
    """Call a function with the values of a recipe's section. Raises `RecipeError` if it refuses one."""
    try:
        return function(**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise RecipeError(f"{section}: {first_line(error)}") from error
    except HdlifError:
        raise
    except Exception as error:
        if not is_own:
            raise
        raise RecipeError(f"{section}: {type(error).__name__}: {first_line(error)}") from error


def _as_list(value: Any) -> Any:
    """Return a plain name as a list of one."""
    if not isinstance(value, str) or not value.strip():
        return value
    if "," in value:
        raise ValueError(f"give a list: [{', '.join(part.strip() for part in value.split(','))}]")
    return [value]


_NAMES_SCHEMA = {
    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "pattern": r"^[^,]*[^,\s][^,]*$"}]
}
Names = Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_NAMES_SCHEMA)]
"""A list of names; a plain name stands for a list of one."""


def _explained(
    part: type[Keys],
    section: str,
    tree: Mapping[str, Any],
    errors: list[ErrorDetails],
    others: Callable[[], set[str]],
) -> str:
    """Explain the worst error in one line; an unknown key comes first, for it is often why another is missing."""
    worst = min(errors, key=lambda error: (error["type"] != "extra_forbidden", error["type"] != "missing"))
    path, value = _path(worst, tree)
    name, key = path[-1] if path else "", ".".join([section, *(cut(str(one)) for one in path)])
    model = _model_at(part, path[:-1])
    match worst["type"]:
        case "extra_forbidden":
            accepted = model.key_names()
            mend = did_you_mean(str(name), accepted) if accepted else "it takes no arguments"
            if model is part and name in others():
                required = any(field.is_required() for key, field in model.model_fields.items() if key != "kind")
                whole = f'--set "{section}={{kind: {tree.get("kind")}{", ..." if required else ""}}}"'
                mend += f"; to leave out what is of another kind, set the section as a whole: {whole}"
            return f"{key} is unknown; {mend}"
        case "missing":
            return f"{key} is missing; give it a value"
        case "literal_error" if isinstance(value, str):
            expected = sorted(one for one in _words(worst) if one)
            if expected and len([one for one in errors if _path(one, tree)[0][:1] == path[:1]]) == 1:
                return f'{key} = "{cut(value)}" is unknown; {did_you_mean(value, expected)}'
    wanted = dict.fromkeys(_wanted(one, tree) for one in errors if _path(one, tree)[0][:1] == path[:1])
    top = f"{section}.{cut(str(path[0]))}" if path else section
    seen = tree.get(path[0]) if path and isinstance(path[0], str) else tree
    return f"{top} = {brief(seen)} is refused; {', or '.join(wanted)}"


def _path(error: ErrorDetails, tree: Any) -> tuple[list[str | int], Any]:
    """Return the keys that lead to the value at fault, without pydantic's names of union branches, and the value."""
    path: list[str | int] = []
    *outer, last = error["loc"] or ("",)
    for part in outer:
        if (isinstance(tree, Mapping) and part in tree) or (isinstance(tree, list) and isinstance(part, int)):
            path.append(part)
            tree = tree[part]
    is_key = isinstance(tree, Mapping) and (last in tree or error["type"] == "missing")
    if is_key or (isinstance(tree, list) and isinstance(last, int)):
        path.append(last)
    return path, error["input"]


def _words(error: ErrorDetails) -> list[str]:
    """Return the words of a closed set: pydantic writes them as 'a', 'b' or 'c'."""
    return [word.strip("'") for word in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]


def _wanted(error: ErrorDetails, tree: Mapping[str, Any]) -> str:
    """Say what should stand there."""
    message = error["msg"].removeprefix("Value error, ")
    said = "should be a list" if "Sequence" in message else message.removeprefix("Input ")
    items = [part + 1 for part in _path(error, tree)[0] if isinstance(part, int)]
    if not said.startswith("should "):
        return said
    return f"item {items[-1]} of it {said}" if items else f"it {said}"


def _model_at(part: type[Keys], path: Sequence[str | int]) -> type[Keys]:
    """Return the class of a nested section."""
    for key in path:
        field = part.model_fields.get(str(key))
        inside = [one for one in (get_args(field.annotation) if field else ()) if isinstance(one, type)]
        part = next((one for one in inside if issubclass(one, Keys)), part)
    return part
