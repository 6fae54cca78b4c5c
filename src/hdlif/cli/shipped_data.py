"""Implement `hdlif data inspect NAME`, which inspects a shipped data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hdlif.cli.data_text import PARTS
from hdlif.data import DataSets, rows
from hdlif.errors import DataError, RecipeError, cut
from hdlif.recipe import builders, data_section
from hdlif.recipe.runs.recipe_data import data_keys
from hdlif.training.tasks import Regress

_TOGETHER = 256


def persistence(
    sets: DataSets, names: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...], ahead: int
) -> dict[str, float]:
    """Return test metrics for the last-value forecast x_{t+ahead} = x_t, in the original units.

    Args:
        sets: time series whose targets are their own channels, `ahead` steps later.
        names, mean, std: name, mean and standard deviation of each channel, which normalise the targets.
    """
    task = Regress(names, sets.shape[1], mean=mean, std=std, combine="each", ahead=ahead)
    scale, offset, target_scale, target_offset = map(torch.tensor, (sets.std, sets.mean, std, mean))
    tally = task.tally()
    for x, target in sets.shown_as(rows).of("test").sequences(_TOGETHER):
        tally((x.flatten(2) * scale + offset - target_offset) / target_scale, target)
    return dict(tally.evaluation().metrics)


VALIDATION = 100
"""Number of validation samples if data.validation is not set."""


def inspect_shipped(name: str, *, overrides: Sequence[str] = (), root: Path | None = None) -> dict[str, Any]:
    """Read or generate a shipped data set as in training, and describe its samples.

    Args:
        name: name of a shipped data set.
        overrides: "data.KEY=VALUE" each: the arguments of the set, and data.validation.
        root: the folder of data sets in files; the working folder by default.
    Returns:
        {"path", "kind", "samples_of", "arguments", "samples": {part: number}, "classes": {name: {part: number}} for one
        class per sample, "input", "time_steps" for time series}; for forecasting also "target": {"names", "mean",
        "std", "ahead"} and "persistence": {"rmse", "mae", "r2"} of the test part.
    Raises:
        RecipeError: an override sets a key that the set does not have, or has an invalid value.
        DataError: the set is missing or damaged, or contains events.
    """
    keys = data_keys(overrides)
    section = data_section(name, {"kind": name, "batch_size": 1, "validation": VALIDATION, **keys})
    if stray := keys.keys() - {"validation"} - section.arguments.keys():
        raise RecipeError(f"--set data.{cut(min(stray))} has no effect on a shipped data set; remove it")
    kind = builders.shipped_kind(name, section.arguments)
    if kind.events:
        raise DataError(f"{name}: contains event recordings, whose frames are made in training; inspect their folder")
    sets = kind.load(root, validation=section.validation, augment=(), seed=0)
    result: dict[str, Any] = {
        "path": name,
        "kind": name,
        "samples_of": kind.input.kind,
        "arguments": {key: section.arguments.get(key, value) for key, value in kind.defaults.items()},
        "samples": {part: len(getattr(sets, part)) for part in PARTS},
        "input": {"shape": list(kind.input.shape), "mean": list(sets.mean), "std": list(sets.std)},
    }
    if kind.series:
        result["time_steps"] = kind.input.shape[1]
    if kind.target == "class":
        counts = [torch.bincount(part.labels, minlength=len(kind.labels)).tolist() for part in sets.parts]
        result["classes"] = {
            label: dict(zip(PARTS, row, strict=True)) for label, *row in zip(kind.labels, *counts, strict=True)
        }
    else:
        result["target"] = {"names": list(kind.labels)}
    if kind.ahead:
        result["target"] |= {"mean": list(kind.target_mean), "std": list(kind.target_std), "ahead": kind.ahead}
        result["persistence"] = persistence(sets, kind.labels, kind.target_mean, kind.target_std, kind.ahead)
    return result
