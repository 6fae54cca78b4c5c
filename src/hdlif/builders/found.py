"""Kinds of data of the user's own, whose classes and sizes follow from looking at them.

A kind is a function in `hdlif.data` that looks at data and returns a `Found`, and a row of `FOUND` here. Its keyword
arguments beside `_GIVEN` are the keys that a recipe may set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.artefact import InputRecord, TaskRecord
from hdlif.builders.arguments import Checked, checked, choose, keys
from hdlif.builders.places import At, parameters
from hdlif.config import DataConfig, FoundConfig, InputConfig
from hdlif.errors import ArtefactError, DataError, RecipeError, brief
from hdlif.inputs.pictures import FORMATS
from hdlif.inputs.sounds import SUFFIX
from hdlif.ops.input_record import check_input
from hdlif.ops.sound import SoundRecord

if TYPE_CHECKING:
    from hdlif.data import Found
    from hdlif.tasks import Target


def _one_class(arguments: Mapping[str, Any]) -> Target:
    return "class"


def _of_series(arguments: Mapping[str, Any]) -> Target:
    """Classes, unless values or labels are named, or the values that come next; at each step where that is asked."""
    if "labels" in arguments:
        return "labels"
    if "ahead" in arguments or "values" in arguments:
        return "values_each" if "ahead" in arguments or arguments.get("each_step") else "values"
    return "classes" if arguments.get("each_step") else "class"


@dataclass(frozen=True)
class FoundKind:
    """A kind of data of the user's own: what it has follows from looking at it, and is then kept in the recipe.

    Attributes:
        find: looks at data, from (root, size, known, say, scale), of which it may leave out the last, and the arguments
            of the recipe's section.
        samples: what a sample is, in the words of `InputRecord.kind`.
        target: what is given of a sample, from the arguments of the recipe's section.
    """

    find: Callable[..., Found]
    samples: str
    target: Callable[[Mapping[str, Any]], Target] = _one_class


FOUND: Mapping[str, FoundKind] = {
    "folder": FoundKind(At("hdlif.data.picture_folder:find_pictures"), "image"),
    "series": FoundKind(At("hdlif.data.series:find_series"), "series", _of_series),
    "table": FoundKind(At("hdlif.data.tables:find_table"), "table", _of_series),
}
_SERIES_OR_TABLE = ("series", "table")
_GIVEN = ("root", "size", "known", "say", "scale")


def finder(section: DataConfig) -> Checked[Found]:
    """What looks at the data of a section, with its arguments checked. Raises `RecipeError`."""
    if section.validation is not None:
        raise RecipeError(
            f"data.validation = {section.validation} counts samples of a set that ships; of data of your own, shares "
            "are taken: set data.split={validation: 0.15, test: 0.15}"
        )
    beside = DataConfig.model_fields.keys() - {"found", "validation"}
    find = FOUND[section.kind].find
    return checked(find, "data", section.arguments, kind=section.kind, beside=beside, given=_GIVEN)


def finder_for(kind: str, task: TaskRecord, outputs: tuple[str, ...]) -> Callable[..., Found]:
    """What looks at data for a network whose task and outputs are known.

    Raises:
        DataError: such data give no such target.
    """
    arguments: dict[str, Any] = {}
    if task.kind == "sequence":
        arguments = {"each_step": True}
    elif task.ahead:
        arguments = {"ahead": task.ahead, "scale": (task.mean, task.std)}
    elif task.kind == "regress":
        each = {"each_step": True} if task.combine == "each" else {}
        arguments = {"values": list(outputs), "scale": (task.mean, task.std), **each}
    elif task.kind == "multilabel":
        arguments = {"labels": list(outputs)}
    if missing := sorted(arguments.keys() - parameters(FOUND[kind].find).keys()):
        raise DataError(
            f'data of kind "{kind}" give one class of a sample, and the network has the task "{task.kind}", which asks '
            f"for {', '.join(missing)}; give it series"
        )
    return partial(FOUND[kind].find, **arguments)


def look(
    kind: str,
    path: str,
    arguments: Mapping[str, Any],
    *,
    size: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Look at data of a kind without a recipe.

    Args:
        arguments: keys of the section `data` that such data take besides.
        size: `data.size`.
        say: gets a line where that will take a while.
    Raises:
        RecipeError: such data have no such key, or it has another type.
        DataError: the data cannot be used.
    """
    given = {**arguments, "path": path}
    return checked(FOUND[kind].find, "data", given, kind=kind, given=_GIVEN)(root=None, size=size, known=None, say=say)


