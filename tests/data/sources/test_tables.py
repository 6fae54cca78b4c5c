"""The user's own tables: what is found in them, how they are split, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import naming
from hdlif.data import OwnData, wine
from hdlif.data.sources.tables import Rows
from hdlif.errors import DataError, MissingExtraError
from hdlif.inputs.tables import parse_named
from series_files import write_csv
from table_files import CLASSES, table_rows, write_table


def look(path: Path, **keys: Any) -> OwnData:
    return Rows(None, size=None, known=None, path=str(path), **keys).find()


def test_rows_become_samples_of_one_step(tmp_path: Path) -> None:
    found = look(write_table(tmp_path / "x.csv"), group="who")
    assert (found.classes, found.input.shape, found.input.columns) == (CLASSES, (2, 1, 1), ("width", "height"))
    train = found.make((), 0).train
    values = train.read(torch.arange(len(train))).numpy().astype(np.float64)
    np.testing.assert_allclose(found.input.mean, values.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.input.std, values.std((0, 2, 3)), rtol=1e-5)
    rows = table_rows()
    people = [rows[int(entry.file.partition(":")[2]) - 2][0] for entry in found.manifest.entries]
    assert len({(who, entry.part) for who, entry in zip(people, found.manifest.entries, strict=True)}) == 10
    # Arrays are a table too.
    np.savez(tmp_path / "x.npz", x=np.array([row[2:] for row in rows], np.float64), y=[row[1] for row in rows])
    arrays, csv = look(tmp_path / "x.npz"), look(tmp_path / "x.csv", columns=["width", "height"])
    assert (arrays.input.mean, arrays.input.columns) == (csv.input.mean, ())


def test_wine_is_the_same_for_every_seed_and_validation() -> None:
    few, many = wine(validation=12), wine(validation=30, seed=3)
    assert torch.equal(few.test.read(torch.arange(45)), many.test.read(torch.arange(45)))
    assert [len(part) for part in many.parts] == [103, 30, 45]
    x, _ = many.train.batch(torch.arange(103))
    assert abs(float(x.mean())) < 0.1
    with pytest.raises(DataError, match="validation"):
        wine(validation=0)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_table(tmp_path / "x.csv")
    for keys, words in (
        ({}, r"--set data\.group=NAME"),
        *(({"label": "kind"}, "kind"), ({"columns": ["depth"]}, "depth"), ({"group": "label"}, "label")),
    ):
        with naming(keys), pytest.raises(DataError, match=words):
            look(path, **keys)
    for other, words in (
        (write_csv(tmp_path / "one.csv", [["a", 1], ["a", 2]], ["label", "x"]), "one class, 'a'"),
        (write_csv(tmp_path / "x.txt", [[1]]), r"give a \.csv"),
        (tmp_path / "none.csv", "there is no such file"),
    ):
        with naming(other), pytest.raises(DataError, match=words):
            look(other)
    with pytest.raises(ValueError, match="size = 3 is refused"):
        Rows(None, size=3, known=None, path=str(path)).find()
    monkeypatch.setattr("hdlif.data.sources.tables.MOST_ROWS", 39)
    with pytest.raises(DataError, match="at most 39"):
        look(path, group="who")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"\[data\]"):
        look(tmp_path / "x.parquet")


def test_parquet_holds_the_same_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path, names = tmp_path / "x.parquet", ["who", "label", "width", "height"]
    columns = dict(zip(names, map(list, zip(*table_rows(), strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), path)
    found, csv = look(path, group="who"), look(write_table(tmp_path / "x.csv"), group="who")
    assert found.input == csv.input
    assert [entry.sha256 for entry in found.manifest.entries] == [entry.sha256 for entry in csv.manifest.entries]
    content = path.read_bytes()
    assert parse_named(content, ".parquet", known=("height", "width")).names == ("height", "width")
    with pytest.raises(DataError, match="column 'who': its type is string"):
        look(path)
    for value, words in ((None, "the cell is empty"), (float("nan"), "nan is a missing value")):
        columns["width"][3] = value
        parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(DataError, match=f"row 4, column 'width': {words}"):
            look(path, group="who")
    path.write_bytes(content[:-9])
    with pytest.raises(DataError, match="pyarrow cannot read it as a Parquet file"):
        look(path)
