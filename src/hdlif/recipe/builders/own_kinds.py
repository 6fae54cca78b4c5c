"""Kinds of data of the user's own, whose classes and sizes follow from looking at them.

A kind is a function in `hdlif.data` that looks at data and returns a `Found`, and a class here. Its keyword arguments,
but for those that it is given, are the keys that a recipe may set.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field

from hdlif.recipe.builders.data_sets import DATA, Data
from hdlif.recipe.builders.installed import GROUPS, is_own, offers
from hdlif.recipe.builders.part import At, Names, called, takes

OF_ITEMS = ("split", "train")
"""What a data set of the user's own is given, if it takes it."""


class OwnData(Data):
    """Data of the user's own, which `MAKES` looks at.

    Attributes:
        samples: kind of a sample, in the words of `InputRecord.kind`; None if only looking tells.
        said: name of such data in an error.
    """

    samples: ClassVar[str | None] = None
    said: ClassVar[str]

    split: dict[str, float | list[str | int]] | None = Field(
        None,
        description="Fractions {validation: 0.15, test: 0.15, seed: 0} of data without parts of their own, or lists of "
        "groups.",
    )
    values: Names | None = Field(None, description="Columns or keys of values to learn instead of a class.")
    labels: Names | None = Field(None, description="Columns or keys of labels, of which a sample has any number.")

    @classmethod
    def key_names(cls) -> set[str]:
        return super().key_names() - {"validation"}


class _Placed(OwnData):
    path: str = Field(
        description="File or folder of your data; a relative one starts from --data-root, or the working folder."
    )
    label: str | None = Field(None, description="Column or key of classes (label).")


class _Grouped(BaseModel):
    group: str | None = Field(
        None, description="Column, or pattern of names, of groups; no group is in two parts of the data."
    )


class _Listed(_Grouped):
    targets: str | None = Field(
        None, description="Path of a table of targets, from the folder; by default the only table in it."
    )
    file: str | None = Field(None, description="Column of paths in a table of targets (file).")


class _Readable(BaseModel):
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="Refuse files that cannot be read, or skip them."
    )


class _Fitted(BaseModel):
    fit: Literal["squash", "crop"] = Field(
        "squash", description="Of an image of other proportions: squash takes all of it, crop the middle."
    )


def _not_boolean(value: Any) -> Any:
    # To Python, true and 1.0 equal 1.
    if type(value) is not int:
        raise ValueError("should be 1 or 3")
    return value


class _Coloured(_Fitted):
    channels: Annotated[Literal[1, 3], BeforeValidator(_not_boolean)] | None = Field(
        None, description="1 for grey, 3 for colours; by default grey if every file is."
    )


class _Sensed(BaseModel):
    sensor: list[int] | None = Field(None, description="[height, width] of the camera; by default as the files state.")
    resize: Literal["pool", "bilinear"] = Field(
        "pool", description="Of recordings of another size: pool adds up counts, bilinear resizes frames."
    )


class _Timed(BaseModel):
    each_step: bool = Field(False, description="Learn a class, or values, at each step.")
    ahead: int | None = Field(None, description="Learn the channels' values so many steps later, at each step.")


class _Sounds(_Timed):
    resample: int | None = Field(None, description="Rate that the network takes; the data's by default.")
    seconds: float | None = Field(None, description="Length of a clip of sound (1).")
    clips: str | None = Field(None, description="What is taken of a longer sound: first, centre or windows.")
    every: float | None = Field(None, description="Seconds from one clip to the next, of clips: windows.")
    mels: int | None = Field(None, description="Channels of sound frames (32).")
    frame_ms: float | None = Field(None, description="Milliseconds of a frame of sound (32).")
    hop_ms: float | None = Field(
        None, description="Milliseconds from one frame to the next, which is a step of the network (16)."
    )
    lowest_hz: float | None = Field(None, description="Lower end of the mel filters (20).")
    highest_hz: float | None = Field(None, description="Upper end of the mel filters (half the rate).")


