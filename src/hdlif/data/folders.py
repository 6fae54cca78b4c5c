"""List files from class folders (ROOT/CLASS/ or ROOT/PART/CLASS/) or from a table of targets.

Class folders may contain subfolders. Symbolic links are followed, but cyclic links raise an error. Files and folders
whose names start with a dot are skipped. Files with unsupported suffixes are counted but not listed.

A table of targets is a .csv or .parquet file with one row per sample file. The column "file" contains the exact path of
each file, relative to the folder, with / as the separator. The other columns of the table contain classes, values or
labels. Optional columns contain the split ("part": train, val or test) and the group of each file.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hdlif.data.arrays import content_of
from hdlif.data.columns import check_labels, line_word, said_of, text_columns
from hdlif.data.files import Folder
from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.data.own_data import Layout, Placed
from hdlif.data.split import PART_FOLDERS, parts_named
from hdlif.data.targets import classes_of, other_classes
from hdlif.errors import DataError, brief, reason, some
from hdlif.inputs import Unreadable
from hdlif.inputs.tables import SUFFIXES, Table, header_of, parse_named

SERIES_WITH_TARGETS = "save time series and their targets as arrays x [N, T, C] and y (docs/how_to/series.md)"
"""Advice in errors about files of time series that are not sorted by class."""
MOST_FILES = 10**7
"""Maximum number of files and folders; a higher number suggests an entire disk instead of a data set."""
FILE, PART = "file", "part"
"""Default column of paths, and optional column of parts, in a table of targets."""
_MOST_NAMED, _MOST_ROWS_NAMED = 5, 3
_BY_CLASS = "give a folder of {}s, with a folder for each class"


@dataclass
class Walk:
    """A folder search that collects files with certain suffixes and counts all other files."""

    suffixes: Collection[str]
    ignored: Counter[str] = field(default_factory=Counter)
    seen: int = 0

    def entries(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """Yield the name of each entry in a folder, and whether the entry is a folder. Raises `DataError`."""
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({reason(error)}); make it readable") from error
        self.seen += len(found)
        if self.seen > MOST_FILES:
            raise DataError(
                f"{folder}: more than {MOST_FILES:,} files and folders were found so far; give the folder of one data "
                "set"
            )
        for entry in found:
            try:
                is_folder = entry.is_dir()
            # The entry is a link to itself.
            except OSError as error:
                raise DataError(f"{entry.path}: cannot be followed ({reason(error)}); remove it") from error
            yield entry.name, is_folder

    def folders_in(self, folder: Path) -> tuple[list[str], int]:
        """Return the sorted names of the subfolders, and the number of files with the given suffixes."""
        names, loose = [], 0
        for name, is_folder in self.entries(folder):
            if is_folder:
                names.append(name)
            else:
                suffix = Path(name).suffix.lower()
                loose += suffix in self.suffixes
                self.ignored[suffix or "no suffix"] += 1
        return sorted(names), loose

    def files_below(self, folder: Path) -> Iterator[str]:
        """Yield the relative path of each file with a matching suffix at any depth below a folder."""
        folders = [(folder, "", frozenset({_identity(folder)}))]
        while folders:
            here, prefix, above = folders.pop()
            for name, is_folder in self.entries(here):
                if is_folder:
                    itself = _identity(here / name)
                    if itself in above:
                        raise DataError(f"{here / name}: this link leads back to a folder above it; remove it")
                    folders.append((here / name, f"{prefix}{name}/", above | {itself}))
                elif (suffix := Path(name).suffix.lower()) in self.suffixes:
                    yield f"{prefix}{name}"
                else:
                    self.ignored[suffix or "no suffix"] += 1


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: cannot be accessed ({reason(error)}); make it readable") from error
    return status.st_dev, status.st_ino


def laid_out(root: Path, suffixes: Collection[str], *, what: str = "image") -> Layout:
    """Find the classes in a folder, and list the files of each class.

    Args:
        suffixes: suffixes of the files, in lower case.
        what: the noun for one file.
    Raises:
        DataError: the folder is missing, has no classes or a class without files, a part has other classes than the
            training part, a class name is not printable, or links form a cycle.
    """
    accepted = f"lay {what}s out as {root}/CLASS/FILE or {root}/train/CLASS/FILE"
    check_folder(root, _BY_CLASS.format(what))
    walk = Walk(suffixes)
    folders, loose = walk.folders_in(root)
    parts = part_folders(root, folders, walk)
    if not folders:
        seen = f"it contains {loose} {what}s and no folder" if loose else "it contains no folder"
        raise DataError(f"{root}: {seen}; {accepted}")
    listed: list[Sample] = []
    classes: list[str] = []
    if not parts:
        classes = _checked_classes(root, folders)
        listed += _of_classes(root, "", classes, None, walk, what)
    for folder, part in parts.items():
        found = _checked_classes(root / folder, walk.folders_in(root / folder)[0])
        if not found:
            raise DataError(f"{root / folder}: has no class folders; {accepted}")
        classes = classes or found
        if found != classes:
            raise DataError(
                f"{root / folder} {other_classes(found, classes, 'train')}; give each part the same class folders"
            )
        listed += _of_classes(root / folder, f"{folder}/", classes, part, walk, what)
    present = tuple(part for part in PARTS if part in parts.values())
    files = tuple(sorted(listed, key=lambda one: one.name))
    source = Folder(root, [one.name for one in files])
    words = "/".join(present) + " folders of classes" if present else "folders of classes"
    return Layout(root, present, tuple(classes), files, dict(sorted(walk.ignored.items())), source, words)


def check_folder(root: Path, fix: str) -> None:
    """Raise `DataError` unless the folder exists."""
    # os.path returns False for names that cannot exist; Path's own methods raise if a name is too long.
    if not os.path.isdir(root):  # noqa: PTH112
        seen = "is a file" if os.path.lexists(root) else "there is no such folder"
        raise DataError(f"{root}: {seen}; {fix}")


def part_folders(root: Path, folders: Collection[str], walk: Walk) -> dict[str, Part]:
    """Return the split of each subfolder named "train", "val" or "test", with training first.

    The result is empty if there is no subfolder "train", or if "train" is the only split and there are other
    subfolders.
    """
    named = [name for name in folders if name in PART_FOLDERS]
    if "train" not in named or (len(named) == 1 < len(folders)):
        return {}
    found = {name: PART_FOLDERS[name] for name in sorted(named, key=lambda name: PARTS.index(PART_FOLDERS[name]))}
    walk.ignored.update(f"{name}/" for name in folders if name not in found)
    if len(set(found.values())) < len(found):
        raise DataError(f"{root}: {', '.join(sorted(named))} are the same part; keep one folder for each part")
    return found


def _checked_classes(folder: Path, names: list[str]) -> list[str]:
    for name in names:
        if not name.isprintable():
            raise DataError(f"{folder}: class name {brief(name)} is not printable; rename its folder")
    return names


def _of_classes(
    folder: Path, prefix: str, classes: list[str], part: Part | None, walk: Walk, what: str
) -> Iterator[Sample]:
    empty = []
    for label in classes:
        files = list(walk.files_below(folder / label))
        if not files:
            empty.append(label)
        yield from (Sample(f"{prefix}{label}/{file}", label, part) for file in files)
    if empty:
        raise DataError(
            f"{folder}: no {what} in {some(empty, _MOST_NAMED)}; add some, or remove the folder "
            f"({what}s end in {', '.join(sorted(walk.suffixes))})"
        )


@dataclass(frozen=True, kw_only=True)
class Listed(Placed):
    """A request to load files that are organised in class folders or listed in a table of targets.

    Attributes:
        targets: path of the table of targets, relative to the folder. The default is the only table in the folder, if
            values or labels are learned or there are no class folders.
        file, label, group: the table's columns of paths ("file"), classes ("label"), and groups.
    """

    targets: str | None = None
    file: str | None = None
    label: str | None = None
    group: str | None = None

    def layout(self, suffixes: Collection[str], what: str) -> Layout:
        """List the files of a folder with their targets.

        Args:
            suffixes: suffixes of the files, in lower case.
            what: the noun for one file.
        Raises:
            DataError: the folder is missing, the table does not match the files, or as in `laid_out`.
            ValueError: a column is named without a table, or a column of classes although no classes are learned.
        """
        wanted, place = self.wanted, self.place(f"a folder of {what}s")
        check_folder(place, _BY_CLASS.format(what))
        table = self._only_table(place) if self.targets is None else _given(place, self.targets)
        if self.label is not None and not wanted.classes:
            raise ValueError(
                f"label = {self.label} applies to classes, but the targets are values or labels; leave it out"
            )
        if table is not None:
            return self._of_table(place, table, suffixes, what)
        for key in ("file", "label", "group"):
            if (value := getattr(self, key)) is not None:
                raise ValueError(
                    f"{key} = {value} is a column of a table of targets; name the table too: targets=labels.csv"
                )
        return laid_out(place, suffixes, what=what)

    def _only_table(self, place: Path) -> Path | None:
        """Return the only table in a folder, or None if the folder does not need a table of targets."""
        found = sorted(Walk(()).entries(place))
        folders = [name for name, is_folder in found if is_folder]
        tables = [name for name, is_folder in found if not is_folder and Path(name).suffix.lower() in SUFFIXES]
        by_class = len(folders) > 1 or (len(folders) == 1 and folders[0] in PART_FOLDERS)
        if self.wanted.one_class and (by_class or not tables):
            return None
        if len(tables) == 1:
            return place / tables[0]
        several = f"it contains several tables ({some(tables, _MOST_ROWS_NAMED)})"
        named = "".join(f", {name}" for name in self.wanted.names[:_MOST_ROWS_NAMED])
        of_series = "put it into a folder named after its class" if self.wanted.one_class else SERIES_WITH_TARGETS
        recorded = f"; or, if each is a recording over time, {of_series}" if tables else ""
        raise DataError(
            f"{place}: {several if tables else 'it contains no table of targets'}; name a .csv or .parquet file with "
            f"columns {FILE}{named or ', label'}: --set data.targets=NAME{recorded}"
        )

    def _of_table(self, place: Path, path: Path, suffixes: Collection[str], what: str) -> Layout:
        wanted, file, group = self.wanted, self.file or FILE, self.group
        text = text_columns(path, self.label, group, labelled=wanted.classes)
        keys = ("file", "label", "group") if wanted.classes else ("file", "group")
        table, divided = _read(path, dict(zip(keys, (file, *text), strict=False)), wanted.names)
        walk = Walk(suffixes)
        names = list(walk.files_below(place))
        if path.is_relative_to(place):
            walk.ignored[path.suffix.lower()] -= 1
        _check_files(place, path, table, table.words[file], names, what)
        check_labels(path, table, table.numbers, wanted)
        count = len(table.lines)
        columns = (
            table.words[file],
            table.words[text[0]] if wanted.classes else [""] * count,
            parts_named(path, table.words[PART]) if divided else [None] * count,
            list(table.numbers) if wanted.names else [None] * count,
            table.words[group] if group else [""] * count,
        )
        listed = sorted((Sample(*row) for row in zip(*columns, strict=True)), key=lambda one: one.name)
        there = {one.part for one in listed}
        return Layout(
            place,
            tuple(part for part in PARTS if part in there),
            classes_of(listed) if wanted.classes else (),
            tuple(listed),
            {end: count for end, count in sorted(walk.ignored.items()) if count > 0},
            Folder(place, [one.name for one in listed]),
            f"files in {path.name}{said_of(text[0] if wanted.classes else None, group)}",
            f'group of "{group}"' if group else "",
        )


def _given(place: Path, targets: str) -> Path:
    table = place / targets
    # os.path returns False for names that cannot exist; Path's own methods raise if a name is too long.
    if not os.path.isfile(table):  # noqa: PTH113
        raise DataError(
            f"{table}: there is no such file; data.targets is the path of a table relative to the folder, such as "
            "labels.csv"
        )
    if table.suffix.lower() not in SUFFIXES:
        raise DataError(f'{table}: its name ends in "{table.suffix}"; give a table of targets, {" or ".join(SUFFIXES)}')
    return table


def _read(path: Path, asked: Mapping[str, str], columns: Sequence[str]) -> tuple[Table, bool]:
    """Read the columns that a recipe specifies. Return the table, and whether it has a column of splits."""
    content, suffix, text = content_of(path), path.suffix.lower(), [*asked.values()]
    try:
        divided = PART in (header_of(content, suffix) or ()) and PART not in (*text, *columns)
        return parse_named(content, suffix, text=[*text, PART] if divided else text, columns=columns), divided
    except Unreadable as error:
        said = str(error)
        key = next((key for key, name in asked.items() if f"no column {brief(name)}" in said), None)
        raise DataError(f"{path}: {said}" + (f"; name another: --set data.{key}=NAME" if key else "")) from error


def _check_files(
    place: Path, path: Path, table: Table, listed: Sequence[str], names: Collection[str], what: str
) -> None:
    """Raise `DataError` unless each file has exactly one row in the table of targets and each row refers to a file."""
    line, there = line_word(path), set(names)
    first: dict[str, int] = {}
    for number, name in zip(table.lines, listed, strict=True):
        if name in first:
            raise DataError(f"{path}: {line}s {first[name]} and {number} are both for {brief(name)}; keep one of them")
        first[name] = number
    if absent := [name for name in first if name not in there]:
        meant = next((one for one in names if Path(one).stem == absent[0] or Path(one).name == absent[0]), None)
        more = f" (so for {len(absent):,} rows)" if len(absent) > 1 else ""
        # os.path returns False for names that cannot exist; Path's own methods raise if a name is too long.
        if absent[0].lower().endswith(SUFFIXES) and os.path.isfile(place / absent[0]):  # noqa: PTH113
            raise DataError(
                f"{path}: {line} {first[absent[0]]} lists {brief(absent[0])}, which is a table{more}; "
                f"{SERIES_WITH_TARGETS}"
            )
        raise DataError(
            f"{path}: {line} {first[absent[0]]} lists {brief(absent[0])}, but there is no {what} at that path below "
            f"{place}{more}; " + (f'write "{meant}"' if meant else "put it there, or remove the row")
        )
    if without := sorted(there - first.keys()):
        raise DataError(
            f"{path}: has no row for {some(list(map(brief, without)), _MOST_ROWS_NAMED)}; add one for each {what} "
            f"in {place}, or move it out of the folder"
        )
