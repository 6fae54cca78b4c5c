"""A part of a recipe: one class per kind, whose fields are the keys of a section, and which builds from them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from hdlif.errors import HdlifError, RecipeError, first_line
from hdlif.recipe.faults import explain, worst


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


def field(default: Any, meaning: str, **limits: Any) -> Any:
    """Return a key of a section: its default (... if it has none), what it means, and limits of pydantic's `Field`."""
    return Field(default, description=meaning, **limits)


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
    KIND: ClassVar[str] = ""
    IS_OWN: ClassVar[bool] = False

    _section: str = PrivateAttr("")

    def __init_subclass__(cls, kind: str = "", makes: Callable[..., Any] | None = None, **others: Any) -> None:
        super().__init_subclass__(**others)
        if kind:
            cls.KIND = kind
        if makes is not None:
            cls.MAKES = staticmethod(makes)

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
        return called(self._section, function, {**self.arguments, **with_given}, is_own=self.IS_OWN)

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
            errors = error.errors()
            said = explain(cls, tree, errors, section, lambda model: model.key_names())
            raise RecipeError(said + cls._of_another_kind(section, tree, errors, others)) from None
        part._section = section
        return part

    @classmethod
    def _of_another_kind(
        cls, section: str, tree: Mapping[str, Any], errors: list[ErrorDetails], others: Callable[[], set[str]]
    ) -> str:
        """Return how to leave out a key that a change of kind has left; "" if it is none such."""
        first = worst(errors)
        if first["type"] != "extra_forbidden" or len(first["loc"]) > 1 or first["loc"][0] not in others():
            return ""
        required = any(field.is_required() for name, field in cls.model_fields.items() if name != "kind")
        whole = f'--set "{section}={{kind: {tree.get("kind")}{", ..." if required else ""}}}"'
        return f"; to leave out what is of another kind, set the section as a whole: {whole}"


class Part(Keys):
    """A section of one kind, whose name is `KIND`."""

    kind: str = ""


def takes(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function or class by name; none if Python does not know them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def called(section: str, function: Callable[..., Any], arguments: Mapping[str, Any], *, is_own: bool = False) -> Any:
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
        raise ValueError(f"should be a list: [{', '.join(part.strip() for part in value.split(','))}]")
    return [value]


_NAMES_SCHEMA = {
    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "pattern": r"^[^,]*[^,\s][^,]*$"}]
}
Names = Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_NAMES_SCHEMA)]
"""A list of names; a plain name stands for a list of one."""