class Folder(_Placed, _Listed, _Readable, _Coloured):
    """A folder of your own images, by class or with a table of targets."""

    MAKES = At("hdlif.data.own.picture_folder:find_pictures")
    samples = "image"
    said = "a folder of pictures"
    kind: Literal["folder"] = "folder"


class Series(_Placed, _Grouped, _Readable, _Sounds):
    """Your own sensor data over time, or .wav files by class."""

    MAKES = At("hdlif.data.own.series:find_series")
    samples = "series"
    said = "data of series"
    kind: Literal["series"] = "series"
    window: int | None = Field(None, description="Rows of a sample, of a recording that is cut into such.")
    stride: int | None = Field(
        None, description="Rows from one window to the next; as many as a window has by default."
    )
    columns: Names | None = Field(None, description="Columns that are channels; by default all but label and group.")
    rate: int | None = Field(None, description="Readings per second; sounds state their own.")


class Table(_Placed, _Grouped):
    """Rows of numbers of your own, each shown at every step."""

    MAKES = At("hdlif.data.own.tables:find_table")
    samples = "table"
    said = "a table"
    kind: Literal["table"] = "table"
    columns: Names | None = Field(None, description="Columns that are features; by default all but label and group.")


class Shards(_Placed, _Readable, _Coloured, _Sensed, _Sounds):
    """Tar shards of your own, in the WebDataset form."""

    MAKES = At("hdlif.data.own.shards:find_shards")
    said = "tar shards"
    kind: Literal["shards"] = "shards"
    label: str = Field("label", description="Key of classes.")
    member: str | None = Field(
        None, description="End of the names of samples, such as jpg, if there are several per key."
    )


class Arrow(_Placed, _Fitted, _Timed):
    """A folder that the package datasets has saved."""

    MAKES = At("hdlif.data.own.arrow:find_arrow")
    said = "a folder of the package datasets"
    kind: Literal["arrow"] = "arrow"
    column: str | None = Field(
        None, description="Column of the samples; by default the only one of images, or of lists or arrays."
    )


class Events(_Placed, _Listed, _Readable, _Sensed):
    """Your own event-camera recordings."""

    MAKES = At("hdlif.data.own.event_folder:find_events")
    samples = "events"
    said = "a folder of recordings of events"
    kind: Literal["events"] = "events"


class Items(OwnData, _Fitted, _Timed):
    """A data set of your own, package.module:Name, or that of an installed package."""

    FIND: ClassVar[At] = At("hdlif.data.own.items:find_items")
    said = "a data set of your own"
    kind: str

    def build(self, **given: Any) -> Any:
        """Look at what `MAKES`, which is the user's, gives."""
        stated = {name: field.alias for name, field in type(self).model_fields.items() if name in self.model_fields_set}
        own = {alias: getattr(self, name) for name, alias in stated.items() if alias}
        of_items = {name: getattr(self, name) for name, alias in stated.items() if not alias and name != "kind"}
        taken = [name for name in OF_ITEMS if name in takes(self.MAKES)]

        def make(**parts: Any) -> Any:
            return called(self._section, self.MAKES, is_own=True, **own, **parts)

        return called(self._section, self.FIND, make=make, takes=taken, name=self.kind, **of_items, **given)


FOUND: dict[str, type[OwnData]] = {
    "folder": Folder,
    "series": Series,
    "table": Table,
    "shards": Shards,
    "arrow": Arrow,
    "events": Events,
}


def found_kind(kind: str) -> type[OwnData] | None:
    """Return the kind of data of the user's own that a recipe names; None if it names a set that ships, or nothing."""
    return FOUND.get(kind) or (Items if is_items(kind) else None)


def is_items(kind: object) -> bool:
    """Return whether a kind is a data set of the user's own: package.module:Name, or what an installed package offers.

    A name that ships is ours.
    """
    if is_own(kind) or not isinstance(kind, str) or kind in DATA or kind in FOUND:
        return is_own(kind)
    return kind in offers(GROUPS["data.kind"])


def arguments(*kinds: str) -> set[str]:
    """Return the keys that any of these kinds takes, or any at all."""
    return {key for kind in kinds or FOUND for key in FOUND[kind].model_fields if key != "kind"}
