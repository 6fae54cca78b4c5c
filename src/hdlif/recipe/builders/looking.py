"""Look at data of the user's own: with the arguments of a section, for a recipe or for a network that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hdlif.errors import ArtefactError, DataError, RecipeError, brief
from hdlif.ops import InputRecord, TaskRecord
from hdlif.ops.input_record import check_input
from hdlif.ops.sound import SoundRecord
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.installed import found_part
from hdlif.recipe.builders.own_kinds import FOUND, OF_ITEMS, Items, found_kind, is_items
from hdlif.recipe.builders.part import takes
from hdlif.recipe.builders.registry import own_part
from hdlif.recipe.config import DataConfig, FoundConfig, InputConfig

if TYPE_CHECKING:
    from hdlif.data import Found, Tested
    from hdlif.tasks import Target


def target_asked(arguments: Mapping[str, Any]) -> Target:
    """Return the target that the keys of a section ask for: a class by default, values, labels, or the next values."""
    if "labels" in arguments:
        return "labels"
    if "ahead" in arguments or "values" in arguments:
        return "values_each" if "ahead" in arguments or arguments.get("each_step") else "values"
    return "classes" if arguments.get("each_step") else "class"


def ahead_asked(arguments: Mapping[str, Any]) -> int:
    """Return how many steps later the learned values come; 0 if they are not the next values of the series."""
    ahead: int = arguments.get("ahead") or 0
    return ahead


def samples_of(section: DataConfig) -> str | None:
    """Return the kind of a sample of data of the user's own, if it is known."""
    kind = found_kind(section.kind)
    return section.found.input.kind if section.found else kind.samples if kind else None


def finder(section: DataConfig) -> Callable[..., Found]:
    """Return what looks at the data of a section, with its arguments checked. Raises `RecipeError`."""
    if section.validation is not None:
        raise RecipeError(
            f"data.validation = {section.validation} counts samples of a set that ships; your own data are divided by "
            "fractions: set data.split={validation: 0.15, test: 0.15}"
        )
    return _finder(section.kind, section.arguments)


def _finder(kind: str, arguments: Mapping[str, Any]) -> Callable[..., Found]:
    if kind in FOUND:
        return FOUND[kind].read("data", {"kind": kind, **arguments}).build
    function = found_part(kind, "data.kind", {*DATA, *FOUND})
    own = own_part(Items, function, "data.kind", kind, given=(*OF_ITEMS, "fit"))
    if twice := sorted(arguments.keys() & takes(function).keys() & Items.model_fields.keys() - {*OF_ITEMS, "fit"}):
        raise RecipeError(
            f'data.{twice[0]} is a key of every data set of your own, and an argument of "{kind}" too; '
            "call the argument otherwise"
        )
    return own.read("data", {"kind": kind, **arguments}).build


def asked_by(task: TaskRecord, outputs: tuple[str, ...], kind: str) -> dict[str, Any]:
    """Return the keys of the section `data` that a network's task and outputs need.

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
    if missing := sorted(arguments.keys() - FOUND.get(kind, Items).model_fields.keys()):
        raise DataError(
            f'data of kind "{kind}" give none of {", ".join(missing)}, which the network\'s task, "{task.kind}", asks '
            "for; give data like those that it was trained on"
        )
    return arguments


_TARGETS = ("each_step", "values", "labels", "ahead")
"""Keys of the section `data` that choose the target."""
_OF_NETWORK = {
    *("channels", "fit", "sensor", "resize", "rate", "resample"),
    *("seconds", "clips", "every", "mels", "frame_ms", "hop_ms", "lowest_hz", "highest_hz"),
}
"""Keys that choose what samples become; a trained network keeps them."""


def keys_for(keys: Mapping[str, Any], kind: str, asked: Mapping[str, Any], part: Tested) -> dict[str, Any]:
    """Return the keys of the section `data` for data that a network is to be tested on.

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
    """Raise `RecipeError` if a split leaves nothing to train on."""
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
        known: input record of an existing network.
        scale: mean and deviation by which its values are normalised.
        time_steps: of what the sets are shown, and what is learned at each step has; one, and any number, by default.
        say: gets a line if this will take a while.
    Raises:
        RecipeError: such data have no such key, or it has another type.
        DataError: the data cannot be used.
    """
    if known is None:
        check_divided(arguments)
    where = {} if is_items(kind) else {"path": path}
    found = _finder(kind, {**arguments, **where})(
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
    """Raise `DataError` if targets at each step have another number of steps; None takes any.

    The length of series is checked elsewhere.
    """
    steps = found.target_steps
    if found.input.kind != "series" and None not in (steps, time_steps) and steps != time_steps:
        raise DataError(
            f"{found.path}: has targets at {steps} steps, and time_steps = {time_steps}; set "
            f"time_steps={steps}, or give others"
        )


def binning_of(known: InputRecord | None) -> str:
    """Return how a network's recordings are binned; by number if it is not known."""
    return "by_number" if known is None or known.binning == "none" else known.binning


def at_path(section: DataConfig, path: str) -> DataConfig:
    """Return the section for the data at another path."""
    return DataConfig.model_validate(section.model_dump() | ({} if is_items(section.kind) else {"path": path}))


def stating(section: DataConfig, found: Found) -> DataConfig:
    """Return the section with an absolute path and a statement of what was found."""
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
    """Return the input record that a recipe states. Raises `RecipeError` if it is not valid."""
    sound = None if stated.sound is None else SoundRecord(**stated.sound.model_dump())
    record = InputRecord(**stated.model_dump() | {"sound": sound})
    try:
        check_input(record)
    except ArtefactError as error:
        raise RecipeError(f"data.found.{error}") from error
    return record


def check_labels(found: Found, labels: tuple[str, ...]) -> None:
    """Raise `DataError` unless data have a network's classes; it names the difference."""
    if found.classes != labels:
        from hdlif.data.own_data import other_classes

        raise DataError(
            f"{found.path} {other_classes(found.classes, labels, 'the network')}; give data with each class of the "
            "network, and no other"
        )
