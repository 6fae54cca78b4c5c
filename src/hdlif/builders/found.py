"""Kinds of data of the user's own, whose classes and sizes follow from looking at them.

A kind is a function in `hdlif.data` that looks at data and returns a `Found`, and a row of `FOUND` here. Its keyword
arguments beside `GIVEN` are the keys that a recipe may set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.artefact import InputRecord, TaskRecord
from hdlif.builders.arguments import checked, choose, chosen, keys
from hdlif.builders.imported import is_own
from hdlif.builders.installed import GROUPS, offers
from hdlif.builders.places import At, parameters
from hdlif.builders.shipped import DATA
from hdlif.config import DataConfig, FoundConfig, InputConfig
from hdlif.datasets import SAVED_BY_DATASETS
from hdlif.errors import ArtefactError, DataError, RecipeError, brief
from hdlif.inputs.pictures import FORMATS
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.inputs.tables import SUFFIXES as TABLES
from hdlif.ops.input_record import check_input
from hdlif.ops.sound import SoundRecord

if TYPE_CHECKING:
    from hdlif.data import Found, Tested
    from hdlif.tasks import Target


def target_asked(arguments: Mapping[str, Any]) -> Target:
    """What the arguments of a section ask for of each sample: a class, unless values or labels are named, or the values
    that come next; at each step where that is asked.
    """
    if "labels" in arguments:
        return "labels"
    if "ahead" in arguments or "values" in arguments:
        return "values_each" if "ahead" in arguments or arguments.get("each_step") else "values"
    return "classes" if arguments.get("each_step") else "class"


def ahead_asked(arguments: Mapping[str, Any]) -> int:
    """How many steps later the values come that the arguments of a section ask for; 0 of others."""
    ahead: int = arguments.get("ahead") or 0
    return ahead


@dataclass(frozen=True)
class FoundKind:
    """A kind of data of the user's own: what it has follows from looking at it, and is then kept in the recipe.

    Attributes:
        find: looks at data, from `GIVEN`, of which it may leave some out, and the arguments of the recipe's section.
        samples: what a sample is, in the words of `InputRecord.kind`; None where only looking tells.
        said: what lies there is called in an error.
    """

    find: Callable[..., Found]
    samples: str | None
    said: str


FOUND: Mapping[str, FoundKind] = {
    "folder": FoundKind(At("hdlif.data.sources.pictures:find_pictures"), "image", "a folder of pictures"),
    "series": FoundKind(At("hdlif.data.sources.series:find_series"), "series", "data of series"),
    "table": FoundKind(At("hdlif.data.sources.tables:find_table"), "table", "a table"),
    "shards": FoundKind(At("hdlif.data.sources.shards:find_shards"), None, "tar shards"),
    "arrow": FoundKind(At("hdlif.data.sources.arrow:find_arrow"), None, "a folder of the package datasets"),
    "events": FoundKind(At("hdlif.data.sources.events:find_events"), "events", "a folder of recordings of events"),
}
_SERIES_OR_TABLE = ("series", "table")
GIVEN = ("root", "size", "known", "say", "scale", "time_steps", "binning")


def found_kind(kind: str) -> FoundKind | None:
    """The kind of data of the user's own that a recipe names; None where it names a set that ships, or nothing."""
    return FOUND.get(kind) or (_ITEMS if is_items(kind) else None)


def is_items(kind: object) -> bool:
    """Whether a kind is a data set of the user's own: package.module:Name, or a name that an installed package offers.

    A name that ships is ours.
    """
    if is_own(kind) or not isinstance(kind, str) or kind in DATA or kind in FOUND:
        return is_own(kind)
    return kind in offers(GROUPS["data.kind"])


_ITEMS = FoundKind(At("hdlif.data.sources.items:find_items"), None, "a data set of your own")
_OF_ITEMS = ("fit", "split", "each_step", "values", "labels", "ahead")
"""Keys of a section whose kind is one's own that are not its arguments."""


def samples_of(section: DataConfig) -> str | None:
    """What a sample of data of the user's own is, where it is known before, or since, they were looked at."""
    kind = found_kind(section.kind)
    return section.found.input.kind if section.found else kind.samples if kind else None


def finder(section: DataConfig) -> Callable[..., Found]:
    """What looks at the data of a section, with its arguments checked. Raises `RecipeError`."""
    if section.validation is not None:
        raise RecipeError(
            f"data.validation = {section.validation} counts samples of a set that ships; of data of your own, shares "
            "are taken: set data.split={validation: 0.15, test: 0.15}"
        )
    beside = DataConfig.model_fields.keys() - {"found", "validation"}
    if is_items(section.kind):
        return _of_items(section.kind, section.arguments, beside)
    find = FOUND[section.kind].find
    return checked(find, "data", section.arguments, kind=section.kind, beside=beside, given=GIVEN)


