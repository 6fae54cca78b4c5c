"""What a table keeps of every training: its figures, so that another table.json can stand for the run folders."""

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError

from hdlif.errors import InputError, cut, reason
from hdlif.recipe import Recipe
from hdlif.recipe.runs.summary import FINITE, MOST_SUMMARY, TrainResult, mean_and_std
from hdlif.whole_files import read_regular


@dataclass(frozen=True)
class TableRun:
    """The figures of one training of a cell.

    Attributes:
        seed: of the training.
        recipe: the digest of its recipe, everything stated: see `recipe_digest`.
        metric, value: the first figure of the task on the test set.
        accuracy: of a classification, in 0..1; None of another task.
        sops, nops: per sample; None of a network without a deployed form.
        firing_rate: the share of neurons that emit a spike.
        hardware: of the machine that trained.
        curve: accuracies after each step; those of the cell where the training was read from another table.
    """

    seed: int
    recipe: str
    metric: str
    value: float | None
    accuracy: float | None
    sops: float | None
    nops: float | None
    firing_rate: float
    parameters: int | None
    train_seconds: float | None
    peak_bytes: float | None
    stored_mb: float | None
    hardware: Mapping[str, Any]
    curve: Sequence[float] = field(default=(), repr=False)
    __pydantic_config__: ClassVar = FINITE

    def as_dict(self) -> dict[str, Any]:
        """As table.json has it; the curve is the cell's."""
        found = asdict(self)
        del found["curve"]
        return found


def recipe_digest(recipe: Recipe) -> str:
    """What two recipes share that say the same, everything stated: 16 hexadecimal digits.

    Of data that were looked at their content counts, and not the folder that they lie in.
    """
    stated = recipe.model_dump(mode="json")
    if stated["data"].get("found") is not None:
        stated["data"].pop("path", None)
    text = json.dumps(stated, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_of(result: TrainResult, recipe: Recipe) -> TableRun:
    """What a table keeps of a finished training of `recipe`."""
    metric, value = result.first_figure
    return TableRun(
        seed=recipe.seed,
        recipe=recipe_digest(recipe),
        metric=metric,
        value=value,
        accuracy=result.accuracy,
        sops=result.sops,
        nops=result.nops,
        firing_rate=firing_rate(result),
        parameters=result.parameters,
        train_seconds=result.train_seconds,
        peak_bytes=result.peak_bytes,
        stored_mb=result.stored_mb,
        hardware=result.hardware or {},
        curve=result.accuracy_per_step,
    )


def firing_rate(result: TrainResult) -> float:
    """The share of neurons that emit a spike, over all layers of a training's network, steps and counted images."""
    neurons = {neuron.name for neuron in result.neurons}
    layers = [layer for layer in result.layers if layer.name in neurons]
    sizes = [math.prod(layer.shape or ()) for layer in layers]
    spikes = sum(size * (layer.density or 0.0) for size, layer in zip(sizes, layers, strict=True))
    return float(spikes / sum(sizes))


def cell_of(runs: Sequence[TableRun]) -> dict[str, Any]:
    """What table.json says of a cell: means and standard deviations over its trainings, and these."""
    values = [run.value for run in runs]
    known = [value for value in values if value is not None]
    value, value_std = mean_and_std(known) if len(known) == len(values) else (None, None)
    found: dict[str, Any] = {"n": len(runs), "metric": runs[0].metric, "value": value, "value_std": value_std}
    accuracies = [run.accuracy for run in runs if run.accuracy is not None]
    if len(accuracies) == len(runs):
        mean, std = mean_and_std(accuracies)
        curves = [run.curve for run in runs]
        complete = all(curves) and len(set(map(len, curves))) == 1
        found |= {
            "accuracy": mean,
            "std": std,
            "accuracies": accuracies,
            "accuracy_per_step": [statistics.mean(step) for step in zip(*curves, strict=True)] if complete else [],
        }
    return found | {
        "sops": _mean(run.sops for run in runs),
        "nops": _mean(run.nops for run in runs),
        "firing_rate": statistics.mean(run.firing_rate for run in runs),
        "parameters": _mean(run.parameters for run in runs),
        "train_seconds": _mean(run.train_seconds for run in runs),
        # Of the first seed alone.
        "peak_bytes": _mean(run.peak_bytes for run in runs if run.peak_bytes is not None),
        "stored_mb": _mean(run.stored_mb for run in runs),
        "runs": [run.as_dict() for run in runs],
    }


def unlike(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the recipe alone decides and its trainings differ in, as those of different versions may; "" if nothing.

    Args:
        runs: of a cell, as table.json has them.
    """
    for name, key in {"parameters": "parameters", "NOPs": "nops"}.items():
        found = {value for run in runs if (value := run[key]) is not None}
        if len(found) > 1:
            return f"{name} ({' and '.join(f'{value:,.0f}' for value in sorted(found))})"
    return ""


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean; None where one is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return statistics.mean(known) if known and len(known) == len(found) else None


@dataclass(frozen=True)
class _ReadCell:
    runs: list[TableRun]
    accuracy_per_step: list[float] = field(default_factory=list)
    __pydantic_config__: ClassVar = FINITE


@dataclass(frozen=True)
class _ReadTable:
    rows: dict[str, dict[str, _ReadCell]]


_TABLE = TypeAdapter(_ReadTable)


def read_runs(path: Path) -> dict[tuple[str, str], list[TableRun]]:
    """The trainings that a table.json keeps, by row and column.

    Each has its cell's mean curve, so that the mean over all of them is the cell's.

    Raises:
        InputError: it is no table.json, or one of an earlier version, which kept no trainings.
    """
    wanted = "give a table.json that hdlif ablate has written"
    try:
        table = _TABLE.validate_json(read_regular(path, most=MOST_SUMMARY), strict=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; {wanted}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); {wanted}") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise InputError(
                f"{path}: is not JSON ({cut(first['msg'].removeprefix('Invalid JSON: '))}); {wanted}"
            ) from None
        place = cut(".".join(map(str, first["loc"]))) or "the file"
        raise InputError(f"{path}: {place}: {first['msg']}; {wanted}, with the runs of each cell") from None
    return {
        (row, column): [replace(run, curve=tuple(cell.accuracy_per_step)) for run in cell.runs]
        for row, columns in table.rows.items()
        for column, cell in columns.items()
    }
