"""The list of a training's files: kept, read back, and compared."""

from dataclasses import replace
from pathlib import Path

import pytest

from hdlif.data.manifest import Entry, Manifest, changes, read_manifest
from hdlif.errors import DataError

ENTRIES = tuple(
    Entry(f"{label}/{number}.png", 10 + number, f"{number:064x}", label, part)
    for label in ("cat", "dog")
    for number, part in enumerate(("train", "train", "validation", "test"))
)
MANIFEST = Manifest(ENTRIES, ("cat/broken.png", "dog/\udcff.png"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with_targets = Manifest(tuple(replace(entry, target="ab" * 32) for entry in ENTRIES))
    for manifest in (MANIFEST, with_targets):
        (tmp_path / "data_files.json").write_text(manifest.text())
        assert read_manifest(tmp_path / "data_files.json") == manifest
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


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"files": [{"file": 1}], "skipped": []}', MANIFEST.text().replace('"test"', '"other"')],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data_files.json").write_text(text)
    with pytest.raises(DataError, match=r"data_files.json: is not a list of a training's files .* --overwrite"):
        read_manifest(tmp_path / "data_files.json")