def _of_items(kind: str, arguments: Mapping[str, Any], beside: Collection[str] = ()) -> Callable[..., Found]:
    """What looks at a data set of the user's own, with the arguments of its section checked against its signature."""
    function: Callable[..., Any] = chosen({}, kind, "data.kind")
    given = ("split", "train")
    if twice := sorted(arguments.keys() & (parameters(function).keys() - {*given, "fit"}) & {*_OF_ITEMS}):
        raise RecipeError(
            f'data.{twice[0]} is a key of every data set of your own, and an argument of "{kind}" too; '
            "call the argument otherwise"
        )
    own = {name: value for name, value in arguments.items() if name not in _OF_ITEMS}
    make = checked(function, "data", own, kind=kind, beside={*beside, *_OF_ITEMS}, given=given)
    of_items = {name: value for name, value in arguments.items() if name in _OF_ITEMS}
    find = checked(_ITEMS.find, "data", of_items, given=(*GIVEN, "make", "takes", "name"))
    return partial(find, make=make, takes=make.takes, name=kind)


def asked_by(task: TaskRecord, outputs: tuple[str, ...], kind: str) -> dict[str, Any]:
    """The keys of the section `data` that a network's task and outputs ask for.

    Raises:
        DataError: such data give no such target.
    """
    arguments: dict[str, Any] = {}
    if task.kind == "sequence":
        arguments = {"each_step": True}
    elif task.ahead:
        arguments = {"ahead": task.ahead}
    elif task.kind == "regress":
        arguments = {"values": list(outputs)} | ({"each_step": True} if task.combine == "each" else {})
    elif task.kind == "multilabel":
        arguments = {"labels": list(outputs)}
    find = FOUND[kind].find if kind in FOUND else _ITEMS.find
    if missing := sorted(arguments.keys() - parameters(find).keys()):
        raise DataError(
            f'data of kind "{kind}" give none of {", ".join(missing)}, which the network\'s task, "{task.kind}", asks '
            "for; give data like those that it was trained on"
        )
    return arguments


_TARGETS = ("each_step", "values", "labels", "ahead")
"""Keys of the section `data` that say what is learned."""
_OF_NETWORK = {
    *("channels", "fit", "sensor", "resize", "rate", "resample"),
    *("seconds", "clips", "every", "mels", "frame_ms", "hop_ms", "lowest_hz", "highest_hz"),
}
"""Keys that say what samples become, which a network that is there keeps."""


def keys_for(keys: Mapping[str, Any], kind: str, asked: Mapping[str, Any], part: Tested) -> dict[str, Any]:
    """The keys of the section `data` by which data are looked at that a network is to be tested on.

    Args:
        keys: that are set beside.
        kind: of the data.
        asked: what the network has already, from the section that it was trained with or by its task.
        part: what is tested on; "all" is divided no further.
    Raises:
        RecipeError: a key that the network decides, or a split of what is not divided.
    """
    of_network = {"fit"} if is_items(kind) else _OF_NETWORK
    for key, value in keys.items():
        if key in of_network:
            raise RecipeError(
                f"data.{key} = {brief(value)} is refused: the network takes samples as it was trained on them; "
                "leave it out"
            )
        if key in _TARGETS and (value or None) != (learned := asked.get(key) or None):
            had = "has none" if learned is None else f"learned {brief(learned)}"
            raise RecipeError(f"data.{key} = {brief(value)} is refused: the network {had}; leave it out")
    if part == "all" and "split" in keys:
        raise RecipeError(
            f"data.split = {brief(keys['split'])} divides what is to be tested on as a whole; leave it out, or choose "
            "another part than all"
        )
    if isinstance(keys.get("split"), Mapping) and isinstance(asked.get("split"), Mapping):
        # As of a training: what is not named stays.
        keys = {**keys, "split": {**asked["split"], **keys["split"]}}
    return {**asked, **keys, **({"split": {"test": 1}} if part == "all" else {})}


def check_divided(arguments: Mapping[str, Any]) -> None:
    """Raise `RecipeError` where a split leaves nothing to train on."""
    split = arguments.get("split")
    if isinstance(split, Mapping) and split.get("test") == 1:
        raise RecipeError(
            "data.split.test = 1 leaves nothing to train on; it should be below 1. To test a network on all of it: "
            "`hdlif eval --part all`"
        )


