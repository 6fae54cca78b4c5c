"""External parts in recipes: custom parts at `package.module:Name`, and parts from installed packages.

A package registers a part as an entry point, which hdlif imports when a recipe uses the part:

    [project.entry-points."hdlif.neurons"]
    wave = "wave_neurons:Wave"

Names of shipped parts take precedence over entry points.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hdlif.errors import RecipeError, cut, did_you_mean

PACKAGE = "hdlif"
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
"""Entry-point group for each recipe key that accepts parts of installed packages."""


def is_own(name: object) -> bool:
    """Return whether a name in a recipe refers to a custom part, `package.module:Name`."""
    return isinstance(name, str) and ":" in name


def own_or_one_of(name: object, accepted: Collection[str]) -> str:
    """Return the end of an error message about an unknown name, which suggests a fix.

    >>> own_or_one_of("my_models.TinyNet", ["dense"]), own_or_one_of("dens", ["dense"])
    ('write my_models:TinyNet', 'choose one of dense (did you mean "dense"?)')
    """
    seen = cut(str(name))
    module, dot, attribute = seen.rpartition(".")
    if dot and all(part.isidentifier() for part in (*module.split("."), attribute)):
        return f"write {module}:{attribute}"
    return did_you_mean(seen, accepted)


def imported(name: str, key: str) -> Any:
    """Import `package.module:Name`, the value of `key` in a recipe. Raises `RecipeError`.

    Python searches the working folder last, so files in the folder cannot hide installed packages.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise RecipeError(f'{key} = "{cut(name)}" is not the name of a part; write package.module:Name')
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise RecipeError(f'{key} = "{name}": importing {module_name} failed: {error}') from error
        place = f"run where {module_name.split('.')[0]}.py is (this is {folder}), or install it"
        seen = f'{key} = "{name}": there is no module {error.name}'
        raise RecipeError(f"{seen}; {place}{_likely_module(error.name)}") from error
    except Exception as error:
        raise RecipeError(f'{key} = "{name}": importing {module_name} failed: {cut(str(error), 300)}') from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RecipeError(f'{key} = "{name}": {module_name} has no {part}; {_defined(found, module_name, part)}')
        found = getattr(found, part)
    return found


def _likely_module(missing: str) -> str:
    """Suggest the installed module with the most similar name, or return "" if no name is similar."""
    # Import lazily, as in did_you_mean.
    import difflib

    package, dot, last = missing.rpartition(".")
    places = getattr(sys.modules[package], "__path__", ()) if package else None
    likely = difflib.get_close_matches(last, [one.name for one in pkgutil.iter_modules(places)], n=1)
    return f' (did you mean "{package}{dot}{likely[0]}"?)' if likely else ""


def _defined(place: Any, module: str, missing: str) -> str:
    """Return the end of an error message that lists the names defined in a module, package or class."""
    names = [name for name in vars(place) if not name.startswith("_")]
    if inspect.ismodule(place):
        own = f"{place.__name__}."
        names = [name for name in names if f"{getattr(vars(place)[name], '__module__', None)}.".startswith(own)]
    if not names:
        return f"{module} defines no class or function; write one there"
    return f"it has {did_you_mean(missing, names).removeprefix('choose one of ')}"


@dataclass(frozen=True)
class Offer:
    """A part that an installed distribution provides at `package.module:Name`."""

    group: str
    name: str
    place: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def offers(group: str) -> dict[str, list[Offer]]:
    """Return the parts that installed packages offer in a group, sorted by name, without importing them."""
    found: dict[str, list[Offer]] = {}
    for offer in _all(tuple((place, _changed(place)) for place in sys.path)):
        if offer.group == group:
            found.setdefault(offer.name, []).append(offer)
    return found


def found_part(kind: str, key: str, ours: Collection[str]) -> Any:
    """Import the part for a kind that is not in `ours`: either `package.module:Name` or an entry point's name.

    Raises:
        RecipeError: the part does not exist, several packages offer it, or it cannot be imported.
    """
    if is_own(kind):
        return imported(kind, key)
    offer = chosen_offer(kind, key, ours)
    try:
        return imported(offer.place, key)
    except RecipeError as error:
        raise RecipeError(f'{key} = "{kind}" comes from {offer}, which is broken: {error}') from error


def chosen_offer(kind: object, key: str, ours: Collection[str]) -> Offer:
    """Return the part that an installed package offers under a name that is not shipped. Raises `RecipeError`."""
    offered = offers(GROUPS[key]) if key in GROUPS else {}
    if not isinstance(kind, str) or kind not in offered:
        raise RecipeError(f'{key} = "{cut(str(kind))}" is unknown; {own_or_one_of(kind, {*ours, *offered})}')
    first, *others = offered[kind]
    if others:
        seen = f'{key} = "{kind}" is offered by {" and by ".join(map(str, offered[kind]))}'
        raise RecipeError(f"{seen}; uninstall all but one, or give the full name of the part, such as {first.place}")
    return first


def hidden(group: str, ours: Collection[str]) -> list[str]:
    """Return a line for each installed part that is hidden by a shipped part of the same name."""
    return [
        f'"{offer.name}" of {offer} is not used: a part of hdlif has the same name; refer to it as {offer.place}'
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
    """Return all parts that installed packages offer; the result is cached until a folder on Python's path changes."""
    from importlib.metadata import distributions

    found: dict[tuple[str, str, str], Offer] = {}
    for distribution in distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group in GROUPS.values()]
            name, version = distribution.metadata["Name"], distribution.version
        except Exception:
            # Damaged packages are skipped.
            continue
        for entry in entries:
            place = "".join(entry.value.partition("[")[0].split())
            # Python imports the first package of a name on the path.
            offer = Offer(entry.group, entry.name, place, str(name), str(version))
            found.setdefault((str(name), entry.group, entry.name), offer)
    return sorted(found.values(), key=lambda offer: (offer.group, offer.name, offer.distribution))
