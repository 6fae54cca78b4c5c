"""Data of the user's own: what looking at them has shown, and what makes sets of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdlif.data.augment import Augment
from hdlif.data.own.class_folders import PART_FOLDERS
from hdlif.data.own.layout import duplicates
from hdlif.data.own.manifest import Manifest, Part
from hdlif.data.samples import ImageSets, Samples
from hdlif.ops import InputRecord


@dataclass(frozen=True)
class Found:
    """What is found where the user says that data are.

    Attributes:
        path: absolute.
        input: how a whole sample becomes numbers.
        classes: their names, in the order of the labels; where values are given, theirs.
        manifest: of the files that the sets are made of.
        seen: what else was seen, as JSON has it; "warnings" among it are lines for the user.
        make: the sets, from the training set's augmentations and the seed of these.
        target_mean, target_std: of each value, by which it is normalised.
        target_steps: of targets at each step, how many.
    """

    path: Path
    input: InputRecord
    classes: tuple[str, ...]
    manifest: Manifest
    seen: Mapping[str, Any]
    make: Callable[[Augment, int], ImageSets]
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    target_steps: int | None = None

    def count(self, part: str) -> int:
        """Samples in a part."""
        return sum(entry.part == part for entry in self.manifest.entries)

    def warnings(self) -> list[str]:
        """What may make a figure better or worse than it should be, a line each."""
        copies = duplicates(self.manifest)
        lines = []
        for what, groups in (("classes", copies["in_several_classes"]), ("parts", copies["in_several_parts"])):
            if groups:
                first, others = ", ".join(groups[0][:3]), len(groups) > 1 or len(groups[0]) > 3
                have = "samples have" if len(groups) > 1 else "sample has"
                lines.append(f"{len(groups)} {have} copies in several {what}: {first}{' and others' if others else ''}")
        if odd := [name for name in self.manifest.counts() if name in PART_FOLDERS]:
            lines.append(
                f'"{odd[0]}" is taken for a class; if it is a part of the data, the folders are called '
                "train, val and test, and each has the folders of the classes"
            )
        return [*lines, *self.seen.get("warnings", ())]

    def __str__(self) -> str:
        """In one line."""
        totals = {label: sum(parts.values()) for label, parts in self.manifest.counts().items()}
        classes = ", ".join(f"{label} {count}" for label, count in list(totals.items())[:12])
        more = f", and {len(totals) - 12} more" if len(totals) > 12 else ""
        mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (self.input.mean, self.input.std))
        said = (
            f" of {len(totals)} classes ({classes}{more})"
            if set(totals) != {""}
            else f": {', '.join(self.classes[:12])}"
        )
        return (
            f"{self.path}: {sum(totals.values())} samples{said}; "
            f"{self.count('train')} to train, {self.count('validation')} to validate, {self.count('test')} to test; "
            f"{'x'.join(map(str, self.input.shape))}, mean {mean}, deviation {std}"
        )


def maker(
    samples: Callable[[Part, Augment, int], Samples], record: InputRecord, names: tuple[str, ...]
) -> Callable[[Augment, int], ImageSets]:
    """`Found.make`, of what makes the samples of a part with augmentations and their seed.

    Args:
        names: of the classes, or of what else is learned.
    """

    def make(augment: Augment, seed: int) -> ImageSets:
        return ImageSets(
            samples("train", augment, seed),
            samples("validation", (), 0),
            samples("test", (), 0),
            classes=names,
            shape=record.shape,
            mean=record.mean,
            std=record.std,
        )

    return make
