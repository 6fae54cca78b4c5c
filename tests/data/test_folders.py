"""Folders named by classes: what is found in them, and what is refused in one line."""

import os
from pathlib import Path

import pytest

from hdlif.data import folders as class_folders
from hdlif.data.folders import laid_out
from hdlif.errors import DataError, printable

SUFFIXES = (".jpg", ".png")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        laid_out(root, SUFFIXES)
    message = str(caught.value)
    assert printable(message) == message
    assert message.startswith(str(root))
    return message.removeprefix(str(root))


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


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("train",), ("train",)),
        (("train", "test"), ("train", "test")),
        (("train", "val"), ("train", "validation")),
        (("train", "valid", "test"), ("train", "validation", "test")),
    ],
)
def test_parts_may_have_folders_of_their_own(tmp_path: Path, folders: tuple[str, ...], parts: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{folder}/{name}/1.png" for folder in folders for name in ("a", "b")))
    layout = laid_out(tmp_path, SUFFIXES)
    assert (layout.parts, layout.classes) == (parts, ("a", "b"))
    assert {one.name.split("/")[0]: one.part for one in layout.files} == dict(zip(folders, parts, strict=True))


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent").startswith(": there is no such folder; give a folder of pictures")
    touch(tmp_path, "file.png", "loose/1.png", "one/a/1.png", "empty/a/1.png", "empty/b/x.txt")
    assert refusal(tmp_path / "file.png").startswith(": is a file; give a folder")
    assert refusal(tmp_path / "loose").startswith(": 1 pictures lie in it, and no folder; lay pictures out as")
    assert refusal(tmp_path / "one").startswith(': has one class, "a"; there must be two or more')
    assert ": no picture lies in b; add some" in refusal(tmp_path / "empty")
    assert refusal(Path("/" + 300 * "x")).startswith(": there is no such folder")


def test_parts_of_other_classes_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png")
    assert "/test lacks a class that train has (b) and has a class that train lacks (c); give each" in refusal(tmp_path)
    touch(tmp_path, "more/train/a/1.png", "more/train/b/1.png", "more/test/a/1.png", "more/test/b/1.png")
    touch(tmp_path, "more/test/triangle/1.png")
    assert "/test has a class that train lacks: triangle; give each part" in refusal(tmp_path / "more")
    touch(tmp_path, "two/train/a/1.png", "two/val/a/1.png", "two/valid/a/1.png")
    assert ": train, val, valid name one part twice" in refusal(tmp_path / "two")


def test_links_are_followed_but_not_around(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "set/a/1.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    assert [one.name for one in laid_out(tmp_path / "set", SUFFIXES).files] == ["a/1.png", "b/1.png"]
    (tmp_path / "set" / "a" / "around").symlink_to(tmp_path / "set" / "a")
    assert refusal(tmp_path / "set") == "/a/around: this link leads back to a folder above it; remove it"
    (tmp_path / "set" / "a" / "around").unlink()
    (tmp_path / "set" / "a" / "itself.png").symlink_to("itself.png")
    assert "/a/itself.png: cannot be followed (" in refusal(tmp_path / "set")


def test_names_that_cannot_be_printed_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a\nb/1.png", "c/1.png")
    assert refusal(tmp_path).startswith(": a class cannot be called 'a\\nb', which is not printable; rename its")
    (tmp_path / "bytes" / "c").mkdir(parents=True)
    os.mkdir(os.fsencode(tmp_path / "bytes") + b"/\xff")  # noqa: PTH102
    assert "which is not printable" in refusal(tmp_path / "bytes")


def test_a_whole_disk_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    monkeypatch.setattr(class_folders, "MOST_FILES", 3)
    assert "more than 3 files and folders were found up to here; give one data set" in refusal(tmp_path)
