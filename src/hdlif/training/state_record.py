"""Validate the record of a training state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

# Before Python 3.12, pydantic rejects typing.TypedDict.
from typing_extensions import TypedDict

from hdlif.errors import CheckpointError, brief

Number = Annotated[int, Field(ge=0, lt=2**63)]
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


@dataclass
class Counters:
    """The position of a training run. Together with the weights and momenta, it is the run's complete state."""

    epoch: Number = 0
    """Completed epochs."""
    batch: Number = 0
    """Completed batches of the current epoch."""
    step: Number = 0
    """Completed batches of the entire run."""
    window: Number = 0
    """Batches since the last training event; `loss`, `correct` and `answers` are sums over these batches."""
    loss: float = 0.0
    correct: Number = 0
    answers: Number = 0
    """Number of predictions; `correct` is the number of correct ones."""
    train_seconds: Annotated[float, Field(ge=0)] = 0.0
    best_epoch: Number = 0
    best_score: float | None = None
    """Score of the best epoch; None if there is no score, or if the metric is not a number."""
    best_loss: float = 0.0
    score_epoch: Number = 0
    """First epoch with the best score."""
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    best_per_step: tuple[float, ...] = ()


@with_config(_STRICT)
class _State(TypedDict):
    counters: Counters
    # State of each callback, by name; callbacks validate their own state.
    callbacks: dict[str, dict[str, Any]]
    # The loss scale of float16 training; empty in other precisions.
    precision: dict[str, Annotated[float, Field(ge=0)]]
    # States of earlier versions have no counts.
    skipped_updates: NotRequired[Number]
    # Validation losses with which a scheduler of torch was stepped.
    scheduled_losses: NotRequired[list[float]]
    # For streams only.
    stream_steps: NotRequired[Number]
    threads: NotRequired[Annotated[int, Field(ge=1)] | None]


_STATE = TypeAdapter(_State)


def counters_of(record: Mapping[str, Any], path: Path) -> Counters:
    """Validate a checkpoint's record and return its counters.

    Raises:
        CheckpointError: the record does not describe a training state.
    """
    counters = record.get("counters")
    if not isinstance(counters, dict) or counters.keys() != Counters.__dataclass_fields__.keys():
        raise CheckpointError(f"{path}: is not a training state of this version of hdlif; train again")
    try:
        # Validate as JSON, in which tuples are lists.
        return _STATE.validate_json(json.dumps(record))["counters"]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path}: {place} = {brief(first['input'])} is not a value of a training's state ({first['msg']}); train "
            "again"
        ) from None


def count_in(state: Mapping[str, Any], name: str) -> int:
    """Return the count stored by a callback under `name`.

    Raises:
        CheckpointError: the count is missing, or is another value.
    """
    value = state.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError(f"{name} = {brief(value)} is not a count; train again without resuming")
    return value
