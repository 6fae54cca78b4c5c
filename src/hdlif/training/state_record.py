"""What the record of a training's state holds, and the check that a record is one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

# Before Python 3.12 pydantic refuses the TypedDict of typing.
from typing_extensions import TypedDict

from hdlif.errors import CheckpointError, brief

Number = Annotated[int, Field(ge=0, lt=2**63)]
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


@dataclass
class Counters:
    """Where a run stands; with weights and momenta, its whole state."""

    epoch: Number = 0
    """Epochs done."""
    batch: Number = 0
    """Batches of the present epoch done."""
    step: Number = 0
    """Batches of the whole run done."""
    window: Number = 0
    """Batches since the last training event, and their sums:"""
    loss: float = 0.0
    correct: Number = 0
    answers: Number = 0
    """Out of how many the correct ones are."""
    train_seconds: Annotated[float, Field(ge=0)] = 0.0
    best_epoch: Number = 0
    best_score: float | None = None
    """None too of an epoch that none was better than, and whose metric was no number."""
    best_loss: float = 0.0
    score_epoch: Number = 0
    """The first epoch with that score."""
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    best_per_step: tuple[float, ...] = ()


@with_config(_STRICT)
class _State(TypedDict):
    counters: Counters
    # What each callback keeps, by its name; it checks its own.
    callbacks: dict[str, dict[str, Any]]
    # The loss scale of float16 training; empty in other precisions.
    precision: dict[str, Annotated[float, Field(ge=0)]]
    # A state that is older than the counts has none.
    skipped_updates: NotRequired[Number]
    # Validation losses that a scheduler of torch was stepped with.
    scheduled_losses: NotRequired[list[float]]
    # Of streams alone.
    stream_steps: NotRequired[Number]
    threads: NotRequired[Annotated[int, Field(ge=1)] | None]


_STATE = TypeAdapter(_State)


def counters_of(record: Mapping[str, Any], path: Path) -> Counters:
    """The counters in the record of `path`, all of which is as `fit` writes it.

    Raises:
        CheckpointError: it is no record of a training's state.
    """
    counters = record.get("counters")
    if not isinstance(counters, dict) or counters.keys() != Counters.__dataclass_fields__.keys():
        raise CheckpointError(f"{path}: is not a training state of this version of hdlif; train again")
    try:
        # As JSON, where a list stands for a tuple.
        return _STATE.validate_json(json.dumps(record))["counters"]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path}: {place} = {brief(first['input'])} is not a value of a training's state ({first['msg']}); train "
            "again"
        ) from None


def count_in(state: Mapping[str, Any], name: str) -> int:
    """Return the count that a callback kept under `name`.

    Raises:
        CheckpointError: there is none, or another value.
    """
    value = state.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError(f"{name} = {brief(value)} is not a count; train again without resuming")
    return value
