"""Folders named by classes: what is found in them, and what is refused in one line."""

import os
import re
from pathlib import Path

import pytest

from cases import naming
from hdlif.data import folders as class_folders
from hdlif.data.folders import laid_out
from hdlif.errors import DataError

SUFFIXES = (".jpg", ".png")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def refused(root: Path, words: str) -> None:
    with naming(root, words), pytest.raises(DataError, match=re.escape(words)) as caught:
        laid_out(root, SUFFIXES)
    assert str(caught.value).startswith(str(root))
    assert str(caught.value).isprintable()


def test_class_folders_lie_in_the_root(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.PNG", "cat/a.jpg", "cat/more/c.png", "cat/notes.txt", "x.png", ".git/a.png", "dog/.b.png")
    layout = laid_out(tmp_path, SUFFIXES)
    assert (layout.classes, layout.parts) == (("cat", "dog"), ())
    assert [(one.name, one.label, one.part) for one in layout.files] == [
        ("cat/a.jpg", "cat", None),
        ("cat/more/c.png", "cat", None),
        ("dog/b.PNG", "dog", None),
    ]
    assert layout.ignored == {".png": 1, ".txt": 1}


def test_parts_may_have_folders_of_their_own(tmp_path: Path) -> None:
    names = {"train": "train", "test": "test", "val": "validation", "valid": "validation"}
    for number, folders in enumerate((("train",), ("train", "test"), ("train", "val"), ("train", "valid", "test"))):
        root = touch(tmp_path / str(number), *(f"{folder}/{name}/1.png" for folder in folders for name in ("a", "b")))
        layout = laid_out(root, SUFFIXES)
        parts = {folder: names[folder] for folder in folders}
        assert (layout.parts, layout.classes) == (tuple(parts.values()), ("a", "b"))
        assert {one.name.split("/")[0]: one.part for one in layout.files} == parts


def test_other_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "file.png", "loose/1.png", "one/a/1.png", "empty/a/1.png", "empty/b/x.txt", "line/a\nb/1.png")
    touch(tmp_path, "line/c/1.png", "many/a/1.png", "many/a/2.png", "many/b/1.png", "bytes/c/1.png")
    touch(tmp_path, *(f"classes/{name}/1.png" for name in ("train/a", "train/b", "test/a", "test/c")))
    touch(tmp_path, *(f"more/{name}/1.png" for name in ("train/a", "train/b", "test/a", "test/b", "test/owl")))
    touch(tmp_path, *(f"two/{name}/1.png" for name in ("train/a", "val/a", "valid/a")))
    os.mkdir(os.fsencode(tmp_path / "bytes") + b"/\xff")  # noqa: PTH102
    for name, words in {
        "absent": "there is no such folder",
        "x" * 300: "there is no such folder",
        "file.png": "is a file; give a folder",
        "loose": "1 pictures lie in it, and no folder",
        "one": 'has one class, "a"',
        "empty": "no picture lies in b",
        "line": "cannot be called 'a\\nb', which is not printable",
        "bytes": "which is not printable",
        "classes": "test lacks a class that train has (b) and has a class that train lacks (c)",
        "more": "test has a class that train lacks: owl",
        "two": "train, val, valid name one part twice",
    }.items():
        refused(tmp_path / name, words)
    # A whole disk is not searched.
    monkeypatch.setattr(class_folders, "MOST_FILES", 3)
    refused(tmp_path / "many", "more than 3 files and folders")


def test_links_are_followed_but_not_around(tmp_path: Path) -> None:
    root = touch(tmp_path, "elsewhere/1.png", "set/a/1.png") / "set"
    (root / "b").symlink_to(tmp_path / "elsewhere")
    assert [one.name for one in laid_out(root, SUFFIXES).files] == ["a/1.png", "b/1.png"]
    for name, target, words in (
        ("around", root / "a", "this link leads back to a folder above it"),
        ("itself.png", Path("itself.png"), "cannot be followed ("),
    ):
        link = root / "a" / name
        link.symlink_to(target)
        refused(root, f"a/{name}: {words}")
        link.unlink()
