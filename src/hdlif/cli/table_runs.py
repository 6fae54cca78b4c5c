"""Read and write the results of training runs in table.json."""

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError

from hdlif.cli.seeds import Spread
from hdlif.errors import InputError, cut, reason
from hdlif.recipe import Recipe
from hdlif.recipe.runs.summary import FINITE, MOST_SUMMARY, TrainResult
from hdlif.whole_files import read_regular


@dataclass(frozen=True)
class TableRun:
    """The metrics of one training run, for one cell of a table.

    Attributes:
        seed: the seed of the run.
        recipe: the digest of the recipe; see `recipe_digest`.
        metric, value: the main metric of the task on the test set.
        accuracy: a fraction in 0..1; None for tasks other than classification.
        sops, nops: operations per sample; None for a network without a deployed form.
        firing_rate: fraction of neurons that emit a spike.
        hardware: the hardware of the run.
        curve: accuracies after each step; the cell's mean if the run comes from another table.
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
        """Return the run's entry in table.json, which omits the curve."""
        found = asdict(self)
        del found["curve"]
        return found


def recipe_digest(recipe: Recipe) -> str:
    """Return a digest of 16 hexadecimal digits, which is identical for equivalent recipes.

    For the user's own data, the digest depends on the content of the data, not on the path.
    """
    stated = recipe.model_dump(mode="json")
    if stated["data"].get("found") is not None:
        stated["data"].pop("path", None)
    text = json.dumps(stated, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_of(result: TrainResult, recipe: Recipe) -> TableRun:
    """Return the metrics of a finished training run."""
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
    """Return the fraction of neurons that emit a spike, averaged over time steps and images."""
    neurons = {neuron.name for neuron in result.neurons}
    layers = [layer for layer in result.layers if layer.name in neurons]
    sizes = [math.prod(layer.shape or ()) for layer in layers]
    spikes = sum(size * (layer.density or 0.0) for size, layer in zip(sizes, layers, strict=True))
    return float(spikes / sum(sizes))


def cell_of(runs: Sequence[TableRun]) -> dict[str, Any]:
    """Return a cell of table.json, with its runs and their means and standard deviations."""
    value, accuracy = Spread.of([run.value for run in runs]), Spread.of([run.accuracy for run in runs])
    found: dict[str, Any] = {"n": len(runs), "metric": runs[0].metric, "value": value.mean, "value_std": value.std}
    if accuracy.mean is not None:
        curves = [run.curve for run in runs]
        complete = all(curves) and len(set(map(len, curves))) == 1
        found |= {
            "accuracy": accuracy.mean,
            "std": accuracy.std,
            "accuracies": list(accuracy.values),
            "accuracy_per_step": [statistics.mean(step) for step in zip(*curves, strict=True)] if complete else [],
        }
    return found | {
        "sops": Spread.of([run.sops for run in runs]).mean,
        "nops": Spread.of([run.nops for run in runs]).mean,
        "firing_rate": statistics.mean(run.firing_rate for run in runs),
        "parameters": Spread.of([run.parameters for run in runs]).mean,
        "train_seconds": Spread.of([run.train_seconds for run in runs]).mean,
        # Only the first seed has this figure.
        "peak_bytes": Spread.of([run.peak_bytes for run in runs if run.peak_bytes is not None]).mean,
        "stored_mb": Spread.of([run.stored_mb for run in runs]).mean,
        "runs": [run.as_dict() for run in runs],
    }


def unlike(runs: Sequence[Mapping[str, Any]]) -> str:
    """Describe a quantity that depends only on the recipe but differs between runs, or return "" if there is none.

    Args:
        runs: the runs of a cell, as in table.json.
    """
    for name, key in {"parameters": "parameters", "NOPs": "nops"}.items():
        found = {value for run in runs if (value := run[key]) is not None}
        if len(found) > 1:
            return f"{name} ({' and '.join(f'{value:,.0f}' for value in sorted(found))})"
    return ""


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
    """Return the training runs in a table.json file, grouped by row and column.

    The file contains only the mean accuracy curve of each cell. Each run of a cell gets this curve, so the mean over
    its runs is unchanged.

    Raises:
        InputError: the file is not a table.json, or is from an earlier version without runs.
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
