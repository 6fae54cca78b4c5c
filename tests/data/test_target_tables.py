"""Folders with a table of targets: what is learned of each file, how they are divided, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cases import naming
from hdlif.data import OwnData
from hdlif.data.manifest import changes
from hdlif.data.sources.events import Recordings
from hdlif.data.sources.pictures import Pictures
from hdlif.data.sources.series import Series
from hdlif.errors import DataError
from hostile import NAMES, one_printable_line
from picture_folders import write_pictures
from recorded_events import MOVES, write_moves
from series_files import write_csv
from target_tables import HEADER, target_rows, write_pictures_with_table, write_target_table

ROWS = {str(row[0]): dict(zip(HEADER, row, strict=True)) for row in target_rows()}


def look(path: Path, **keys: Any) -> OwnData:
    return Pictures(None, **{"size": None, "known": None, "path": str(path), **keys}).find()


def rows_with_targets(found: OwnData) -> Iterator[tuple[dict[str, object], torch.Tensor]]:
    """The row of each picture of all sets, and what these give of it."""
    names = {np.asarray(Image.open(found.path / name)).tobytes(): name for name in ROWS}
    for part in found.make((), 0).parts:
        for one, target in zip(part.read(torch.arange(len(part))), part.labels, strict=True):
            yield ROWS[names[one[0].numpy().tobytes()]], target


def parts_of(found: OwnData) -> dict[str, str]:
    return {entry.file: entry.part for entry in found.manifest.entries}


def test_values_are_those_of_the_row_of_a_picture_and_a_changed_one_is_named(tmp_path: Path) -> None:
    root = write_pictures_with_table(tmp_path / "x")
    found = look(root, values=["light", "flat"])
    assert (found.classes, found.count("train")) == (("light", "flat"), 28)
    train = [[ROWS[file]["light"], ROWS[file]["flat"]] for file, part in parts_of(found).items() if part == "train"]
    np.testing.assert_allclose(found.target_mean, np.mean(train, 0), rtol=1e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.target_std, np.std(train, 0), rtol=1e-5)  # type: ignore[arg-type]
    scale, shift = np.array(found.target_std), np.array(found.target_mean)
    seen = list(rows_with_targets(found))
    assert len(seen) == 40
    for row, target in seen:
        np.testing.assert_allclose(target.numpy() * scale + shift, [row["light"], row["flat"]], rtol=1e-4, atol=1e-4)
    said = found.seen["target"]
    assert (said["names"], said["least"], said["most"]) == (["light", "flat"], [20, 0], [56, 1])
    # Normalised as a network has them.
    for row, target in rows_with_targets(look(root, values=["light"], scale=((10.0,), (2.0,)))):
        assert float(target) == (float(str(row["light"])) - 10) / 2
    # A row that changed is named.
    before = look(root, values=["light"]).manifest
    assert look(root, values=["flat"]).manifest.digest != before.digest
    rows = target_rows()
    rows[3][4] = 99
    write_target_table(root / "labels.csv", rows, HEADER[:-1])
    after = look(root, values=["light"]).manifest
    assert changes(before, after) == "1 with another target (03.png)"
    assert after.digest != before.digest
    # Pictures that are left out need no target.
    (root / "05.png").write_bytes(b"no picture")
    assert look(root, values=["light"], unreadable="skip").manifest.skipped == ("05.png",)


def test_labels_and_classes_are_those_of_the_row_and_counted(tmp_path: Path) -> None:
    found = look(write_pictures_with_table(tmp_path / "x"), labels=["tall", "flat"])
    for row, target in rows_with_targets(found):
        assert target.tolist() == [row["tall"], row["flat"]]
    counts = found.seen["target"]["counts"]
    assert {name: sum(of_parts.values()) for name, of_parts in counts.items()} == {"tall": 20, "flat": 20}
    assert found.target_std == ()
    # A column of classes needs no folders.
    found = look(tmp_path / "x")
    assert found.classes == ("both", "flat", "none", "tall")
    assert {sum(parts.values()) for parts in found.manifest.counts().values()} == {10}
    for row, target in rows_with_targets(found):
        assert found.classes[int(target)] == row["label"]
    other = look(tmp_path / "x", label="flat")
    assert other.classes == ("0", "1")
    assert "target" not in other.seen


def test_a_table_goes_before_folders_of_classes_where_it_is_named(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "x", 4)
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*.*"))
    write_csv(root / "table.csv", [[file, number % 2] for number, file in enumerate(files)], ["picture", "odd"])
    assert look(root).classes == ("cat", "dog", "owl")
    found = look(root, targets="table.csv", file="picture", label="odd")
    assert (found.classes, found.seen["ignored"]) == (("0", "1"), {})
    assert [entry.file for entry in found.manifest.entries] == files
    with pytest.raises(ValueError, match="file = picture is a column of a table of targets; name the table too"):
        look(root, file="picture")


def test_no_group_is_in_two_parts_and_the_tables_parts_are_kept(tmp_path: Path) -> None:
    root = write_pictures_with_table(tmp_path / "x", columns=HEADER)
    found = look(root, values=["light"], group="person")
    names = {"train": "train", "val": "validation", "test": "test"}
    assert parts_of(found) == {file: names[str(row["part"])] for file, row in ROWS.items()}
    assert (found.seen["split"], len(found.seen["groups"])) == ({}, 10)
    write_target_table(root / "labels.csv", target_rows(), HEADER[:-1])
    found = look(root, values=["light"], group="person", split={"test": 0.3, "validation": 0.2, "seed": 3})
    parts = {(ROWS[file]["person"], part) for file, part in parts_of(found).items()}
    assert len(parts) == 10
    assert sorted(part for _, part in parts) == ["test"] * 3 + ["train"] * 5 + ["validation"] * 2
    classes = look(root, group="person")
    assert len({(ROWS[file]["person"], part) for file, part in parts_of(classes).items()}) == 10


def test_folders_of_recordings_take_a_table_too(tmp_path: Path) -> None:
    root = write_moves(tmp_path / "x", 8)
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*.np*"))
    rows = [[file, number, int(MOVES[0] in file)] for number, file in enumerate(files)]
    write_csv(root / "table.csv", rows, ["file", "speed", "leftward"])
    keys: dict[str, Any] = {"size": None, "known": None, "path": str(root), "time_steps": 3, "binning": "by_number"}
    found = Recordings(None, **keys, values=["speed"]).find()
    numbers = torch.cat([part.labels for part in found.make((), 0).parts]).flatten().sort().values
    np.testing.assert_allclose(numbers * found.target_std[0] + found.target_mean[0], range(16), atol=1e-4)
    labelled = Recordings(None, **keys, labels=["leftward"]).find()
    assert labelled.make((), 0).train.labels.shape == (labelled.count("train"), 1)
    assert Recordings(None, **keys).find().classes == MOVES


def refused(root: Path, **keys: Any) -> None:
    with naming(keys), pytest.raises(DataError) as caught:
        look(root, **keys)
    one_printable_line(caught.value)


def test_tables_that_do_not_fit_the_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    root = write_pictures_with_table(tmp_path / "x", columns=HEADER)
    table = root / "labels.csv"
    cases: tuple[tuple[str, tuple[object, ...], dict[str, Any]], ...] = (
        ("file", ("03", "gone.png", "02.png", ""), {}),
        ("light", ("", "nan", "1e39"), {"values": ["light"]}),
        ("flat", (2,), {"labels": ["tall", "flat"]}),
        ("part", ("dev",), {}),
        ("part", ("test",), {"group": "person"}),
    )
    for column, values, keys in cases:
        for value in values:
            rows = target_rows()
            rows[3][HEADER.index(column)] = value
            write_target_table(table, rows, HEADER)
            refused(root, **keys)
    write_target_table(table, target_rows(), HEADER)
    whole = table.read_bytes()
    for name in NAMES.values():
        cell = '"' + name.replace('"', '""') + '"'
        table.write_bytes(whole.replace(b"03.png", cell.encode("utf-8", "surrogatepass")))
        refused(root)
    # What is not learned is not read.
    table.write_bytes(whole.replace(b"03.png,both,1,1,29", b"03.png,both,1,1,"))
    assert table.read_bytes() != whole
    look(root)


def test_requests_that_a_table_does_not_meet_are_refused_in_one_line(tmp_path: Path) -> None:
    root = write_pictures_with_table(tmp_path / "x")
    write_target_table(root / "more.csv", target_rows(1), HEADER[:-1])
    # Two tables lie there, and none is named.
    refused(root, values=["light"])
    for targets in ("none.csv", "00.png", *(name.encode("utf-8", "replace").decode() for name in NAMES.values())):
        refused(root, targets=targets, values=["light"])
    refused(root, targets="more.csv", label="light")
    for keys in (
        *({"values": [name]} for name in ("ligth", "label")),
        *({key: "path"} for key in ("label", "file")),
        *({"values": ["light"], "group": "who"}, {"label": "label", "group": "label"}),
    ):
        refused(root, targets="labels.csv", **keys)
    (root / "more.csv").unlink()
    for keys in ({"label": "label"}, {"labels": ["flat"]}):
        with (
            naming(keys),
            pytest.raises(ValueError, match=r"applies to classes, but|values and labels cannot be combined"),
        ):
            look(root, values=["light"], **keys)
    write_target_table(root / "labels.csv", [[*row[:-1], "test"] for row in target_rows()], HEADER)
    refused(root)
    write_target_table(root / "labels.csv", target_rows(2), HEADER[:-1])
    for number in range(2, 40):
        (root / f"{number:02}.png").unlink()
    refused(root, values=["light"])
    (root / "labels.csv").unlink()
    refused(root, values=["light"])


def test_a_parquet_table_gives_the_same(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    root = write_pictures_with_table(tmp_path / "x", columns=HEADER)
    csv = look(root, values=["light"], group="person")
    (root / "labels.csv").unlink()
    columns = {name: [row[place] for row in target_rows()] for place, name in enumerate(HEADER)}
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    assert look(root, values=["light"], group="person").manifest == csv.manifest
    columns["file"][3] = "gone.png"
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    with pytest.raises(DataError, match="row 4"):
        look(root, values=["light"])


def test_time_series_next_to_a_table_of_values_are_refused_with_advice(tmp_path: Path) -> None:
    for number in range(4):
        write_csv(tmp_path / f"{number}.csv", [[number, 1]] * 5, ["ax", "ay"])
    write_csv(tmp_path / "wear.csv", [[f"{number}.csv", number] for number in range(4)], ["file", "wear"])
    for keys in ({}, {"targets": "wear.csv"}):
        with pytest.raises(DataError, match=r"arrays x \[N, T, C\] and y"):
            look(tmp_path, values=["wear"], **keys)
    with pytest.raises(ValueError, match=r"arrays x \[N, T, C\] and y"):
        Series(None, path=str(tmp_path), values=["wear"]).find()
