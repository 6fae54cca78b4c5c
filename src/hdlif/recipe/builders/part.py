"""Base classes for the parts of a recipe, and the kinds that each section accepts.

The fields of a class are the keys of the section. The class for a custom part is derived from the part's signature.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from hdlif.config import Component, Recipe
from hdlif.errors import HdlifError, RecipeError, brief, cut, did_you_mean, first_line
from hdlif.recipe.builders.external_parts import GROUPS, found_part, hidden, is_own
from hdlif.recipe.faults import explain, worst


@dataclass(frozen=True)
class At:
    """A function or class of this package at "module:name", which is imported on first use."""

    place: str

    def get(self) -> Any:
        """Import and return the function or class."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.get()(*args, **kwargs)


def nothing() -> None:
    """Return None, which is the object for kinds that disable a section."""


def field(default: Any, meaning: str, **limits: Any) -> Any:
    """Define a key of a section by its default (... if required), its meaning, and limits for Pydantic's `Field`."""
    return Field(default, description=meaning, **limits)


class Keys(BaseModel):
    """A section of a recipe, or a nested section; the fields of the class are the keys.

    Attributes:
        MAKES: function or class that `build` calls with the keys set in the recipe; the default returns None.
        BESIDE: keys that are not arguments of `MAKES`.
        IS_OWN: whether `MAKES` is custom code, which may raise any exception.
    """

    # Built on first use, because a recipe uses only a dozen of the classes.
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
        """Return the arguments of `MAKES` that the recipe sets; other arguments keep their defaults."""
        return {
            field.alias or name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set and name != "kind" and name not in self.BESIDE
        }

    def build(self, **given: Any) -> Any:
        """Call `MAKES` with the recipe's values and the values in `given` that it accepts. Raises `RecipeError`."""
        function = self.MAKES.get() if isinstance(self.MAKES, At) else self.MAKES
        with_given = {name: value for name, value in given.items() if name in takes(function)}
        return called(self._section, function, {**self.arguments, **with_given}, is_own=self.IS_OWN)

    @classmethod
    def key_names(cls) -> set[str]:
        """Return the keys of the section, except `kind`."""
        return {field.alias or name for name, field in cls.model_fields.items() if name != "kind"}

    @classmethod
    def read(cls, section: str, tree: Mapping[str, Any], *, others: Callable[[], set[str]] = set) -> Self:
        """Check the keys and values of a section. Raises `RecipeError`.

        Args:
            others: function that returns the keys of the other kinds, to detect a key left over from another kind.
        """
        try:
            part = cls.model_validate(dict(tree))
        except ValidationError as error:
            errors = error.errors()
            said, first = explain(cls, tree, errors, section, lambda model: model.key_names()), worst(errors)
            if first["type"] == "extra_forbidden" and len(first["loc"]) == 1 and first["loc"][0] in others():
                required = any(field.is_required() for name, field in cls.model_fields.items() if name != "kind")
                whole = f'--set "{section}={{kind: {tree.get("kind")}{", ..." if required else ""}}}"'
                said += f"; to remove keys of another kind, set the complete section: {whole}"
            raise RecipeError(said) from None
        part._section = section
        return part


class Part(Keys):
    """A section of the kind named `KIND`."""

    kind: str = ""

    @classmethod
    def derive(cls, function: Any, key: str, kind: str, given: Collection[str] = ()) -> type[Self]:
        """Derive the class of a part from the signature of a custom function or class.

        Args:
            key, kind: the recipe's key and its value.
            given: parameters that a recipe cannot set.
        """
        if not callable(function):
            raise RecipeError(f'{key} = "{kind}" is {brief(function)}; it must be a class or a function')
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            said = f"{first_line(error)}; it must be a class or a function of Python"
            raise RecipeError(f'{key} = "{kind}": {said}') from error
        fields: dict[str, Any] = {}
        for number, one in enumerate(parameters):
            if one.name in given or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                continue
            held = _held(_type_of(one.annotation, function.__module__))
            if held is None and one.default is not one.empty:
                continue
            # Arguments may have any name without hiding pydantic's methods.
            start = ... if one.default is one.empty else None
            fields[f"argument_{number}"] = (Any if held is None else held, Field(start, alias=one.name))
        derived = create_model("Own", __base__=cls, **fields)
        derived.MAKES, derived.IS_OWN = staticmethod(function), True
        return derived


KINDS: dict[str, Collection[str]] = {}
"""Shipped names, by the recipe key of their section; each section adds its own."""

P = TypeVar("P", bound=Part)


