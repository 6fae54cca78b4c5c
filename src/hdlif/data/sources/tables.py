"""Read the user's own tables, in which each row is a sample whose features are constant over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hdlif.data.arrays import are_arrays, arrays_at
from hdlif.data.columns import Tabular, rows_of
from hdlif.data.manifest import Sample
from hdlif.data.own_data import OwnData
from hdlif.data.targets import Wanted
from hdlif.data.value_samples import Recorded, find_samples, kept_together, of_arrays, of_target
from hdlif.errors import DataError
from hdlif.inputs import tables
from hdlif.inputs.series import Floats

MOST_ROWS = 2**20


@dataclass(frozen=True, kw_only=True)
class Rows(Tabular):
    """A request to load a .csv or .parquet file with a column of labels, or arrays `x` [N, F] and `y` [N]."""

    def find(self) -> OwnData:
        place, wanted = self.existing_place("a table"), self.wanted
        if place.suffix.lower() in tables.SUFFIXES:
            recorded = self._of_file(place)
        elif are_arrays(place):
            for key in ("label", "group", "columns"):
                if (value := getattr(self, key)) is not None:
                    raise ValueError(f"{key} = {value} does not apply to arrays x and y ({place}); leave it out")
            found = arrays_at(place, (2,), "[N, F]", wanted)
            names = [f"x[{number}]" for number in range(len(found.y))]
            recorded = of_arrays(found, "row", _rows(found.x, found.y, names, wanted), seen={})
        else:
            raise DataError(
                f'{place}: its name ends in "{place.suffix}"; give a .csv or .parquet file with a column of labels, a '
                ".npz file with arrays x [N, F] and y [N], or a folder with x.npy and y.npy"
            )
        return find_samples(place, recorded, self, kind="table")

    def _of_file(self, place: Path) -> Recorded:
        found = rows_of(place, self)
        names = [f"{place.name}:{line}" for line in found.table.lines]
        learned = found.classes or list(found.learned if found.learned is not None else ())
        samples = _rows(found.table.numbers, learned, names, self.wanted)
        recorded = Recorded(f"a table{found.words}", "row", samples, seen={}, channels=found.table.names)
        if found.groups is None:
            return recorded
        samples = [replace(one, unit=unit) for one, unit in zip(samples, found.groups, strict=True)]
        return replace(recorded, unit=kept_together(self.group, "row"), samples=samples, grouped=True)


def _rows(rows: Floats, learned: Sequence[Any], names: Sequence[str], wanted: Wanted) -> list[Sample]:
    """Return one single-step sample for each row."""
    if len(rows) > MOST_ROWS:
        raise DataError(f"the table has {len(rows):,} rows; at most {MOST_ROWS:,} are supported")
    return [
        of_target(name, None, row[None], target, wanted) for name, target, row in zip(names, learned, rows, strict=True)
    ]
