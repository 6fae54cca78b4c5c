"""Every loader, over every kind of file that it has: damaged bytes are read or refused in its own words, within limits.

What a file promises takes no memory and no time: what is taken is bounded by what is there.
"""

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cases import naming
from hdlif.data.files import tar_members
from hdlif.data.roots import whole_number
from hdlif.data.sources.fashion_mnist import parse_idx
from hdlif.data.sources.imagenet import INDEX
from hdlif.errors import DataError
from hdlif.inputs import Unreadable
from hostile import one_printable_line
from mutations import mutations
from resource_limits import at_most, within_seconds
from small_sets import IDS, SETS, jpeg, tar
from special_files import special_files


def one_file(root: Path, file: str) -> Path:
    return next((root / file).iterdir()) if file.endswith("/") else root / file


def read_or_refused(name: str, root: Path) -> DataError | None:
    try:
        SETS[name].read(root)
    except DataError as error:
        one_printable_line(error)
        return error
    return None


@pytest.mark.parametrize("name", SETS)
def test_damaged_and_special_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    SETS[name].write(tmp_path)
    assert read_or_refused(name, tmp_path) is None
    for file in SETS[name].files:
        path = one_file(tmp_path, file)
        whole = path.read_bytes()
        refused = 0
        for content in mutations(whole, 21):
            path.write_bytes(content)
            refused += read_or_refused(name, tmp_path) is not None
        path.write_bytes(whole)
        # What is made anew is never refused.
        assert refused > 0 or "hdlif_" in file
        folder = tmp_path / f"special {path.name}"
        folder.mkdir()
        special = special_files(folder, path.suffix)
        for kind in ("fifo", "endless", "loop", "socket"):
            path.unlink()
            path.symlink_to(special[kind])
            with naming(file, kind), within_seconds(30):
                error = read_or_refused(name, tmp_path)
                assert error is not None or "hdlif_" in file
            path.unlink(missing_ok=True)
            path.write_bytes(whole)


def test_idx_promises_are_held_against_the_file() -> None:
    for shape in ((2**31, 2**31, 2**31), (2**32 - 1,) * 3, (0, 0, 0), (1, 28, 29)):
        content = bytes([0, 0, 8, 3]) + struct.pack(">3I", *shape) + bytes(28 * 28)
        with at_most(200_000), pytest.raises(Unreadable):
            parse_idx(content, 3)


def read_members(content: bytes, path: Path) -> list[tuple[str, int, int]]:
    path.write_bytes(content)
    with path.open("rb") as file:
        return [(member.name, member.offset, member.size) for member in tar_members(file)]


LONG = "folder/" + "n" * 150 + "/é" + "x" * 120 + ".jpg"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_are_read_as_tarfile_reads_them(form: int, tmp_path: Path) -> None:
    content, short = io.BytesIO(), form == tarfile.USTAR_FORMAT
    files = {"a/b.jpg": b"x" * 600, "é.cls": b"1", **({} if short else {LONG: b"", LONG + "2": b"y"})}
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        folder, link = tarfile.TarInfo("folder"), tarfile.TarInfo("link" * (1 if short else 40))
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "target" * (1 if short else 40)
        archive.addfile(folder)
        archive.addfile(link)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(member, io.BytesIO(data))
    with tarfile.open(fileobj=io.BytesIO(content.getvalue())) as archive:
        expected = [(m.name, m.offset_data, m.size) for m in archive if m.isfile()]
    assert read_members(content.getvalue(), tmp_path / "x.tar") == expected
    assert len(expected) == len(files)


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(name.ljust(124, b"\0") + size.ljust(12, b"\0") + b"\0" * 12 + b" " * 8 + kind).ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def sized(line: bytes) -> bytes:
    """A pax header of 16 bytes, and the member that it is about."""
    return header(b"a", b"20", b"x") + line.ljust(512, b"\0") + header(b"b", b"0")


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    for content in (
        header(b"a", b"77777777777"),
        header(b"a", b"\xff" * 12),
        header(b"a", b"\x80" + bytes(11)) + header(b"b", b"9"),
        header(b"a", b"-1"),
        header(b"a", b"7777777777", b"g"),
        header(b"a", b"7777777777", b"K"),
        header(b"a", b"200001", b"L") + bytes(2**17),
        sized(b"16 size=9999999\n"),
        sized(b"16 size=-512000\n"),
        bytes(511) + b"x" + bytes(512),
        header(b"a", b"0") + bytes(511) + b"x",
        b"x",
    ):
        with at_most(1_000_000), within_seconds(10), pytest.raises((Unreadable, OSError)):
            read_members(content, tmp_path / "x.tar")


