"""Kinds of custom data, whose classes and sizes are found by inspection.

Each kind has a class in this module, and a `Request` in `hdlif.data.sources` that returns an `OwnData`. A recipe may
use the fields of a request as keys, except those that hdlif sets.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator

from hdlif.errors import RecipeError, cut
from hdlif.inputs.datasets import SAVED_BY_DATASETS
from hdlif.inputs.pictures import FORMATS
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.inputs.tables import SUFFIXES as TABLES
from hdlif.recipe.builders.data_sets import DATA, Data
from hdlif.recipe.builders.external_parts import GROUPS, is_own, offers, own_or_one_of
from hdlif.recipe.builders.part import KINDS, At, Names, called, field, takes

OF_ITEMS = ("split", "train")
"""Arguments passed to a custom data set if it accepts them."""


class OwnDataSection(Data):
    """Base class for kinds of custom data. `MAKES` creates a request, which inspects the data.

    Attributes:
        samples: kind of the samples as in `InputRecord.kind`, or None if it is unknown before inspection.
        said: noun for such data in error messages.
        located: kind of target with positions in an image, "map" or "boxes", or None.
    """

    samples: ClassVar[str | None] = None
    said: ClassVar[str]
    located: ClassVar[Literal["map", "boxes"] | None] = None

    split: dict[str, float | list[str | int]] | None = field(
        None,
        "Split of data that have no parts: fractions {validation: 0.15, test: 0.15, seed: 0}, or lists of groups.",
    )
    values: Names | None = field(None, "Columns or keys of the values to predict instead of a class.")
    labels: Names | None = field(None, "Columns or keys of labels; a sample may have any number of them.")

    @classmethod
    def key_names(cls) -> set[str]:
        return super().key_names() - {"validation"}

    def build(self, **given: Any) -> Any:
        """Find and return the data set. Raises `RecipeError` if a key is rejected."""
        return self._found(self.MAKES, self.arguments, given)

    def _found(self, request: Any, arguments: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        source = request.get()
        asked = {name: value for name, value in given.items() if name in takes(source)}
        return called(self._section, lambda **settings: source(**settings).find(), {**arguments, **asked})


class _At(OwnDataSection):
    path: str = field(..., "File or folder of your data; relative paths start from --data-root or the working folder.")


class _Placed(_At):
    label: str | None = field(None, "Column or key of the classes; label by default.")


class _Grouped(BaseModel):
    group: str | None = field(
        None, "Column of groups, or pattern for file names; each group stays in one part of the data."
    )


class _Listed(_Grouped):
    targets: str | None = field(
        None, "Path of a table of targets, relative to the folder; by default, the only table in it."
    )
    file: str | None = field(None, "Column of paths in a table of targets; file by default.")


class _Readable(BaseModel):
    unreadable: Literal["refuse", "skip"] = field("refuse", "Refuse files that cannot be read, or skip them.")


class _Fitted(BaseModel):
    fit: Literal["squash", "crop", "letterbox"] = field(
        "squash",
        "Fit of images with other proportions: squash distorts them, crop keeps the middle, letterbox pads them.",
    )


def _not_boolean(value: Any) -> Any:
    # To Python, true and 1.0 equal 1.
    if type(value) is not int:
        raise ValueError("should be 1 or 3")
    return value


class _Coloured(_Fitted):
    channels: Annotated[Literal[1, 3], BeforeValidator(_not_boolean)] | None = field(
        None, "1 for grey, 3 for colour; by default, grey if every file is grey."
    )


class _Letterboxed(_Coloured):
    fit: Literal["squash", "crop", "letterbox"] = field(
        "letterbox",
        "Fit of images with other proportions: letterbox pads them, squash distorts them, crop keeps the middle.",
    )


class _Sensed(BaseModel):
    sensor: list[int] | None = field(
        None,
        "[height, width] of the camera; by default, the size in the files, or the smallest that contains all events.",
    )
    resize: Literal["pool", "bilinear"] = field(
        "pool", "Conversion of recordings of another size: pool adds up counts, bilinear resizes frames."
    )


class _Timed(BaseModel):
    each_step: bool = field(False, "Predict a class or values at each step.")
    ahead: int | None = field(None, "Predict the channels' values this many steps ahead, at each step.")


class _Sounds(_Timed):
    resample: int | None = field(None, "Sampling rate of the network's input; by default, the rate of the data.")
    seconds: float | None = field(None, "Length of an audio clip in seconds; 1 by default.")
    clips: str | None = field(None, "Clips taken from longer audio: first, centre or windows.")
    every: float | None = field(None, "Seconds from one clip to the next, for clips: windows.")
    mels: int | None = field(None, "Mel channels per audio frame; 32 by default.")
    frame_ms: float | None = field(None, "Milliseconds per audio frame; 32 by default.")
    hop_ms: float | None = field(None, "Milliseconds from one frame, and time step, to the next; 16 by default.")
    lowest_hz: float | None = field(None, "Lowest frequency of the mel filters in Hz; 20 by default.")
    highest_hz: float | None = field(
        None, "Highest frequency of the mel filters in Hz; half the sampling rate by default."
    )


class Folder(_Placed, _Listed, _Readable, _Coloured, kind="folder", makes=At("hdlif.data.sources.pictures:Pictures")):
    """A folder of your own images, with one subfolder per class or a table of targets."""

    samples = "image"
    said = "a folder of images"


class Masks(_At, _Readable, _Letterboxed, kind="masks", makes=At("hdlif.data.sources.masks:Masks")):
    """Your own images with label maps, which contain a class or an object at each pixel."""

    samples = "image"
    said = "images with label maps"
    located = "map"
    instances: bool = field(False, "Label maps contain numbers of objects instead of classes; 0 is the background.")
    classes: Names | None = field(None, "Names of the classes 0, 1, ...; by default, their numbers.")


class Series(_Placed, _Grouped, _Readable, _Sounds, kind="series", makes=At("hdlif.data.sources.series:Series")):
    """Your own sensor data over time, or .wav files in one folder per class."""

    samples = "series"
    said = "data of series"
    window: int | None = field(None, "Rows per sample; recordings are cut into windows of this length.")
    stride: int | None = field(None, "Rows from one window to the next; by default, the length of a window.")
    columns: Names | None = field(None, "Columns of the channels; by default, all except label and group.")
    rate: int | None = field(None, "Sampling rate of sensor data in Hz; audio files contain their own.")


class Table(_Placed, _Grouped, kind="table", makes=At("hdlif.data.sources.tables:Rows")):
    """Your own table of numbers; every time step receives the same row."""

    samples = "table"
    said = "a table"
    columns: Names | None = field(None, "Columns of the features; by default, all except label and group.")


class Shards(
    _Placed, _Readable, _Coloured, _Sensed, _Sounds, kind="shards", makes=At("hdlif.data.sources.shards:TarShards")
):
    """Your own tar shards in the WebDataset format."""

    said = "tar shards"
    label: str = field("label", "Key of the classes.")
    member: str | None = field(None, "Suffix of the samples, such as jpg, if a key has several possible files.")


class Arrow(_Placed, _Fitted, _Timed, kind="arrow", makes=At("hdlif.data.sources.arrow:Saved")):
    """A folder saved with the `datasets` package."""

    said = "a folder of the package datasets"
    column: str | None = field(
        None, "Column of the samples; by default, the only column of images, or of lists or arrays."
    )


class Boxes(_At, _Readable, _Letterboxed, kind="boxes", makes=At("hdlif.data.sources.boxes:Boxes")):
    """Your own images with boxes around objects, in the format of Pascal VOC, COCO or YOLO."""

    samples = "image"
    said = "a folder of images with boxes"
    located = "boxes"
    format: Literal["voc", "coco", "yolo"] | None = field(
        None, "Format of the box files; by default, the only format found."
    )
    classes: Names | None = field(
        None, "Names of the classes, in order; by default, the classes that the files list or the boxes use."
    )
    drift: float | None = field(
        None, "Show a drifting part of each image at each step; its sides are 1/drift of the image's sides."
    )


class Events(_Placed, _Listed, _Readable, _Sensed, kind="events", makes=At("hdlif.data.sources.events:Recordings")):
    """Your own event-camera recordings."""

    samples = "events"
    said = "a folder of recordings of events"


class Items(OwnDataSection, _Fitted, _Timed):
    """Your own data set, given as package.module:Name, or a data set from an installed package."""

    FIND: ClassVar[At] = At("hdlif.data.sources.items:Items")
    said = "a data set of your own"
    kind: str

    def build(self, **given: Any) -> Any:
        """Call the custom `MAKES` and get the data set from the returned object."""
        stated = {name: field.alias for name, field in type(self).model_fields.items() if name in self.model_fields_set}
        own = {alias: getattr(self, name) for name, alias in stated.items() if alias}
        of_items = {name: getattr(self, name) for name, alias in stated.items() if not alias and name != "kind"}
        taken = [name for name in OF_ITEMS if name in takes(self.MAKES)]

        def make(**parts: Any) -> Any:
            return called(self._section, self.MAKES, {**own, **parts}, is_own=True)

        about = {"make": make, "takes": taken, "name": self.kind}
        return self._found(self.FIND, {**about, **of_items}, given)


FOUND: dict[str, type[OwnDataSection]] = {
    one.KIND: one for one in (Folder, Masks, Series, Table, Shards, Arrow, Events, Boxes)
}
KINDS["data.kind"] = (*DATA, *FOUND)


def found_kind(kind: str) -> type[OwnDataSection] | None:
    """Return the class for a kind of custom data, or None for a shipped data set or an unknown kind."""
    return FOUND.get(kind) or (Items if is_items(kind) else None)


def is_items(kind: object) -> bool:
    """Return whether a kind is a custom data set: `package.module:Name`, or a name that an installed package offers.

    Names of shipped data sets take precedence.
    """
    if is_own(kind) or not isinstance(kind, str) or kind in DATA or kind in FOUND:
        return is_own(kind)
    return kind in offers(GROUPS["data.kind"])


def arguments(*kinds: str) -> set[str]:
    """Return the keys that any of `kinds` accepts; `kinds` defaults to all kinds."""
    return {key for kind in kinds or FOUND for key in FOUND[kind].model_fields if key != "kind"}


def kind_named(name: object) -> str:
    """Return `name` as a string if it is a kind of custom data. Raises `RecipeError`."""
    if not is_items(name) and name not in FOUND:
        raise RecipeError(f'data.kind = "{cut(str(name))}" is unknown; {own_or_one_of(name, FOUND)}')
    return str(name)


def kind_of(samples: str | None) -> str:
    """Return the kind of custom data for `samples`, such as "series", or "folder" if no kind matches."""
    return next((name for name, kind in FOUND.items() if kind.samples == samples), "folder")


def is_there(data: str) -> bool:
    """Return whether the value of `--data` refers to custom data.

    Custom data are given by an existing path, a pattern for shards, `package.module:Name`, or a name from an installed
    package.
    """
    # os.path returns False for invalid paths; Path's own methods raise for long names.
    there = os.path.exists(data)  # noqa: PTH110
    return there or (data.lower().endswith(".tar") and not set("*?[{").isdisjoint(data)) or is_items(data)


def kind_by_keys(path: str, keys: Collection[str]) -> str:
    """Return the kind of data at a path. A file of rows is a recording if `data.window` is set, and otherwise a table.

    Args:
        keys: keys that are set in the `data` section.
    """
    rows = path.lower().endswith(TABLES)
    return kind_at(path, "table" if rows and "window" not in keys else "folder")


def kind_at(path: str, otherwise: str = "folder") -> str:
    """Return the kind of data at a path.

    A folder contains boxes if `_has_boxes` returns true, and label maps if `is_masks` does. A folder contains time
    series if it has x.npy, or subfolders with .csv or .wav files but no images. A folder contains events if its
    subfolders contain only event recordings. Without subfolders, the images or recordings next to a table determine the
    kind. A file with the suffix of a time series may also be a table. Tar files are shards. `package.module:Name` and
    names that installed packages offer are themselves kinds of data, unless a file has the same name.

    Args:
        otherwise: result if several kinds are possible, or none.
    """
    found = _kinds_at(path)
    return otherwise if otherwise in found or not found else found[0]


def is_masks(path: str) -> bool:
    """Return whether a folder, or its subfolder train, has images/ and either masks/ or PNG files in labels/."""
    for place in (Path(path), Path(path, "train")):
        if (place / "images").is_dir():
            labels = place / "labels"
            return (place / "masks").is_dir() or (labels.is_dir() and next(labels.glob("*.png"), None) is not None)
    return False


def _kinds_at(path: str) -> tuple[str, ...]:
    if not os.path.isdir(path):  # noqa: PTH112
        if is_items(path) and not os.path.lexists(path):
            return (path,)
        if path.lower().endswith(".tar"):
            return ("shards",)
        return ("series", "table") if path.lower().endswith((".csv", ".npz", ".npy", ".parquet")) else ()
    if _has_boxes(path):
        return ("boxes",)
    if is_masks(path):
        return ("masks",)
    if os.path.lexists(os.path.join(path, "x.npy")):  # noqa: PTH118
        return ("series", "table")
    if any(os.path.isfile(os.path.join(path, name)) for name in SAVED_BY_DATASETS):  # noqa: PTH113, PTH118
        return ("arrow",)
    if any(name.lower().endswith(".tar") for name in next(os.walk(path), ("", [], []))[2]):
        return ("shards",)
    series = recordings = False
    loose: set[str] = set()
    for number, (_, folders, files) in enumerate(os.walk(path)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        ends = {os.path.splitext(name)[1].lower() for name in files} - {""}  # noqa: PTH122
        # Files next to class folders have no class. Without class folders, a table may list the targets of the files.
        if not number:
            loose = set() if ends.isdisjoint(TABLES) else ends
            continue
        if not ends.isdisjoint(FORMATS):
            return ("folder",)
        series = series or not ends.isdisjoint({".csv", SUFFIX})
        recordings = recordings or not ends.isdisjoint(READERS)
    if series or recordings:
        return ("series",) if series else ("events",)
    return ("folder",) if not loose.isdisjoint(FORMATS) else ("events",) if not loose.isdisjoint(READERS) else ()


def _has_boxes(path: str) -> bool:
    """Return whether a folder, or its subfolder train, has box files in the layout of Pascal VOC, COCO or YOLO."""
    for place in (Path(path), Path(path, "train")):
        for files in ("Annotations/*.xml", "annotations/*.xml", "annotations/*.json", "*.coco.json"):
            if next(place.glob(files), None) is not None:
                return True
        if (place / "images").is_dir() and next((place / "labels").rglob("*.txt"), None) is not None:
            return True
    return False
