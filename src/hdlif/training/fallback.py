"""Choice of the newer of two checkpoints, or of the older one if the newer is damaged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hdlif import run_folder
from hdlif.errors import CheckpointError
from hdlif.training import checkpoint


@dataclass(frozen=True)
class SavedState:
    """Undamaged checkpoint, and the fault of the newer one that it replaces."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    damage: str | None = None


def newest_whole(newer: Path, older: Path) -> SavedState:
    """Return `newer`, or `older` if that is damaged or missing.

    A damaged `newer` is renamed to damaged.safetensors, so that the next writing cannot replace `older` by it.

    Raises:
        CheckpointError: both are damaged or missing.
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
