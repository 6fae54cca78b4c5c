"""`hdlif data inspect NAME`: what a data set that ships holds, and of generated ones what its arguments make of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hdlif.commands.tables import aligned
from hdlif.data import ImageSets, rows
from hdlif.errors import DataError, RecipeError, cut
from hdlif.recipe import builders, data_section
from hdlif.recipe.runs.recipe_data import data_keys
from hdlif.report.persistence import persistence
from hdlif.training.tasks import Regress

VALIDATION = 100
"""Samples that are held out where data.validation does not say."""
_PARTS = ("train", "validation", "test")


def inspect_shipped(name: str, *, overrides: Sequence[str] = (), root: Path | None = None) -> dict[str, Any]:
    """Read or make a set of images, series or rows as a training would.

    Args:
        name: of a set that ships.
        overrides: "data.KEY=VALUE" each: its arguments, and data.validation.
        root: the folder of sets that are files; the working folder by default.
    Returns:
        {"path", "kind", "samples_of", "arguments", "samples": {part: number}, "classes": {name: {part: number}} where
        one class of a sample is learned, "input", "time_steps" of series}; "target": {"names", "mean", "std", "ahead"}
        and "persistence": {"rmse", "mae", "r2"} of the test part, where its next values are learned.
    Raises:
        RecipeError: an override is of no key that the set has, or has a value that none can have.
        DataError: the set is absent or damaged, or of events.
    """
    keys = data_keys(overrides)
    section = data_section(name, {"kind": name, "batch_size": 1, "validation": VALIDATION, **keys})
    if stray := keys.keys() - {"validation"} - section.arguments.keys():
        raise RecipeError(f"--set data.{cut(min(stray))} changes nothing of what a set that ships holds; leave it out")
    kind = builders.shipped_kind(name, section.arguments)
    if kind.events:
        raise DataError(f"{name}: is of recordings of events, whose frames a training makes; inspect their folder")
    sets = kind.load(root, validation=section.validation, augment=(), seed=0)
    result: dict[str, Any] = {
        "path": name,
        "kind": name,
        "samples_of": kind.input.kind,
        "arguments": {key: section.arguments.get(key, value) for key, value in kind.defaults.items()},
        "samples": {part: len(getattr(sets, part)) for part in _PARTS},
        "input": {"shape": list(kind.input.shape), "mean": list(sets.mean), "std": list(sets.std)},
    }
    if kind.series:
        result["time_steps"] = kind.input.shape[1]
    if kind.target == "class":
        counts = [torch.bincount(part.labels, minlength=len(kind.labels)).tolist() for part in sets.parts]
        result["classes"] = {
            label: dict(zip(_PARTS, row, strict=True)) for label, *row in zip(kind.labels, *counts, strict=True)
        }
    else:
        result["target"] = {"names": list(kind.labels)}
    if kind.ahead:
        result["target"] |= {"mean": list(kind.target_mean), "std": list(kind.target_std), "ahead": kind.ahead}
        result["persistence"] = persistence_of(sets, kind.labels, kind.target_mean, kind.target_std, kind.ahead)
    return result


def persistence_of(
    sets: ImageSets, names: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...], ahead: int
) -> dict[str, float]:
    """What forecasting the last value does on the test part of series whose next values are learned."""
    steps = sets.shape[1]
    task = Regress(names, steps, mean=mean, std=std, combine="each", ahead=ahead)
    return dict(persistence(sets.shown_as(rows), task).metrics)


def shipped_as_text(result: dict[str, Any]) -> str:
    """What a person reads of it."""
    arguments = ", ".join(f"{key} {value}" for key, value in result["arguments"].items())
    samples = {"all": result["samples"]}
    counts = {**result.get("classes", {}), **samples}
    table = [[cut(name), *(str(parts[part]) for part in _PARTS)] for name, parts in counts.items()]
    mean, std = (", ".join(f"{value:.4g}" for value in result["input"][key]) for key in ("mean", "std"))
    return "\n".join(
        [
            f"{result['path']}: {_SAID[result['samples_of']]}" + (f", {arguments}" if arguments else ""),
            "",
            aligned(["class" if "classes" in result else "", *_PARTS], table),
            "",
            _trained_on(result),
            f"mean           {mean}",
            f"deviation      {std}",
            *([f"learned        {cut(', '.join(result['target']['names']), 200)}"] if "target" in result else []),
            *persistence_lines(result),
        ]
    )


_SAID = {"image": "pictures", "series": "series", "table": "rows of a table"}


def _trained_on(result: dict[str, Any]) -> str:
    shape = result["input"]["shape"]
    if result["samples_of"] == "image":
        return f"trained on     {'x'.join(map(str, shape))}"
    seen = f"{shape[0]} number{'s' * (shape[0] != 1)}"
    if result["samples_of"] == "table":
        return f"trained on     each step sees the same {seen}"
    return f"trained on     a step sees {seen}, that time's alone: time_steps={result['time_steps']}"


def persistence_lines(result: dict[str, Any]) -> list[str]:
    """A line on the forecast by the last value, where there is one."""
    if "persistence" not in result:
        return []
    figures = ", ".join(f"{key} {value:.4g}" for key, value in result["persistence"].items())
    ahead = result["target"]["ahead"]
    later = f"{ahead} step{'s' * (ahead != 1)} later"
    return [f"persistence    {figures}: of the test part, what was last seen for what comes {later}"]