class Section(Mapping[str, type[P]]):
    """The kinds that a section of a recipe accepts.

    Args:
        key: key of the section, such as "training.optimizer".
        kinds: classes of the shipped kinds.
        own: base class of custom parts, if they are allowed.
        given: arguments passed to a part when it is built, which a recipe cannot set.
        name: the key that names a part, if it is not KEY.kind.
    """

    def __init__(
        self,
        key: str,
        *kinds: type[P],
        own: type[P] | None = None,
        given: Collection[str] = (),
        name: str | None = None,
    ) -> None:
        self.key, self.name, self.own, self.given = key, name or f"{key}.kind", own, given
        self._kinds = {one.KIND: one for one in kinds}
        if self.name in GROUPS:
            KINDS[self.name] = self

    def __getitem__(self, kind: str) -> type[P]:
        return self._kinds[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def read(self, component: Component, section: str = "") -> P:
        """Check a section of a recipe; only custom parts are imported. Raises `RecipeError`.

        Args:
            section: key of this section, if several sections share `key`.
        """
        part, tree = self.part(component.kind), {"kind": component.kind, **component.arguments}
        return part.read(section or self.key, tree, others=self.section_keys)

    def section_keys(self) -> set[str]:
        """Return the keys of all shipped kinds."""
        return {key for part in self.values() for key in part.key_names()}

    def part(self, kind: str) -> type[P]:
        """Return the class for a kind. Raises `RecipeError`."""
        if kind in self:
            return self[kind]
        if self.own is None:
            raise RecipeError(f'{self.name} = "{cut(kind)}" is unknown; {did_you_mean(kind, self)}')
        return self.own.derive(found_part(kind, self.name, self), self.name, kind, self.given)


def without_keys(base: type[P], meanings: Mapping[str, str], **values: Any) -> list[type[P]]:
    """Return one class per kind, with the keys of `base`, the meaning of the kind, and the given attributes."""
    made = []
    for kind, meaning in meanings.items():
        part = create_model(kind, __base__=base, __doc__=meaning, __cls_kwargs__={"kind": kind})
        for name, value in values.items():
            setattr(part, name, value)
        made.append(part)
    return made


def own_kinds(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the key and the name of each recipe part that is not shipped with hdlif."""
    for key, kind in _named(recipe.model_dump(mode="json"), ""):
        if is_own(kind) or (key in KINDS and kind not in KINDS[key]):
            yield key, kind


def hidden_kinds(recipe: Recipe) -> list[str]:
    """Return a line for each installed part that is hidden by a shipped part of the same name in the recipe."""
    named = set(_named(recipe.model_dump(mode="json"), ""))
    return [
        f"{key} = {line}"
        for key, kind in sorted(named)
        if key in KINDS
        for line in hidden(GROUPS[key], {kind} & set(KINDS[key]))
    ]


def _named(section: dict[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the name of each part in a section and its nested sections."""
    for name, value in section.items():
        place = f"{key}.{name}" if key else name
        if place in ("task.metrics", "data.augment"):
            for one in value:
                yield place, one["kind"] if isinstance(one, dict) else one
        elif isinstance(value, dict):
            yield from _named(value, place)
        elif name in ("kind", "of") and isinstance(value, str):
            yield place, value


def takes(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function or class, keyed by name, or {} if Python cannot inspect the parameters."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def called(section: str, function: Callable[..., Any], arguments: Mapping[str, Any], *, is_own: bool = False) -> Any:
    """Call a function with a section's keys as arguments. Raises `RecipeError` if the function rejects a value."""
    try:
        return function(**arguments)
    except Exception as error:
        refuses = isinstance(error, TypeError | ValueError | RuntimeError | ArithmeticError)
        if not refuses and (isinstance(error, HdlifError) or not is_own):
            raise
        said = first_line(error) if refuses else f"{type(error).__name__}: {first_line(error)}"
        raise RecipeError(f"{section}: {said}") from error


def _as_list(value: Any) -> Any:
    """Convert a single name to a list with one item."""
    if not isinstance(value, str) or not value.strip():
        return value
    if "," in value:
        raise ValueError(f"should be a list: [{', '.join(part.strip() for part in value.split(','))}]")
    return [value]


_NAMES_SCHEMA = {
    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "pattern": r"^[^,]*[^,\s][^,]*$"}]
}
Names = Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_NAMES_SCHEMA)]
"""A list of names; a single name stands for a list with one entry."""


class _Scope(dict[str, Any]):
    """A mapping of a module's names, with a placeholder class for names that are imported only for type checking."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, _Unknown)


class _Unknown:
    """A placeholder for a class that is not imported."""


def _type_of(annotation: Any, module: str) -> Any:
    """Return the type of an annotation, or `_Unknown` if the annotation cannot be evaluated."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, {}, _Scope(vars(sys.modules[module])))
    except Exception:
        return _Unknown


def _held(annotation: Any) -> Any:
    """Return the part of a type annotation that is valid in a recipe, such as int for `int | Tensor`, or None."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(annotation) if is_union else (annotation,)
    if any(typing.get_origin(one) is typing.get_origin(Callable[..., Any]) for one in members):
        return None
    try:
        adapter = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        held = [one for one in members if is_union and _held(one) is not None]
        return typing.Union[tuple(held)] if set(held) - {types.NoneType} else None  # noqa: UP007
    return Names if _is_of(adapter, ["name"]) and not _is_of(adapter, "name") else annotation


def _is_of(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValueError:
        return False
    return True
