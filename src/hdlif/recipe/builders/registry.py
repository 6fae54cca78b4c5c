"""The kinds of each section of a recipe: classes of shipped ones, and a derived class for each custom part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import create_model

from hdlif.config import Component, Recipe
from hdlif.errors import RecipeError, cut, did_you_mean
from hdlif.recipe.builders.external_parts import GROUPS, found_part, hidden, is_own
from hdlif.recipe.builders.part import Part

KINDS: dict[str, Collection[str]] = {}
"""Shipped names, by the same keys; each section adds its own."""

P = TypeVar("P", bound=Part)


class Section(Mapping[str, type[P]]):
    """The kinds of a section of a recipe.

    Args:
        key: of the section, such as "training.optimizer".
        kinds: classes of the shipped ones.
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
        """Check a section of a recipe; imports custom parts only. Raises `RecipeError`.

        Args:
            section: its key, if several sections share `key`.
        """
        part, tree = self.part(component.kind), {"kind": component.kind, **component.arguments}
        return part.read(section or self.key, tree, others=self.section_keys)

    def section_keys(self) -> set[str]:
        """Return the keys of all shipped kinds."""
        return {key for part in self.values() for key in part.key_names()}

    def part(self, kind: str) -> type[P]:
        """Return the class of a kind. Raises `RecipeError`."""
        if kind in self:
            return self[kind]
        if self.own is None:
            raise RecipeError(f'{self.name} = "{cut(kind)}" is unknown; {did_you_mean(kind, self)}')
        return self.own.derive(found_part(kind, self.name, self), self.name, kind, self.given)


def without_keys(base: type[P], meanings: Mapping[str, str], **values: Any) -> list[type[P]]:
    """Return a class for each kind with the keys of `base`, with its meaning and attributes."""
    made = []
    for kind, meaning in meanings.items():
        part = create_model(kind, __base__=base, __doc__=meaning, __cls_kwargs__={"kind": kind})
        for name, value in values.items():
            setattr(part, name, value)
        made.append(part)
    return made


def own_kinds(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Return the recipe keys that name parts which are not shipped, and the names."""
    for key, kind in _named(recipe.model_dump(mode="json"), ""):
        if is_own(kind) or (key in KINDS and kind not in KINDS[key]):
            yield key, kind


def hidden_kinds(recipe: Recipe) -> list[str]:
    """Return a line for each shipped name of the recipe that an installed package also offers, without effect."""
    named = set(_named(recipe.model_dump(mode="json"), ""))
    return [
        f"{key} = {line}"
        for key, kind in sorted(named)
        if key in KINDS
        for line in hidden(GROUPS[key], {kind} & set(KINDS[key]))
    ]


def _named(section: dict[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """Yield the names of parts, with their keys."""
    for name, value in section.items():
        place = f"{key}.{name}" if key else name
        if place in ("task.metrics", "data.augment"):
            for one in value:
                yield place, one["kind"] if isinstance(one, dict) else one
        elif isinstance(value, dict):
            yield from _named(value, place)
        elif name in ("kind", "of") and isinstance(value, str):
            yield place, value
