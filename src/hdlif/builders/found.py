"""Kinds of data of the user's own, whose classes and sizes follow from looking at them.

A kind is a function in `hdlif.data` that looks at data and returns a `Found`, and a row of `FOUND` here. Its keyword
arguments beside `_GIVEN` are the keys that a recipe may set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdlif.artefact import InputRecord
from hdlif.builders.arguments import Checked, checked, keys
from hdlif.builders.places import At
from hdlif.config import DataConfig, FoundConfig, InputConfig
from hdlif.errors import ArtefactError, DataError, RecipeError, brief
from hdlif.ops.inference import check_input

if TYPE_CHECKING:
    from hdlif.data import Found


@dataclass(frozen=True)
class FoundKind:
    """A kind of data of the user's own: what it has follows from looking at it, and is then kept in the recipe.

    Attributes:
        find: looks at data, from (root, size, known, say) and the arguments of the recipe's section.
        samples: what a sample is, in the words of `InputRecord.kind`.
    """

    find: Callable[..., Found]
    samples: str


FOUND: Mapping[str, FoundKind] = {
    "folder": FoundKind(At("hdlif.data.picture_folder:find_pictures"), "image"),
}
_GIVEN = ("root", "size", "known", "say")


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


def arguments() -> set[str]:
    """The keys that any of these kinds takes."""
    return keys(*(kind.find for kind in FOUND.values()), given=_GIVEN)


def kind_at(path: str) -> str:
    """Which of these kinds lies at a path that is given without one: what the rest of the program goes by."""
    return "folder"


def at_path(section: DataConfig, path: str) -> DataConfig:
    """The section for the data at another path."""
    return DataConfig.model_validate(section.model_dump() | {"path": path})


def stating(section: DataConfig, found: Found) -> DataConfig:
    """The section with what was found stated in it, and an absolute path."""
    stated = InputConfig(**{name: getattr(found.input, name) for name in InputConfig.model_fields})
    kept = FoundConfig(digest=found.manifest.digest, classes=found.classes, input=stated)
    return DataConfig.model_validate(at_path(section, str(found.path)).model_dump() | {"found": kept})


def record_of(stated: InputConfig) -> InputRecord:
    """The input record that a recipe states. Raises `RecipeError` where there can be none such."""
    record = InputRecord(**stated.model_dump())
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
            "give a folder with a folder for each class of the network"
        )
