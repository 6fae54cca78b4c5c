"""The newest whole checkpoint of two: a run goes on from the one before where the last one is damaged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hdlif import run_folder
from hdlif.errors import CheckpointError
from hdlif.training import checkpoint


@dataclass(frozen=True)
class SavedState:
    """A whole checkpoint, and what is wrong with the newer one that it stands in for."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    damage: str | None = None


def newest_whole(newer: Path, older: Path) -> SavedState:
    """`newer`, or `older` where that is damaged or gone.

    A damaged `newer` is put aside as damaged.safetensors, lest it take the place of `older` at the next writing.

    Raises:
        CheckpointError: neither is whole.
    """
    try:
        return SavedState(newer, *checkpoint.load(newer))
    except CheckpointError as error:
        damage = error
    if not older.exists():
        raise damage
    try:
        found = SavedState(older, *checkpoint.load(older), damage=str(damage))
    except CheckpointError as error:
        raise CheckpointError(f"{damage}; the one before is no better: {error}") from error
    if newer.exists():
        newer.replace(newer.with_name(run_folder.DAMAGED))
    return found
