"""The forecast by the last value."""

from pathlib import Path

from hdlif.measure.persistence import persistence
from hdlif.recipe import builders
from hdlif.tasks import Regress
from series.cells import Cell, sets_of


def of_persistence(name: str, seed: int, root: Path) -> Cell:
    """What was last seen for what comes next; nothing is learned, so that every seed gives the same."""
    recipe, sets = sets_of(name, root)
    task = builders.build_task(recipe)
    if not isinstance(task, Regress):
        raise SystemExit(f"{name}: its task forecasts nothing")
    return {"metrics": dict(persistence(sets, task).metrics), "parameters": 0, "cpu_seconds": 0.0, "stored_kb": 0.0}
