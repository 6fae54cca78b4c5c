"""Files in folders that are named by their classes: ROOT/CLASS/..., or, split already, ROOT/PART/CLASS/...

Class folders may have folders in them. Links are followed, but never around. Names that begin with a dot are passed
over, and so are files of other kinds, which are counted.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hdlif.data.files import Folder
from hdlif.data.manifest import PARTS, Part
from hdlif.data.own_data import Layout, Sample, other_classes
from hdlif.data.split import PART_FOLDERS
from hdlif.errors import DataError, brief, cut, reason, some

MOST_FILES = 10**7
"""Files and folders that are looked at: more are no data set, but a disk."""
_MOST_NAMED = 5


@dataclass
class _Walk:
    suffixes: Collection[str]
    ignored: Counter[str] = field(default_factory=Counter)
    seen: int = 0


def laid_out(root: Path, suffixes: Collection[str], *, what: str = "picture") -> Layout:
    """Find the classes and files of a folder.

    Args:
        suffixes: the ends, in small letters, of the names of the files that are looked for.
        what: one such file is called in an error.
    Raises:
        DataError: there is no such folder, fewer than two classes, one without files, parts have other classes than
            the training part, a class has a name that cannot be shown, or links lead around.
    """
    accepted = f"lay {what}s out as {root}/CLASS/FILE or {root}/train/CLASS/FILE"
    check_folder(root, what)
    walk = _Walk(suffixes)
    folders, loose = _folders_in(root, walk)
    parts = _parts_of(root, folders, walk)
    if not folders:
        seen = f"{loose} {what}s lie in it, and no folder" if loose else "no folder lies in it"
        raise DataError(f"{root}: {seen}; {accepted}")
    listed: list[Sample] = []
    classes: list[str] = []
    if not parts:
        classes = _checked_classes(root, folders, accepted)
        listed += _of_classes(root, "", classes, None, walk, what)
    for folder, part in parts.items():
        names, _ = _folders_in(root / folder, walk)
        found = _checked_classes(root / folder, names, accepted)
        classes = classes or found
        if found != classes:
            raise DataError(
                f"{root / folder} {other_classes(found, classes, 'train')}; give each part the same class folders"
            )
        listed += _of_classes(root / folder, f"{folder}/", classes, part, walk, what)
    present = tuple(part for part in PARTS if part in parts.values())
    files = tuple(sorted(listed, key=lambda one: one.name))
    return Layout(
        root,
        present,
        tuple(classes),
        files,
        dict(sorted(walk.ignored.items())),
        Folder(root, [one.name for one in files]),
        "/".join(present) + " folders of classes" if present else "folders of classes",
    )


def check_folder(root: Path, what: str) -> None:
    """Raise `DataError` unless there is such a folder."""
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.isdir(root):  # noqa: PTH112
        seen = "is a file" if os.path.lexists(root) else "there is no such folder"
        raise DataError(f"{root}: {seen}; give a folder of {what}s, with a folder for each class")


def lying_in(root: Path) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files that lie in a folder itself, sorted. Raises `DataError`."""
    found = sorted((entry.name, _is_folder(entry)) for entry in _entries(root, _Walk(())))
    return [name for name, is_folder in found if is_folder], [name for name, is_folder in found if not is_folder]


def files_below(root: Path, suffixes: Collection[str], *, beside: Path) -> tuple[list[str], Mapping[str, int]]:
    """The files of a folder, however deep, by their paths in it; and how many of other kinds there are.

    Args:
        beside: a file that is not counted.
    Raises:
        DataError: links lead around, or a folder cannot be looked through.
    """
    walk = _Walk(suffixes)
    found = list(_files_below(root, walk))
    if beside.is_relative_to(root):
        walk.ignored[beside.suffix.lower()] -= 1
    return found, {end: count for end, count in sorted(walk.ignored.items()) if count > 0}


def _parts_of(root: Path, folders: Collection[str], walk: _Walk) -> dict[str, Part]:
    """The folders of parts, training first: where "train" is one, and another part or nothing else lies beside it."""
    named = [name for name in folders if name in PART_FOLDERS]
    if "train" not in named or (len(named) == 1 < len(folders)):
        return {}
    found = {name: PART_FOLDERS[name] for name in sorted(named, key=lambda name: PARTS.index(PART_FOLDERS[name]))}
    walk.ignored.update(f"{name}/" for name in folders if name not in found)
    if len(set(found.values())) < len(found):
        raise DataError(f"{root}: {', '.join(sorted(named))} name one part twice; keep one folder for each part")
    return found


def _checked_classes(folder: Path, names: list[str], accepted: str) -> list[str]:
    for name in names:
        if not name.isprintable():
            raise DataError(
                f"{folder}: a class cannot be called {brief(name)}, which is not printable; rename its folder"
            )
    if len(names) < 2:
        seen = f'one class, "{cut(names[0])}"' if names else "no class folders"
        raise DataError(f"{folder}: has {seen}; there must be two or more: {accepted}")
    return names


def _of_classes(
    folder: Path, prefix: str, classes: list[str], part: Part | None, walk: _Walk, what: str
) -> Iterator[Sample]:
    empty = []
    for label in classes:
        files = list(_files_below(folder / label, walk))
        if not files:
            empty.append(label)
        yield from (Sample(f"{prefix}{label}/{file}", label, part) for file in files)
    if empty:
        raise DataError(
            f"{folder}: no {what} lies in {some(empty, _MOST_NAMED)}; add some, or remove the folder "
            f"({what}s end in {', '.join(sorted(walk.suffixes))})"
        )


def _folders_in(folder: Path, walk: _Walk) -> tuple[list[str], int]:
    """The sorted names of the folders in a folder, and how many files that would belong into one lie beside them."""
    names, loose = [], 0
    for entry in _entries(folder, walk):
        if _is_folder(entry):
            names.append(entry.name)
        else:
            suffix = Path(entry.name).suffix.lower()
            loose += suffix in walk.suffixes
            walk.ignored[suffix or "no suffix"] += 1
    return sorted(names), loose


def _files_below(folder: Path, walk: _Walk) -> Iterator[str]:
    """The files below a folder, however deep, by their paths in it."""
    folders = [(folder, "", frozenset({_identity(folder)}))]
    while folders:
        here, prefix, above = folders.pop()
        for entry in _entries(here, walk):
            if _is_folder(entry):
                itself = _identity(here / entry.name)
                if itself in above:
                    raise DataError(f"{here / entry.name}: this link leads back to a folder above it; remove it")
                folders.append((here / entry.name, f"{prefix}{entry.name}/", above | {itself}))
            elif (suffix := Path(entry.name).suffix.lower()) in walk.suffixes:
                yield f"{prefix}{entry.name}"
            else:
                walk.ignored[suffix or "no suffix"] += 1


def _entries(folder: Path, walk: _Walk) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked through ({reason(error)}); make it readable") from error
    walk.seen += len(found)
    if walk.seen > MOST_FILES:
        raise DataError(
            f"{folder}: more than {MOST_FILES:,} files and folders were found up to here; give one data set"
        )
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    # a link that leads to itself
    except OSError as error:
        raise DataError(f"{entry.path}: cannot be followed ({reason(error)}); remove it") from error


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked at ({reason(error)}); make it readable") from error
    return status.st_dev, status.st_ino
