"""Images with boxes as a data set, from Pascal VOC, COCO and YOLO files, and what is cut, left out or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from box_files import CLASSES, coco_tree, draw, voc_text, write_coco, write_voc, write_yolo
from cases import every, naming
from hdlif.data import OwnData
from hdlif.data.sources.boxes import Boxes
from hdlif.data.sources.coco import parse_coco
from hdlif.data.sources.voc import parse_voc
from hdlif.data.sources.yolo import parse_yolo
from hdlif.errors import DataError
from hdlif.inputs import Unreadable
from hdlif.recipe.builders.own_kinds import kind_at


def found(root: Path, **settings: object) -> OwnData:
    return Boxes(None, **{"path": str(root), "size": (32, 48), **settings}).find()


def boxes_by_file(data: OwnData) -> dict[str, list[list[float]]]:
    """The boxes of each image, by the stem of its name."""
    sets, boxes = data.make((), 0), {}
    for part in sets.parts:
        # The order of the samples is that of their content; each has its own pixels.
        for x, target in zip(*part.batch(torch.arange(len(part))), strict=True):
            boxes[x.numpy().tobytes()] = target[target[:, 0] >= 0].tolist()
    drawn = [torch.tensor(np.asarray(draw(number)[0]).transpose(2, 0, 1)[None]) for number in range(12)]
    contents = [sets.train.scale(pixels).numpy().tobytes() for pixels in drawn]
    return {f"{number:03}": boxes[content] for number, content in enumerate(contents) if content in boxes}


WRITERS = {"voc": (write_voc, (6, 3, 3)), "coco": (write_coco, (5, 6, 1)), "yolo": (write_yolo, (8, 2, 2))}
"""Each with the number of images in its parts."""


def counts_of(data: OwnData) -> tuple[int, ...]:
    return tuple(data.count(part) for part in ("train", "validation", "test"))


@every("name", "writer", "counts", of=[(name, *row) for name, row in WRITERS.items()])
def test_each_format_gives_the_boxes_that_were_drawn_in_its_parts(
    tmp_path: Path, name: str, writer: Callable[[Path], Path], counts: tuple[int, ...]
) -> None:
    root = writer(tmp_path / name)
    assert kind_at(str(root)) == "boxes"
    data = found(root)
    assert set(data.classes) == set(CLASSES)
    assert counts_of(data) == counts
    read = boxes_by_file(data)
    assert len(read) == 12
    for file, rows in read.items():
        drawn = [[data.classes.index(CLASSES[label]), *corners] for label, corners in draw(int(file))[1]]
        assert sorted(rows) == [pytest.approx(row, abs=1e-4) for row in sorted(drawn)]
    of_classes = data.seen["target"]["counts"]
    assert sum(sum(parts.values()) for parts in of_classes.values()) == sum(map(len, read.values()))


def test_parts_may_have_folders_of_their_own(tmp_path: Path) -> None:
    """As exports of Roboflow have them: train/images and train/labels, or train/_annotations.coco.json."""
    yolo, coco = write_yolo(tmp_path / "yolo"), tmp_path / "coco"
    for number in range(12):
        part = ("train", "train", "valid", "test")[number % 4]
        for kind, end in (("images", "png"), ("labels", "txt")):
            (yolo / part / kind).mkdir(parents=True, exist_ok=True)
            (yolo / kind / f"{number:03}.{end}").rename(yolo / part / kind / f"{number:03}.{end}")
    for part in ("train", "valid"):
        (coco / part).mkdir(parents=True)
        numbers = range(part == "valid", 12, 2)
        for number in numbers:
            draw(number)[0].save(coco / f"{part}/{number:03}.png")
        (coco / f"{part}/_annotations.coco.json").write_text(json.dumps(coco_tree(list(numbers))))
    shutil.rmtree(yolo / "images")
    shutil.rmtree(yolo / "labels")
    for root, counts in ((yolo, (6, 3, 3)), (coco, (5, 6, 1))):
        assert kind_at(str(root)) == "boxes"
        data = found(root)
        assert counts_of(data) == counts
        assert len(boxes_by_file(data)) == 12


def test_a_letterbox_scales_boxes_and_a_class_may_be_named_before_the_others(tmp_path: Path) -> None:
    data = found(write_voc(tmp_path), size=48, classes=["red", "blue", "green"])
    assert data.classes == ("red", "blue", "green")
    assert (data.input.fit, data.make((), 0).train.located) == ("letterbox", "boxes")
    other = found(tmp_path, size=(16, 24))
    for large, small in zip(data.make((), 0).parts, other.make((), 0).parts, strict=True):
        assert torch.equal(large.labels[..., 1:].clamp(min=0), 2 * small.labels[..., 1:].clamp(min=0))


def test_a_field_of_view_drifts_over_the_images_and_has_the_boxes_of_each_step(tmp_path: Path) -> None:
    settings = {"size": (16, 24), "time_steps": 3}
    data, whole = found(write_voc(tmp_path), drift=2, **settings), found(tmp_path)
    assert (data.input.shape, data.input.mean) == ((3, 16, 24), whole.input.mean)
    sets = data.make(("flip",), 1)
    some = torch.arange(len(sets.train))
    x, boxes = sets.train.sequence(some)
    assert (x.shape, boxes.shape) == ((3, 6, 3, 16, 24), (6, 3, 2, 5))
    # Each frame is a part of the whole image, mirrored or not.
    images, _ = whole.make(("flip",), 1).train.batch(some)
    parts = images.unfold(2, 16, 1).unfold(3, 24, 1).permute(0, 2, 3, 1, 4, 5)
    assert all((parts[n] == x[t, n]).flatten(2).all(2).any() for n in range(6) for t in range(3))
    assert torch.equal(sets.train.sequence(some[2:3])[0], x[:, 2:3])
    pixels, shown = sets.train.raw(some)
    assert torch.equal(sets.train.plain().scale(pixels), sets.train.plain().sequence(some)[0][-1])
    assert torch.equal(shown, sets.train.plain().batch(some)[1][:, -1])
    sets.train.set_epoch(1)
    assert not torch.equal(sets.train.sequence(some)[0], x)
    # Those that are measured stay as they are, also where a network states what it takes.
    again = found(tmp_path, drift=2, **settings | {"size": None}, known=data.input).make((), 5)
    for one, other in zip(sets.parts[1:], again.parts[1:], strict=True):
        pairs = zip(one.sequence(torch.arange(3)), other.sequence(torch.arange(3)), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    with pytest.raises(ValueError, match=r"drift = 1\.0; it must be above 1, and at most 16"):
        found(tmp_path, drift=1.0)


def test_odd_boxes_are_cut_or_left_out_and_listed(tmp_path: Path) -> None:
    write_voc(tmp_path)
    good = draw(0)[1][0]
    odd = [good, good, (0, (5, 5, 5, 9)), (1, (60, 0, 70, 9)), (1, (-9, 2, 8, 12)), (0, (10, 10, 10, 10))]
    (tmp_path / "Annotations/000.xml").write_text(voc_text(odd))
    data = found(tmp_path)
    assert data.seen["omitted_boxes"] == [
        {"file": "Annotations/000.xml", "object": f"object {number}", "reason": reason}
        for number, reason in (
            (2, "the same box appears twice"),
            (3, "it has no area"),
            (4, "it lies outside the image"),
            (6, "it has no area"),
        )
    ]
    first, second = data.seen["warnings"]
    assert first.startswith("4 boxes are left out: Annotations/000.xml, object 2: the same box")
    assert second == "1 box is cut at the edge of the image"
    assert [data.classes.index("green"), 0, 2, 8, 12] in boxes_by_file(data)["000"]
    (tmp_path / "Annotations/000.xml").write_text(voc_text([good, (0, (0, 0, 3, 30))]))
    assert "raise data.size" in found(tmp_path, size=(8, 12)).seen["warnings"][0]


REFUSED: list[tuple[str, str | None, dict[str, object], str]] = [
    (
        "Annotations/001.xml",
        voc_text([], (32, 48)),
        {},
        "001.xml: its boxes are for 32x48 pixels, but the image has 48x32; the image may have been rotated since",
    ),
    ("Annotations/002.xml", None, {}, "002.png: has no annotations, Annotations/002.xml; add the file, without an"),
    ("ImageSets/Main/val.txt", "000\n", {}, r"val.txt: '?\"?000'?\"? appears twice .first in train.txt.; keep one"),
    ("JPEGImages/003.png", None, {}, r"Main: .*003.* has no image; add it, or remove the line"),
    ("Annotations/004.xml", "\0\1", {}, r"Annotations/004.xml: it is not valid XML"),
    ("Annotations", None, {}, r"has no annotations; give JPEGImages or images with Annotations"),
    ("more", "", {"classes": ["red"]}, r"object \d is of class .?green.?, which is not one of red; rename it"),
    ("more", "", {"format": "coco"}, r"has annotations of voc, not of coco; choose one: --set data.format=voc"),
    ("more", "", {"values": ["a"]}, r"values cannot be used with targets at places of an image; leave it out"),
]
"""A file that becomes something else, or is removed; settings; and the words of the refusal."""


def test_what_cannot_be_learned_is_refused_with_its_file_or_skipped(tmp_path: Path) -> None:
    for number, (file, content, settings, said) in enumerate(REFUSED):
        path = write_voc(tmp_path / str(number)) / file
        if content is not None:
            path.write_text(content)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        with naming(said), pytest.raises((DataError, ValueError), match=said):
            found(tmp_path / str(number), **settings)
    assert found(tmp_path / "0", unreadable="skip").manifest.skipped == ("JPEGImages/001.png",)


def spoiled_coco(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> bytes:
    tree = coco_tree([0, 1])
    change(tree)
    return json.dumps(tree).encode()


COCO = [
    (spoiled_coco(change), said)
    for change, said in (
        (lambda t: t["images"][1].update(id=0), "images: id 0 appears twice; make ids unique"),
        (lambda t: t["categories"][1].update(id=7), "categories: id 7 appears twice; make ids unique"),
        (lambda t: t["categories"][1].update(name="green"), "categories: name .?green.? appears twice"),
        (lambda t: t["annotations"][1].update(id=0), "annotations: id 0 appears twice; make ids unique"),
        (
            lambda t: t["annotations"][0].update(category_id=8),
            "annotation 0: category_id = 8 is not the id of a category",
        ),
        (
            lambda t: t["annotations"][0].update(image_id="0"),
            "annotation 0: image_id = .?0.? is not the id of an image",
        ),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, 3]), r"annotation 0: bbox = \[1, 2, 3\]; it must be \[x, y"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, 3, "a"]), "annotation 0: bbox is 'a'; expected a number"),
        (lambda t: t["images"][0].pop("file_name"), "images: file_name of id 0 is None; expected a path"),
        (lambda t: t.pop("categories"), "it is not an object with the lists images, categories, annotations"),
    )
]

XML = [
    (b'<!DOCTYPE annotation [<!ENTITY a "aaaa">]><annotation>&a;</annotation>', "it contains a DOCTYPE or an entity"),
    (b"<svg></svg>", "its root is <svg>; expected <annotation>"),
    (b"<annotation><object><name>a</name></object></annotation>", r"object 1 \(a\) has no <xmin> in a <bndbox>"),
    (b"<annotation><object/></annotation>", "object 1: <name> is 'None'"),
    (b"<annotation>" + b"<a>" * 40, "its elements are nested deeper than 32"),
    (voc_text([(0, (1, 2, 3, 4))]).replace("<xmin>1", "<xmin>x").encode(), r"object 1 \(red\): <xmin> is 'x'"),
    (voc_text([]).replace("</size>", "</size><size><width>1</width></size>").encode(), "<size/width> appears twice"),
]

YOLO = [
    (b"0 0.5 0.5 0.1\n", "line 1 has 4 fields; give class, x, y, width, height"),
    (b"0 0 0 1 0 1 1\n", "line 1 has 7 fields; give class, x, y, width, height. If these are outlines"),
    (b"\n2 0.5 0.5 0.1 0.1\n", "line 2: class '2' is unknown; there are 2 classes, numbered from 0"),
    (b"0 120 80 20 20\n", "line 1: 120 80 20 20 are not all fractions of the image's sides"),
    (b"0 nan 0 0 0\n", "line 1 is 'nan'; expected a number"),
    (b"\xff", "byte 0 is not UTF-8"),
]


def yolo_boxes(content: bytes) -> object:
    return parse_yolo(content, CLASSES)


@every("read", "rows", of=[(parse_coco, COCO), (parse_voc, XML), (yolo_boxes, YOLO)])
def test_damaged_files_of_boxes_are_refused(read: Callable[[bytes], object], rows: list[tuple[bytes, str]]) -> None:
    for content, said in rows:
        with naming(said), pytest.raises(Unreadable, match=said):
            read(content)


def test_regions_of_many_objects_are_left_out_and_parts_of_an_object_passed_over() -> None:
    images, classes = parse_coco(spoiled_coco(lambda t: t["annotations"][0].update(iscrowd=1)))
    assert (classes, images[0][1].boxes) == (("red", "green"), ())
    assert images[0][1].omitted == {"annotation 0": "it is a region of many objects (iscrowd)"}
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    text = voc_text([(0, (1, 2, 3, 4))]).replace("</object>", f"{part}{part}<difficult>1</difficult></object>")
    (box,) = parse_voc(text.encode())[1]
    assert (box.label, box.corners) == ("red", (1, 2, 3, 4))


def test_yolo_classes_are_read_and_an_image_without_a_file_shows_no_object(tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    Image.new("RGB", (48, 32)).save(root / "images/empty.png")
    (root / "classes.txt").unlink()
    for name, text, classes in (
        ("data.yaml", "names: [cat, dog]", ("cat", "dog")),
        ("data.yaml", "names:\n  0: cat\n  1: dog\n", ("cat", "dog")),
        ("classes.txt", "cat\ndog\n\n", ("cat", "dog")),
    ):
        with pytest.raises(DataError, match=r"nothing lists the classes; add classes\.txt, a name per line, or data\."):
            found(root)
        (root / name).write_text(text)
        with naming(text):
            data = found(root)
            assert (data.classes, sum(counts_of(data))) == (classes, 13)
        (root / name).unlink()


def test_images_that_no_list_has_are_left_out_and_counted(tmp_path: Path) -> None:
    write_voc(tmp_path)
    draw(50)[0].save(tmp_path / "JPEGImages/050.png")
    data = found(tmp_path)
    assert sum(counts_of(data)) == 12
    assert (
        data.seen["layout"] == "Pascal VOC files in Annotations, without 1 images that are in no list of ImageSets/Main"
    )


def test_files_of_boxes_without_an_image_are_named(tmp_path: Path) -> None:
    voc, yolo = write_voc(tmp_path / "voc"), write_yolo(tmp_path / "yolo")
    (voc / "Annotations/gone.xml").write_text(voc_text([]))
    (yolo / "labels/gone.txt").write_text("")
    for root, file in ((voc, "Annotations/gone.xml"), (yolo, "labels/gone.txt")):
        assert found(root).seen["layout"].endswith(f", without files that have no image: {file}")
