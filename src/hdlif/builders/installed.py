"""Parts that installed packages offer under plain names: entry points, which are imported when a recipe names them.

A package's metadata says under which name of which group it has which part:

    [project.entry-points."hdlif.neurons"]
    wave = "wave_neurons:Wave"

A name that ships is ours, whatever is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hdlif.builders.imported import imported, is_own, own_or_one_of
from hdlif.errors import RecipeError, cut

GROUPS: Mapping[str, str] = {
    "model.kind": "hdlif.models",
    "neuron.kind": "hdlif.neurons",
    "rule.kind": "hdlif.rules",
    "norm.kind": "hdlif.norms",
    "attention.kind": "hdlif.attentions",
    "weights.kind": "hdlif.weights",
    "spikes.kind": "hdlif.spikes",
    "activity.kind": "hdlif.activities",
    "training.optimizer.kind": "hdlif.optimizers",
    "training.schedule.kind": "hdlif.schedules",
    "data.augment": "hdlif.augmentations",
    "data.kind": "hdlif.data",
    "task.kind": "hdlif.tasks",
    "task.metrics": "hdlif.metrics",
}
"""Of entry points, by the key of a recipe that takes their names."""


@dataclass(frozen=True)
class Offer:
    """A part that an installed package offers.

    Attributes:
        place: `package.module:Name`, as the package states it.
        distribution: the package, by the name that it is installed by.
    """

    group: str
    name: str
    place: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def offers(group: str) -> dict[str, list[Offer]]:
    """What installed packages offer in a group, by name, sorted; nothing of them is imported."""
    found: dict[str, list[Offer]] = {}
    for offer in _all(tuple((place, _changed(place)) for place in sys.path)):
        if offer.group == group:
            found.setdefault(offer.name, []).append(offer)
    return found


def part(kind: str, key: str, ours: Collection[str]) -> Any:
    """The part that a kind stands for which is none of ours: `package.module:Name`, or a name of an entry point.

    Args:
        key: where the recipe has it.
        ours: the names that ship.
    Raises:
        RecipeError: there is none such, several packages offer one, or it cannot be imported.
    """
    if is_own(kind):
        return imported(kind, key)
    offer = chosen_offer(kind, key, ours)
    try:
        return imported(offer.place, key)
    except RecipeError as error:
        raise RecipeError(f'{key} = "{kind}" is of {offer}, which is broken: {error}') from error


def chosen_offer(kind: object, key: str, ours: Collection[str]) -> Offer:
    """What an installed package offers under a name that is none of ours. Raises `RecipeError`."""
    offered = offers(GROUPS[key]) if key in GROUPS else {}
    if not isinstance(kind, str) or kind not in offered:
        raise RecipeError(f'{key} = "{cut(str(kind))}" is unknown; {own_or_one_of(kind, {*ours, *offered})}')
    first, *others = offered[kind]
    if others:
        raise RecipeError(
            f'{key} = "{kind}" is offered by {" and by ".join(map(str, offered[kind]))}; uninstall all but one, or '
            f"name the part itself, such as {first.place}"
        )
    return first


def hidden(group: str, ours: Collection[str]) -> list[str]:
    """A line for each part of an installed package that is not had by its name, since that is one of ours."""
    return [
        f'"{offer.name}" of {offer} is not used: the name ships with hdlif, which wins; name it as {offer.place}'
        for name, offered in offers(group).items()
        if name in ours
        for offer in offered
    ]


def _changed(place: str) -> int:
    try:
        return os.stat(place or os.curdir).st_mtime_ns  # noqa: PTH116 - it says no to what is no path
    except (OSError, ValueError):
        return 0


@cache
def _all(_: tuple[tuple[str, int], ...]) -> list[Offer]:
    """All offers to us by the packages on these paths, as they were when the paths were changed last."""
    from importlib.metadata import distributions

    found: dict[tuple[str, str, str], Offer] = {}
    for distribution in distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group in GROUPS.values()]
            name, version = distribution.metadata["Name"], distribution.version
        except Exception:
            # What is damaged there is another package's.
            continue
        for entry in entries:
            place = "".join(entry.value.partition("[")[0].split())
            # What comes first on the path is what is imported.
            found.setdefault(
                (str(name), entry.group, entry.name), Offer(entry.group, entry.name, place, str(name), str(version))
            )
    return sorted(found.values(), key=lambda offer: (offer.group, offer.name, offer.distribution))