def arguments(*kinds: str) -> set[str]:
    """The keys that any of these kinds takes, or any at all."""
    return keys(*(FOUND[kind].find for kind in kinds or FOUND), given=_GIVEN)


def kind_at(path: str, otherwise: str = "folder") -> str:
    """Which of these kinds lies at a path that is given without one: what the rest of the program goes by.

    A folder is of series where it has x.npy, or folders with .csv or .wav files and no pictures; a file is of series
    where its name ends so. One that may be a table as well is of the kind `otherwise` where that is one of the two.

    Args:
        otherwise: the kind where nothing tells, which then says what it misses.
    """
    found = _kinds_at(path)
    return otherwise if otherwise in found or not found else found[0]


def _kinds_at(path: str) -> tuple[str, ...]:
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.isdir(path):  # noqa: PTH112
        return _SERIES_OR_TABLE if path.lower().endswith((".csv", ".npz", ".npy", ".parquet")) else ()
    if os.path.lexists(os.path.join(path, "x.npy")):  # noqa: PTH118
        return _SERIES_OR_TABLE
    series = False
    for number, (_, folders, files) in enumerate(os.walk(path)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # What lies beside the folders of classes is of none.
        ends = {os.path.splitext(name)[1].lower() for name in files if number} - {""}  # noqa: PTH122
        if not ends.isdisjoint(FORMATS):
            return ("folder",)
        series = series or not ends.isdisjoint({".csv", SUFFIX})
    return ("series",) if series else ()


def kind_named(name: object) -> str:
    """The name, which is of one of these kinds. Raises `RecipeError`."""
    choose(FOUND, name, "data.kind")
    return str(name)


def kind_of(samples: str) -> str:
    """The kind whose samples are of a kind of input; "folder" where none has such."""
    return next((name for name, kind in FOUND.items() if kind.samples == samples), "folder")


def at_path(section: DataConfig, path: str) -> DataConfig:
    """The section for the data at another path."""
    return DataConfig.model_validate(section.model_dump() | {"path": path})


def stating(section: DataConfig, found: Found) -> DataConfig:
    """The section with what was found stated in it, and an absolute path."""
    fields = {name: getattr(found.input, name) for name in InputConfig.model_fields}
    sound = None if found.input.sound is None else asdict(found.input.sound)
    kept = FoundConfig(
        digest=found.manifest.digest,
        classes=found.classes,
        input=InputConfig(**fields | {"sound": sound}),
        target_mean=found.target_mean,
        target_std=found.target_std,
    )
    return DataConfig.model_validate(at_path(section, str(found.path)).model_dump() | {"found": kept})


def record_of(stated: InputConfig) -> InputRecord:
    """The input record that a recipe states. Raises `RecipeError` where there can be none such."""
    sound = None if stated.sound is None else SoundRecord(**stated.sound.model_dump())
    record = InputRecord(**stated.model_dump() | {"sound": sound})
    try:
        check_input(record)
    except ArtefactError as error:
        raise RecipeError(f"data.found.{error}") from error
    return record


def check_labels(found: Found, labels: tuple[str, ...]) -> None:
    """Raise `DataError`, which says what differs, unless data have a network's classes."""
    if found.classes != labels:
        missing, more = sorted(set(labels) - set(found.classes)), sorted(set(found.classes) - set(labels))
        said = [f"{text} {brief(names)}" for text, names in (("lacks", missing), ("has besides", more)) if names]
        raise DataError(
            f"{found.path}: its classes are not the network's: it {' and '.join(said) or 'has them in another order'}; "
            "give data with each class of the network, and no other"
        )