LABELS = ["9" * 30, "-1", "1.0", "²", "١", "1_0", "0x1", "", " ", "1 2", "\x1b[2J", "9" * 5000, "nan", "+1"]


def test_only_plain_decimal_numbers_of_classes_are_labels(tmp_path: Path) -> None:
    one = SETS["imagenet in shards"]
    one.write(tmp_path)
    path = tmp_path / "imagenet" / "val" / "imagenet-val-000000.tar"
    for label in LABELS:
        with pytest.raises(ValueError, match="is not a number of up to 18 digits"):
            whole_number(label)
        path.write_bytes(tar(("a.jpg", jpeg(0)), ("a.cls", label.encode())))
        with pytest.raises(DataError, match=r"a.cls: b.* is not a label") as caught:
            one.load(tmp_path)
        one_printable_line(caught.value)
    path.write_bytes(tar(("a.jpg", jpeg(0)), ("a.cls", b"9" * 18 + b"\n")))
    with at_most(10**7), pytest.raises(DataError, match=r"a label is outside 0..2"):
        one.load(tmp_path)


def test_an_index_that_points_elsewhere_is_made_anew(tmp_path: Path) -> None:
    one = SETS["imagenet in shards"]
    one.write(tmp_path)
    expected = one.load(tmp_path).test.source.offset.tolist()
    path = tmp_path / "imagenet" / "val" / INDEX
    with np.load(path) as kept:
        state, table = kept["state"], kept["columns"]
    for columns in (table + 2**40, -table, table[:3], table.astype(float), table.T.copy(), np.array([None])):
        np.savez(path, state=state, columns=columns)
        assert one.load(tmp_path).test.source.offset.tolist() == expected
        with np.load(path) as made:
            assert np.array_equal(made["columns"], table)


def test_names_that_a_set_lists_stay_inside_it(tmp_path: Path) -> None:
    for kind, file, names in (
        ("tiny_imagenet", "tiny-imagenet-200/wnids.txt", ("../../etc", "a/b", "..", ".", "/etc", "")),
        ("dvs_gesture", "DvsGesture/trials_to_test.txt", ("../../etc.aedat", "a/b.aedat", "/etc.aedat")),
    ):
        SETS[kind].write(tmp_path)
        listed = (tmp_path / file).read_text()
        for name in names:
            (tmp_path / file).write_text(f"{listed.splitlines()[0]}\n{name}\n")
            with pytest.raises(DataError, match="is not the name of a file or folder") as caught:
                SETS[kind].load(tmp_path)
            one_printable_line(caught.value)


def test_names_that_are_no_text_are_read_and_a_strip_that_becomes_gigabytes_is_refused(tmp_path: Path) -> None:
    one = SETS["imagenet"]
    one.write(tmp_path)
    folder = tmp_path / "imagenet" / "train" / IDS[0]
    (folder / f"{IDS[0]}_0.JPEG").rename(folder / "\udcff.JPEG")
    one.read(tmp_path)
    path = tmp_path / "imagenet" / "val" / IDS[0] / f"{IDS[0]}_0.JPEG"
    Image.new("L", (1, 60_000)).save(path, "PNG")
    test = one.load(tmp_path).test
    with pytest.raises(DataError, match=r"0.JPEG: .* 15360000x256; at most"):
        test.read(torch.arange(len(test)))
