"""The keys of a recipe whose names installed packages add to, and the names that ship of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hdlif.builders.activity import PENALTIES
from hdlif.builders.attention import ATTENTIONS
from hdlif.builders.augment import AUGMENTS
from hdlif.builders.found import FOUND
from hdlif.builders.imported import is_own
from hdlif.builders.installed import GROUPS, hidden
from hdlif.builders.metrics import METRICS, stated_metrics
from hdlif.builders.model import MODELS
from hdlif.builders.neuron import NEURONS
from hdlif.builders.norm import NORMS
from hdlif.builders.optimization import OPTIMIZERS, SCHEDULES
from hdlif.builders.rule import RULES
from hdlif.builders.shipped import DATA
from hdlif.builders.spikes import SPIKES
from hdlif.builders.task import TASKS
from hdlif.builders.weights import WEIGHTS
from hdlif.config import Recipe

KINDS: Mapping[str, Collection[str]] = {
    "model.kind": MODELS,
    "neuron.kind": NEURONS,
    "rule.kind": RULES,
    "norm.kind": NORMS,
    "attention.kind": ATTENTIONS,
    "weights.kind": WEIGHTS,
    "spikes.kind": SPIKES,
    "activity.kind": PENALTIES,
    "training.optimizer.kind": OPTIMIZERS,
    "training.schedule.kind": SCHEDULES,
    "data.augment": AUGMENTS,
    "data.kind": {*DATA, *FOUND},
    "task.kind": TASKS,
    "task.metrics": METRICS,
}
"""The names that ship, by key."""


def own_kinds(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The keys of a recipe that name a part which does not ship, and what they name."""
    for key, kind in _named(recipe.model_dump(mode="json"), ""):
        if is_own(kind) or (key in KINDS and kind not in KINDS[key]):
            yield key, kind


def hidden_kinds(recipe: Recipe) -> list[str]:
    """A line for each name of the recipe that an installed package offers too, without effect."""
    named = set(_named(recipe.model_dump(mode="json"), ""))
    return [
        f"{key} = {line}"
        for key, kind in sorted(named)
        if key in KINDS
        for line in hidden(GROUPS[key], {kind} & set(KINDS[key]))
    ]


def _named(section: dict[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """The names that choose a part, with their keys."""
    for name, value in section.items():
        place = f"{key}.{name}" if key else name
        if place == "task.metrics":
            for metric in stated_metrics({"metrics": value}):
                yield place, metric.kind
        elif place == "data.augment":
            for one in value:
                yield place, one["kind"] if isinstance(one, dict) else one
        elif isinstance(value, dict):
            yield from _named(value, place)
        elif name in ("kind", "of") and isinstance(value, str):
            yield place, value
