"""Read folders that Hugging Face `datasets` saved, with a column of images or time series and a column of labels."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdlif.data.manifest import Part
from hdlif.data.own_data import OwnData, Placed
from hdlif.data.sources.items import find_items_in
from hdlif.data.sources.pictures import Fit
from hdlif.data.split import PART_FOLDERS
from hdlif.data.targets import LABELS, Wanted, has_of, target_in
from hdlif.errors import DataError, MissingExtraError, brief, cut, reason
from hdlif.inputs.datasets import SAVED_BY_DATASETS


@dataclass(frozen=True, kw_only=True)
class Saved(Placed):
    """A request to load the output of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`.

    Only the splits train, val (or valid, validation) and test are used.

    Attributes:
        column: column of images or time series. The default is the only column of type Image, otherwise the only one of
            lists or arrays.
        label: column of labels. The default is the only column of type ClassLabel, otherwise "label". With several
            labels per row, the column of lists of labels ("labels" by default), unless each label has its own column.
        fit: for images, as in `OfImages`.
    """

    column: str | None = None
    label: str | None = None
    fit: Fit = "squash"

    def find(self) -> OwnData:
        wanted = self.wanted
        place = self.place("a folder of the package datasets")
        loaded = _loaded(place)
        sets: dict[Part, Any] = {}
        for name, one in loaded.items() if isinstance(loaded, dict) else [("train", loaded)]:
            part = PART_FOLDERS.get(name)
            if part is not None and part in sets:
                raise DataError(f"{place}: two of its splits are for {part}; keep one")
            if part is not None:
                sets[part] = one
        if "train" not in sets:
            raise DataError(f"{place}: none of its splits ({cut(', '.join(loaded), 200)}) is called train; rename one")
        features = sets["train"].features
        targets = _target_columns(place, features, self.label, wanted)
        column = self.column
        chosen = _column(
            place, features, column, "column", "images or time series", ("Image",), _LISTS, targets.columns
        )
        rows = {part: _Items(one, chosen, targets, wanted) for part, one in sets.items()}
        return find_items_in(str(place), rows, targets.names if wanted.classes else None, self, self.fit)


_LISTS = ("Sequence", "List", "LargeList", "Array2D")


@dataclass(frozen=True)
class _TargetColumns:
    """The target columns, which contain lists of labels if `listed` is true.

    `names` contains the names of the integer labels in the first column.
    """

    columns: tuple[str, ...] = ()
    listed: bool = False
    names: Sequence[str] | None = None


def _target_columns(place: Path, features: Mapping[str, Any], label: str | None, wanted: Wanted) -> _TargetColumns:
    if wanted.ahead is not None:
        return _TargetColumns()
    if wanted.one_class:
        found = _column(place, features, label, "label", "labels", ("ClassLabel",), ("Value",))
        return _TargetColumns((found,), names=getattr(features[found], "names", None))
    if wanted.labels is not None and label is None and LABELS in features and not set(wanted.names) <= features.keys():
        label = LABELS
    listed = wanted.labels is not None and label is not None
    if not (listed or wanted.classes):
        return _TargetColumns(tuple(_column(place, features, name, "", "", (), ()) for name in wanted.names))
    found = _column(place, features, label or "label", "", "", (), ())
    return _TargetColumns((found,), listed, getattr(getattr(features[found], "feature", None), "names", None))


class _Items:
    """A view of the rows in a table as items (x, y), with `x` from one column and `y` from the target columns."""

    def __init__(self, table: Any, column: str, targets: _TargetColumns, wanted: Wanted) -> None:
        self.table, self.column, self.targets, self.wanted = table, column, targets, wanted

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self.table[index]
        x = row[self.column]
        return np.asarray(x, np.float32) if isinstance(x, list) else x, self._y(row)

    def _y(self, row: Mapping[str, Any]) -> Any:
        targets, wanted = self.targets, self.wanted
        if not targets.columns or wanted.classes:
            return row[targets.columns[0]] if targets.columns else None
        if not targets.listed:
            return target_in(row, wanted, "")[1]
        listed = row[targets.columns[0]]
        return has_of([targets.names[one] for one in listed] if targets.names and listed else listed, wanted.names)


def _loaded(place: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError.of(f"{place}: the package datasets", "arrow") from error
    if not any(os.path.isfile(place / name) for name in SAVED_BY_DATASETS):  # noqa: PTH113
        raise DataError(
            f"{place}: has no dataset_info.json or dataset_dict.json; give a folder written by save_to_disk"
        )
    try:
        return datasets.load_from_disk(str(place))
    # Arrow and the package raise many types of errors.
    except Exception as error:
        raise DataError(f"{place}: cannot be read by the package datasets ({reason(error)}); save it again") from error


def _column(
    place: Path,
    features: Mapping[str, Any],
    named: str | None,
    key: str,
    what: str,
    first: tuple[str, ...],
    second: tuple[str, ...],
    but: Collection[str] = (),
) -> str:
    """Return the column `named` or, by default, the only unused column with a type in `first` or else in `second`."""
    there = cut(", ".join(f"{name} ({type(one).__name__})" for name, one in features.items()), 300)
    if named is not None:
        if named not in features:
            raise DataError(f"{place}: has no column {brief(named)}; it has {there}")
        return named
    for types in (first, second):
        found = [name for name, one in features.items() if type(one).__name__ in types and name not in but]
        if key == "label" and types == second:
            found = [name for name in found if name == "label"]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise DataError(f"{place}: the column of the {what} is ambiguous: it has {there}; set data.{key}=NAME")
