"""Shipped data sets, prepared for an existing network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif.errors import DataError, RecipeError, brief
from hdlif.graph.graph import InputRecord, TaskRecord
from hdlif.inputs.events import BINNINGS
from hdlif.recipe.builders.data import FRAMES, shipped_kind
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.own_data import NO_KEYS

if TYPE_CHECKING:
    from hdlif.data import DataSets

VALIDATION_OF_NAMED = 100
"""Validation samples, by default."""


def named_data(
    name: str,
    root: Path | None,
    *,
    record: InputRecord,
    time_steps: int,
    frames: str = "by_number",
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    arguments: Mapping[str, Any] = NO_KEYS,
) -> DataSets:
    """Load a shipped data set for a network with this input record.

    Args:
        frames: binning of events, if the record has none.
        task: meaning of the network's outputs.
        arguments: of generated data; those implied by the network may be omitted.
    Raises:
        RecipeError, DataError: the network or an argument does not fit the data.
    """
    if DATA[name].is_generated:
        content: Any = DATA[name].part.MAKES
        implied = content.of_network(record, time_steps, task)
        try:
            shipped_kind(name, implied)
        except RecipeError:
            seen = f"the network takes {_described(record)} at each of {time_steps} time steps"
            raise DataError(f"{seen}, which {name} never has; give the data set that it was trained on") from None
        if record.kind == DATA[name].input.kind:
            for key, value in implied.items():
                if (asked := arguments.get(key, value)) != value:
                    seen = f"data.{key} = {brief(asked)} is refused: the network was made for {key} = {value}"
                    raise RecipeError(f"{seen}; leave data.{key} out, or give a network that was trained with it")
        arguments = {**implied, **arguments}
    kind = shipped_kind(name, arguments)
    # No more generated samples than are tested on, so that lowering this number saves memory for both.
    validation = min(VALIDATION_OF_NAMED, arguments.get("test", kind.defaults.get("test", VALIDATION_OF_NAMED)))
    split = {"validation": validation, "augment": (), "seed": 0}
    _, *sides = record.sample_shape(time_steps)
    size = sides[0] if sides[0] == sides[1] and tuple(sides) != kind.input.shape[1:] and kind.resizes else None
    taken = f"the network takes {_described(record)} at each step, and {name} has {_described(kind.input)}"
    if record.kind != kind.input.kind or record.shape[0] != kind.input.shape[0]:
        raise DataError(f"{taken}; give the data set that it was trained on")
    if kind.events:
        binning = BINNINGS[frames if record.binning == "none" else record.binning]
        return kind.load(root, **split, time_steps=time_steps, binning=binning, size=size).made_by(None)
    import torch

    channels, *sides = kind.input.shape
    whole = torch.zeros(1, channels, *([size, size] if size else sides))
    for shown in FRAMES.values():
        steps, _, *shape = shown(whole).shape
        if tuple(shape) == record.shape and steps in (1, time_steps):
            sets = kind.load(root, **split)
            return (sets if size is None else sets.resized(size)).shown_as(shown).made_by(None)
    raise DataError(f"{taken}; give the data set that it was trained on")


def _described(record: InputRecord) -> str:
    return f"input of kind {record.kind} {list(record.shape)}"
