"""Files in a folder, and what is learned of them: by the folders of their classes, or by a table of targets.

A table of targets is a .csv or .parquet file with a row a file. Its column "file" holds the file's path below the
folder, exactly, with / between. Others hold its class, or values, or labels; a column "part" (train, val or test), and
one of groups that the recipe names, may stand beside.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hdlif.data.arrays import content_of
from hdlif.data.columns import check_labels, line_word, said_of, text_columns
from hdlif.data.files import Folder
from hdlif.data.folders import check_folder, files_below, laid_out, lying_in
from hdlif.data.manifest import PARTS
from hdlif.data.own_data import Layout, Sample
from hdlif.data.split import PART_FOLDERS, parts_named
from hdlif.data.targets import Wanted, classes_of
from hdlif.errors import DataError, brief, some
from hdlif.inputs import Unreadable
from hdlif.inputs.tables import SUFFIXES, Table, header_of, parse_named

FILE, PART = "file", "part"
"""The columns of paths, where the recipe names no other, and of parts, which there may be."""
_MOST_NAMED = 3


def files_at(
    place: Path,
    suffixes: Collection[str],
    what: str,
    wanted: Wanted,
    *,
    targets: str | None,
    file: str | None,
    label: str | None,
    group: str | None,
) -> Layout:
    """The files of a folder, each with what is learned of it.

    Args:
        suffixes: the ends, in small letters, of the names of the files that are looked for.
        what: one such file is called in an error.
        wanted: what is learned.
        targets: the path of a table of targets, from the folder; by default the only table that lies in it, where
            values or labels are learned or there are no folders of classes.
        file, label, group: its columns of paths ("file" by default), of classes ("label"), and of groups: no group is
            in two parts.
    Raises:
        DataError: there is no such folder, the table is not of its files, or what `class_folders.laid_out` refuses.
        ValueError: a column of a table where there is none, or of classes where none are learned.
    """
    check_folder(place, what)
    table = _given(place, targets) if targets is not None else _lying_in(place, wanted)
    if label is not None and not wanted.classes:
        raise ValueError(f"label = {label} is of classes, and values or labels are learned; leave it out")
    if table is not None:
        return _of_table(place, table, suffixes, what, wanted, file=file or FILE, label=label, group=group)
    for key, value in (("file", file), ("label", label), ("group", group)):
        if value is not None:
            raise ValueError(f"{key} = {value} is a column of a table of targets; name that too: targets=labels.csv")
    return laid_out(place, suffixes, what=what)


def _given(place: Path, targets: str) -> Path:
    table = place / targets
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.isfile(table):  # noqa: PTH113
        raise DataError(
            f"{table}: there is no such file; data.targets is the path of a table from the folder, such as labels.csv"
        )
    if table.suffix.lower() not in SUFFIXES:
        raise DataError(f'{table}: its name ends in "{table.suffix}"; give a table of targets, {" or ".join(SUFFIXES)}')
    return table


def _lying_in(place: Path, wanted: Wanted) -> Path | None:
    """The only table that lies in a folder, where one is needed; None where folders of classes lie there."""
    folders, files = lying_in(place)
    tables = [name for name in files if Path(name).suffix.lower() in SUFFIXES]
    by_class = len(folders) > 1 or (len(folders) == 1 and folders[0] in PART_FOLDERS)
    if wanted.one_class and (by_class or not tables):
        return None
    if len(tables) != 1:
        seen = f"several tables lie in it ({some(tables, _MOST_NAMED)})" if tables else "no table of targets lies in it"
        named = "".join(f", {name}" for name in wanted.names[:_MOST_NAMED])
        recorded = "; or, if each is a recording over time, put it into a folder named by its class" if tables else ""
        raise DataError(
            f"{place}: {seen}; name a .csv or .parquet file with columns {FILE}{named or ', label'}: "
            f"--set data.targets=NAME{recorded}"
        )
    return place / tables[0]


def _of_table(
    place: Path,
    path: Path,
    suffixes: Collection[str],
    what: str,
    wanted: Wanted,
    *,
    file: str,
    label: str | None,
    group: str | None,
) -> Layout:
    text = text_columns(path, label, group, labelled=wanted.classes)
    table, divided = _read(path, {"file": file, **dict(zip(_keys(wanted), text, strict=False))}, wanted)
    names, ignored = files_below(place, suffixes, beside=path)
    _check_files(place, path, table, table.words[file], names, what)
    check_labels(path, table, table.numbers, wanted)
    count = len(table.lines)
    listed = [
        Sample(*row)
        for row in zip(
            table.words[file],
            table.words[text[0]] if wanted.classes else [""] * count,
            parts_named(path, table.words[PART]) if divided else [None] * count,
            list(table.numbers) if wanted.names else [None] * count,
            table.words[group] if group else [""] * count,
            strict=True,
        )
    ]
    listed.sort(key=lambda one: one.name)
    there = {one.part for one in listed}
    return Layout(
        place,
        tuple(part for part in PARTS if part in there),
        classes_of(path, wanted, listed) if wanted.classes else (),
        tuple(listed),
        ignored,
        Folder(place, [one.name for one in listed]),
        f"files in {path.name}{said_of(text[0] if wanted.classes else None, group)}",
        wanted,
        f'group of "{group}"' if group else "",
    )


def _keys(wanted: Wanted) -> Sequence[str]:
    """The keys of a recipe that name the columns of `text_columns`."""
    return ("label", "group") if wanted.classes else ("group",)


def _read(path: Path, asked: Mapping[str, str], wanted: Wanted) -> tuple[Table, bool]:
    """The columns that are asked for by keys of a recipe, and whether there is one of parts beside."""
    content, suffix, text = content_of(path), path.suffix.lower(), [*asked.values()]
    try:
        divided = PART in (header_of(content, suffix) or ()) and PART not in (*text, *wanted.names)
        return parse_named(content, suffix, text=[*text, PART] if divided else text, columns=wanted.names), divided
    except Unreadable as error:
        said = str(error)
        key = next((key for key, name in asked.items() if f"no column {brief(name)}" in said), None)
        raise DataError(f"{path}: {said}" + (f"; name another: --set data.{key}=NAME" if key else "")) from error


def _check_files(
    place: Path, path: Path, table: Table, listed: Sequence[str], names: Collection[str], what: str
) -> None:
    """Raise `DataError` unless each file has one row, and each row a file."""
    line, there = line_word(path), set(names)
    first: dict[str, int] = {}
    for number, name in zip(table.lines, listed, strict=True):
        if name in first:
            raise DataError(f"{path}: {line}s {first[name]} and {number} are both of {brief(name)}; keep one of them")
        first[name] = number
    if absent := [name for name in first if name not in there]:
        meant = next((one for one in names if Path(one).stem == absent[0] or Path(one).name == absent[0]), None)
        more = f" ({len(absent):,} rows are so)" if len(absent) > 1 else ""
        raise DataError(
            f"{path}: {line} {first[absent[0]]} is of {brief(absent[0])}, and no {what} lies at that path below "
            f"{place}{more}; " + (f'write "{meant}"' if meant else "put it there, or remove the row")
        )
    if without := sorted(there - first.keys()):
        raise DataError(
            f"{path}: has no row of {some(list(map(brief, without)), _MOST_NAMED)}; add one for each {what} "
            f"in {place}, or move it out of the folder"
        )
