"""Files that were read as a data set: in which part each is, and what is learned of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hdlif.data.own.layout import Hashed, Layout, duplicates
from hdlif.data.own.manifest import Entry, Manifest, Part
from hdlif.data.own.parts import by_part, parts_of, split_here
from hdlif.data.own.shares import Shares
from hdlif.data.own.targets import Learned, Scale, described, digest_of, learned
from hdlif.errors import DataError


@dataclass(frozen=True)
class Assigned:
    """The files of a layout that are used.

    Attributes:
        numbers: of those in each part, in an order in which the first ones are of all classes.
        said: of layout, split, faults, copies and targets, as JSON has it.
    """

    layout: Layout
    manifest: Manifest
    numbers: Mapping[Part, Sequence[int]]
    targets: Learned
    said: Mapping[str, Any]

    def labels(self, part: Part) -> Tensor:
        """What is learned of a part's files, in their order."""
        files = self.layout.files
        return self.targets.tensor([files[number] for number in self.numbers[part]], files)


def assigned(
    layout: Layout,
    seen: Mapping[int, Hashed],
    faults: Mapping[str, str],
    shares: Shares,
    what: str,
    scale: Scale | None,
) -> Assigned:
    """Divide files: each is in the part of its place, or in one that is taken from all, or from its class.

    Args:
        seen: those that are used, by their number.
        faults: the files that are left out.
        what: one file is called.
        scale: by which a network that is there already has its values normalised.
    Raises:
        DataError: there are too few for the parts, a place puts a group in two of them, or they have nothing to come.
    """
    if layout.wanted.ahead is not None:
        raise DataError(f"{layout.root}: data.ahead = {layout.wanted.ahead} is of series; leave it out of {what}s")
    numbers = list(seen)
    files = [layout.files[number] for number in numbers]
    chosen = parts_of(
        layout.root,
        files,
        [one.unit if layout.group else seen[number].sha256 for one, number in zip(files, numbers, strict=True)],
        shares,
        parts=layout.parts,
        grouped=bool(layout.group),
        unit=layout.group or what,
        counted=lambda count: f"{count} different {what}{'s' * (count != 1)}",
    )
    entries = [
        Entry(one.file, hashed.bytes, hashed.sha256, one.label, part, digest_of(one.target))
        for one, hashed, part in zip(files, seen.values(), chosen, strict=True)
    ]
    manifest = Manifest(tuple(entries), tuple(sorted(faults)))
    places = by_part([entry.sha256 for entry in entries], [entry.file for entry in entries], chosen, shares.seed)
    parts = {part: [numbers[place] for place in members] for part, members in places.items()}
    training = [layout.files[number] for number in parts["train"]]
    targets = learned(layout.root, layout.wanted, files, training, scale=scale, classes=layout.classes)
    said = {
        "layout": layout.words,
        "split": split_here(layout.parts, shares),
        "ignored": dict(layout.ignored),
        "unreadable": [{"file": file, "reason": why} for file, why in sorted(faults.items())],
        "duplicates": duplicates(manifest),
        **({"groups": sorted({one.unit for one in files})} if layout.group else {}),
        **described(layout.wanted, targets, files, chosen),
    }
    return Assigned(layout, manifest, parts, targets, said)