def look(
    kind: str,
    path: str,
    arguments: Mapping[str, Any],
    *,
    size: int | None = None,
    known: InputRecord | None = None,
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    time_steps: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Look at data of a kind without a recipe.

    Args:
        arguments: keys of the section `data` that such data take besides.
        size: `data.size`.
        known: what a network that is there already takes.
        scale: mean and deviation by which it has its values normalised.
        time_steps: of what the sets are shown, and what is learned at each step has; one, and any number, by default.
        say: gets a line where that will take a while.
    Raises:
        RecipeError: such data have no such key, or it has another type.
        DataError: the data cannot be used.
    """
    if known is None:
        check_divided(arguments)
    if is_items(kind):
        find = _of_items(kind, arguments)
    else:
        find = checked(FOUND[kind].find, "data", {**arguments, "path": path}, kind=kind, given=GIVEN)
    found = find(
        root=None,
        size=size,
        known=known,
        say=say,
        scale=scale,
        time_steps=1 if time_steps is None else time_steps,
        binning=binning_of(known),
    )
    check_steps(found, time_steps)
    return found


def check_steps(found: Found, time_steps: int | None) -> None:
    """Raise `DataError` where targets at each step are for another number of steps; None takes any.

    Of series that is said of their length, elsewhere.
    """
    steps = found.target_steps
    if found.input.kind != "series" and None not in (steps, time_steps) and steps != time_steps:
        raise DataError(
            f"{found.path}: has targets at {steps} steps, and time_steps = {time_steps}; set "
            f"time_steps={steps}, or give others"
        )


def binning_of(known: InputRecord | None) -> str:
    """How a network's recordings are binned; by number where it is not known."""
    return "by_number" if known is None or known.binning == "none" else known.binning


def arguments(*kinds: str) -> set[str]:
    """The keys that any of these kinds takes, or any at all."""
    return keys(*(FOUND[kind].find for kind in kinds or FOUND), given=GIVEN)


def kind_at(path: str, otherwise: str = "folder") -> str:
    """Which of these kinds lies at a path that is given without one: what the rest of the program goes by.

    A folder is of series where it has x.npy, or folders with .csv or .wav files and no pictures, and of events where
    these have recordings alone; without such folders, it is of the pictures or recordings that lie beside a table. A
    file is of series where its name ends so. One that may be a table as well is of the kind `otherwise` where that is
    one of the two. Where .tar files lie, or are named, they are shards; package.module:Name is a kind itself, and so is
    what a package offers under a name at which nothing lies.

    Args:
        otherwise: the kind where nothing tells, which then says what it misses.
    """
    found = _kinds_at(path)
    return otherwise if otherwise in found or not found else found[0]


def kind_by_keys(path: str, keys: Collection[str]) -> str:
    """The kind of data at a path: a file of rows is a recording if it is to be cut into windows, else a table.

    Args:
        keys: of the section `data` that are set.
    """
    rows = path.lower().endswith(TABLES)
    return kind_at(path, "table" if rows and "window" not in keys else "folder")


def _kinds_at(path: str) -> tuple[str, ...]:
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.isdir(path):  # noqa: PTH112
        if is_items(path) and not os.path.lexists(path):
            return (path,)
        if path.lower().endswith(".tar"):
            return ("shards",)
        return _SERIES_OR_TABLE if path.lower().endswith((".csv", ".npz", ".npy", ".parquet")) else ()
    if os.path.lexists(os.path.join(path, "x.npy")):  # noqa: PTH118
        return _SERIES_OR_TABLE
    if any(os.path.isfile(os.path.join(path, name)) for name in SAVED_BY_DATASETS):  # noqa: PTH113, PTH118
        return ("arrow",)
    if any(name.lower().endswith(".tar") for name in next(os.walk(path), ("", [], []))[2]):
        return ("shards",)
    series = recordings = False
    loose: set[str] = set()
    for number, (_, folders, files) in enumerate(os.walk(path)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        ends = {os.path.splitext(name)[1].lower() for name in files} - {""}  # noqa: PTH122
        # What lies beside the folders of classes is of none; without such, a table may say what is learned of it.
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


def kind_named(name: object) -> str:
    """The name, which is of one of these kinds. Raises `RecipeError`."""
    if not is_items(name):
        choose(FOUND, name, "data.kind")
    return str(name)


def is_there(data: str) -> bool:
    """Whether `--data` names data of the user's own: a path at which there is something, a pattern of shards,
    package.module:Name, or a name that an installed package offers.
    """
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    there = os.path.exists(data)  # noqa: PTH110
    return there or (data.lower().endswith(".tar") and not set("*?[{").isdisjoint(data)) or is_items(data)


def kind_of(samples: str | None) -> str:
    """The kind whose samples are of a kind of input; "folder" where none has such."""
    return next((name for name, kind in FOUND.items() if kind.samples == samples), "folder")


def at_path(section: DataConfig, path: str) -> DataConfig:
    """The section for the data at another path."""
    return DataConfig.model_validate(section.model_dump() | ({} if is_items(section.kind) else {"path": path}))


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
        from hdlif.data.own_data import other_classes

        raise DataError(
            f"{found.path} {other_classes(found.classes, labels, 'the network')}; give data with each class of the "
            "network, and no other"
        )
