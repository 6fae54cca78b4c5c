"""Folders named by classes: what is found in them, how one part is divided in three, and the list that is kept."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import naming
from hdlif.data import folders as class_folders
from hdlif.data.folders import laid_out
from hdlif.data.manifest import Entry, Manifest, changes, read_manifest
from hdlif.data.split import Shares, divided, shares_of
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
    touch(tmp_path, "file.png", "loose/1.png", "empty/a/1.png", "empty/b/x.txt", "line/a\nb/1.png")
    touch(tmp_path, "line/c/1.png", "many/a/1.png", "many/a/2.png", "many/b/1.png", "bytes/c/1.png")
    touch(tmp_path, *(f"classes/{name}/1.png" for name in ("train/a", "train/b", "test/a", "test/c")))
    touch(tmp_path, *(f"more/{name}/1.png" for name in ("train/a", "train/b", "test/a", "test/b", "test/owl")))
    touch(tmp_path, *(f"two/{name}/1.png" for name in ("train/a", "val/a", "valid/a")))
    os.mkdir(os.fsencode(tmp_path / "bytes") + b"/\xff")  # noqa: PTH102
    for name, words in {
        "absent": "there is no such folder",
        "x" * 300: "there is no such folder",
        "file.png": "is a file; give a folder",
        "loose": "1 images and no folder",
        "empty": "no image in b",
        "line": "class name 'a\\nb' is not printable",
        "bytes": "is not printable",
        "classes": "test lacks a class that train has (b) and has a class that train lacks (c)",
        "more": "test has a class that train lacks: owl",
        "two": "train, val, valid are the same part",
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


BOTH = ("validation", "test")


def contents(count: int) -> list[str]:
    return [f"content {number}" for number in range(count)]


@given(st.integers(3, 60), st.floats(0.05, 0.25), st.floats(0.05, 0.25), st.integers(0, 5))
def test_each_part_has_its_share_of_what_differs(count: int, validation: float, test: float, seed: int) -> None:
    found = divided(contents(count), Shares(validation, test, seed), BOTH)
    assert found is not None
    counted = Counter(found.values())
    assert counted["test"] == max(1, round(count * test))
    assert counted["validation"] == max(1, round(count * validation))
    assert sum(counted.values()) == count
    assert found == divided(list(reversed(contents(count))) * 2, Shares(validation, test, seed), BOTH)
    assert count < 20 or found != divided(contents(count), Shares(validation, test, seed + 1), BOTH)
    of_one = divided(contents(count), Shares(validation, test, seed), ("validation",))
    assert of_one is not None
    assert set(of_one.values()) == {"train", "validation"}


def test_too_few_leave_nothing_to_train_on_and_shares_that_none_can_be_are_refused() -> None:
    for count, wanted in ((2, BOTH), (0, BOTH), (1, ("test",))):
        assert divided(contents(count), Shares(), wanted) is None
    assert shares_of(None) == Shares(0.15, 0.15, 0)
    halves = {"validation": 0.5, "test": 0.5}
    for split in ({"test": 0.0}, {"validation": 1}, halves, {"train": 0.5}, {"seed": 0.5}):
        with naming(split), pytest.raises(ValueError, match="split"):
            shares_of(split)


ENTRIES = tuple(
    Entry(f"{label}/{number}.png", 10 + number, f"{number:064x}", label, part)
    for label in ("cat", "dog")
    for number, part in enumerate(("train", "train", "validation", "test"))
)
MANIFEST = Manifest(ENTRIES, ("cat/broken.png", "dog/\udcff.png"))


def test_what_is_written_is_read_and_what_is_no_list_refused(tmp_path: Path) -> None:
    path = tmp_path / "data_files.json"
    for manifest in (MANIFEST, Manifest(tuple(replace(entry, target="ab" * 32) for entry in ENTRIES))):
        path.write_text(manifest.text())
        assert read_manifest(path) == manifest
    for text in ("", "[]", "{}", '{"files": [{"file": 1}], "skipped": []}', MANIFEST.text().replace('"test"', '"x"')):
        path.write_text(text)
        with naming(text), pytest.raises(DataError, match=r"is not the file list of a training run .* --overwrite"):
            read_manifest(path)
    assert MANIFEST.counts() == {label: {"train": 2, "validation": 1, "test": 1} for label in ("cat", "dog")}


def test_the_digest_is_that_of_every_field() -> None:
    changes = {"file": "x", "bytes": 1, "sha256": "x", "label": "x", "part": "test", "target": "x"}
    changed = [replace(ENTRIES[0], **{key: value}) for key, value in changes.items()]
    digests = {Manifest((entry, *ENTRIES[1:])).digest for entry in (ENTRIES[0], *changed)}
    assert len(digests) == 7
    assert Manifest(ENTRIES).digest == MANIFEST.digest


def test_changes_are_named() -> None:
    assert changes(MANIFEST, MANIFEST) == ""
    other = (
        replace(ENTRIES[0], sha256="x"),
        replace(ENTRIES[1], part="test"),
        replace(ENTRIES[2], target="x"),
        replace(ENTRIES[3], label="owl"),
        *ENTRIES[4:6],
        replace(ENTRIES[6], file="dog/new.png"),
        *(replace(ENTRIES[7], file=f"dog/z{number}.png") for number in range(4)),
    )
    assert changes(MANIFEST, Manifest(other)) == (
        "5 added (dog/new.png, dog/z0.png, dog/z1.png, ...), 2 gone (dog/2.png, dog/3.png), "
        "1 changed (cat/0.png), 2 with another target (cat/2.png, cat/3.png), 1 in another part (cat/1.png)"
    )
