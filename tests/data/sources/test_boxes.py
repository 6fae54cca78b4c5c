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
from cases import every
from hdlif.data import OwnData
from hdlif.data.sources.boxes import find_boxes
from hdlif.data.sources.coco import parse_coco
from hdlif.data.sources.voc import parse_voc
from hdlif.data.sources.yolo import parse_yolo
from hdlif.errors import DataError
from hdlif.inputs import Unreadable
from hdlif.recipe.builders.own_kinds import kind_at


def found(root: Path, **settings: object) -> OwnData:
    return find_boxes(None, **{"path": str(root), "size": (32, 48), **settings})


def boxes_by_file(data: OwnData) -> dict[str, list[list[float]]]:
    """The boxes of each image, by the stem of its name."""
    sets, boxes = data.make((), 0), {}
    for part in ("train", "validation", "test"):
        # The order of the samples is that of their content; each has its own pixels.
        for x, target in zip(*getattr(sets, part).batch(torch.arange(len(getattr(sets, part)))), strict=True):
            boxes[x.numpy().tobytes()] = target[target[:, 0] >= 0].tolist()
    numbers = {}
    for number in range(12):
        pixels = np.asarray(draw(number)[0]).transpose(2, 0, 1)[None]
        numbers[number] = boxes.get(sets.train.scale(torch.tensor(pixels)).numpy().tobytes())
    return {f"{number:03}": rows for number, rows in numbers.items() if rows is not None}


WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}


@every(writer=WRITERS)
def test_each_format_gives_the_boxes_that_were_drawn(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    root = writer(tmp_path / writer.__name__)
    assert kind_at(str(root)) == "boxes"
    data = found(root)
    assert set(data.classes) == set(CLASSES)
    read = boxes_by_file(data)
    assert len(read) == 12
    for name, rows in read.items():
        drawn = [[data.classes.index(CLASSES[label]), *corners] for label, corners in draw(int(name))[1]]
        assert sorted(rows) == [pytest.approx(row, abs=1e-4) for row in sorted(drawn)]
    counts = data.seen["target"]["counts"]
    assert sum(sum(parts.values()) for parts in counts.values()) == sum(map(len, read.values()))


def test_parts_are_those_of_the_files(tmp_path: Path) -> None:
    parts = {"voc": (6, 3, 3), "coco": (5, 6, 1), "yolo": (8, 2, 2)}
    for name, counts in parts.items():
        data = found(WRITERS[name](tmp_path / name))
        assert tuple(data.count(part) for part in ("train", "validation", "test")) == counts, name


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
        assert tuple(data.count(part) for part in ("train", "validation", "test")) == counts
        assert len(boxes_by_file(data)) == 12


def test_a_letterbox_scales_boxes_and_a_class_may_be_named_before_the_others(tmp_path: Path) -> None:
    data = found(write_voc(tmp_path), size=48, classes=["red", "blue", "green"])
    assert data.classes == ("red", "blue", "green")
    assert data.input.fit == "letterbox"
    other = found(tmp_path, size=(16, 24))
    for part in ("train", "validation", "test"):
        large, small = (getattr(one.make((), 0), part).labels[..., 1:] for one in (data, other))
        assert torch.equal(large.clamp(min=0), 2 * small.clamp(min=0))


def test_a_mirrored_image_takes_its_boxes_with_it(tmp_path: Path) -> None:
    sets = found(write_voc(tmp_path)).make(("flip",), 0)
    plain, mirrored = sets.train.plain(), 0
    for number in range(len(sets.train)):
        (before, boxes), (after, moved) = plain[number], sets.train[number]
        if not torch.equal(before, after):
            there = boxes[:, 0] >= 0
            assert torch.allclose(moved[there, 1] + boxes[there, 3], torch.tensor(48.0))
            mirrored += 1
    assert mirrored


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
    for part in ("validation", "test"):
        first, second = (getattr(one, part).sequence(torch.arange(3)) for one in (sets, again))
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
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
            (2, "the same box is there twice"),
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


def other_size(root: Path) -> None:
    (root / "Annotations/001.xml").write_text(voc_text([], (32, 48)))


def no_annotation(root: Path) -> None:
    (root / "Annotations/002.xml").unlink()


def listed_twice(root: Path) -> None:
    (root / "ImageSets/Main/val.txt").write_text("000\n")


def absent_image(root: Path) -> None:
    (root / "JPEGImages/003.png").unlink()


def no_images(root: Path) -> None:
    shutil.rmtree(root / "Annotations")


def no_xml(root: Path) -> None:
    (root / "Annotations/004.xml").write_bytes(b"\x00\x01")


REFUSED = [
    (
        other_size,
        {},
        r"Annotations/001.xml: its boxes are of an image of 32x48, and it has 48x32 pixels; the image may",
    ),
    (no_annotation, {}, r"002.png: has no annotations, Annotations/002.xml; add the file, without an <object> if"),
    (listed_twice, {}, r"val.txt: '?\"?000'?\"? is in train.txt too, or twice here"),
    (absent_image, {}, r"Main: .*003.* has no image; add it, or remove the line"),
    (no_xml, {}, r"Annotations/004.xml: it is no XML"),
    (no_images, {}, r"has no annotations; give JPEGImages or images with Annotations"),
    (lambda root: None, {"classes": ["red"]}, r"object \d is of class .?green.?, and the classes are red; rename it"),
    (lambda root: None, {"format": "coco"}, r"has annotations of voc, not of coco; choose one: --set data.format=voc"),
    (lambda root: None, {"values": ["a"]}, r"values is not of targets at places of an image; leave it out"),
]


@every("spoil", "settings", "said", of=REFUSED)
def test_what_cannot_be_learned_is_refused_with_its_file(
    tmp_path: Path, spoil: Callable[[Path], None], settings: dict[str, object], said: str
) -> None:
    root = write_voc(tmp_path / str(abs(hash(said))))
    spoil(root)
    with pytest.raises((DataError, ValueError), match=said):
        found(root, **settings)


def test_an_unreadable_image_may_be_skipped(tmp_path: Path) -> None:
    other_size(write_voc(tmp_path))
    assert found(tmp_path, unreadable="skip").manifest.skipped == ("JPEGImages/001.png",)


def spoiled_coco(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> bytes:
    tree = coco_tree([0, 1])
    change(tree)
    return json.dumps(tree).encode()


COCO = [
    (lambda t: t["images"][1].update(id=0), "images: id 0 is there twice"),
    (lambda t: t["categories"][1].update(id=7), "categories: id 7 is there twice"),
    (lambda t: t["categories"][1].update(name="green"), "categories: .?green.? is the name of two"),
    (lambda t: t["annotations"][0].update(category_id=8), "annotation 0: category_id = 8 is no category of the file"),
    (lambda t: t["annotations"][0].update(image_id="0"), "annotation 0: image_id = .?0.? is no image of the file"),
    (lambda t: t["annotations"][0].update(bbox=[1, 2, 3]), r"annotation 0: bbox = \[1, 2, 3\]; it must be \[x, y"),
    (lambda t: t["annotations"][0].update(bbox=[1, 2, 3, "a"]), "annotation 0: bbox is 'a', and a number is read"),
    (lambda t: t["images"][0].pop("file_name"), "images: file_name of id 0 is None, and a path is read"),
    (lambda t: t.pop("categories"), "it is no object with the lists images, categories, annotations"),
]


@every("change", "said", of=COCO)
def test_a_coco_file_is_refused_with_the_object_at_fault(change: Callable[..., object], said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse_coco(spoiled_coco(change))


def test_a_region_of_many_objects_is_left_out() -> None:
    images, classes = parse_coco(spoiled_coco(lambda t: t["annotations"][0].update(iscrowd=1)))
    assert classes == ("red", "green")
    assert (images[0][1].boxes, images[0][1].omitted) == (
        (),
        {"annotation 0": "it is a region of many objects (iscrowd)"},
    )


XML = [
    (b'<!DOCTYPE annotation [<!ENTITY a "aaaa">]><annotation>&a;</annotation>', "it has a DOCTYPE or an entity"),
    (b"<svg></svg>", "its root is <svg>, and <annotation> is read"),
    (b"<annotation><object><name>a</name></object></annotation>", r"object 1 \(a\) has no <xmin> in a <bndbox>"),
    (b"<annotation><object/></annotation>", "object 1: <name> is 'None'"),
    (b"<annotation>" + b"<a>" * 40, "its elements are nested deeper than 32"),
    (voc_text([(0, (1, 2, 3, 4))]).replace("<xmin>1", "<xmin>x").encode(), r"object 1 \(red\): <xmin> is 'x'"),
    (voc_text([]).replace("</size>", "</size><size><width>1</width></size>").encode(), "<size/width> is there twice"),
]


@every("content", "said", of=XML)
def test_a_voc_file_is_refused_with_the_object_at_fault(content: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse_voc(content)


YOLO = [
    (b"0 0.5 0.5 0.1\n", "line 1 has 4 fields; they must be class, x, y, width, height"),
    (b"0 0 0 1 0 1 1\n", "line 1 has 7 fields; they must be class, x, y, width, height, an outline"),
    (b"\n2 0.5 0.5 0.1 0.1\n", "line 2: class '2' is unknown; there are 2, from 0"),
    (b"0 120 80 20 20\n", "line 1: 120 80 20 20 are no fractions of the image's sides"),
    (b"0 nan 0 0 0\n", "line 1 is 'nan', and a number is read"),
    (b"\xff", "byte 0 is not UTF-8"),
]


@every("content", "said", of=YOLO)
def test_a_yolo_file_is_refused_with_the_line_at_fault(content: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse_yolo(content, CLASSES)


@every(
    "name", "text", "classes",
    of=[
        ("data.yaml", "names: [cat, dog]", ("cat", "dog")),
        ("data.yaml", "names:\n  0: cat\n  1: dog\n", ("cat", "dog")),
        ("classes.txt", "cat\ndog\n\n", ("cat", "dog")),
    ],
)  # fmt: skip
def test_yolo_classes_are_read(tmp_path: Path, name: str, text: str, classes: tuple[str, ...]) -> None:
    root = write_yolo(tmp_path / str(abs(hash(text))))
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"nothing lists the classes; add classes\.txt, a name per line, or data\.yaml"):
        found(root)
    (root / name).write_text(text)
    assert found(root).classes == classes


def test_parts_and_attributes_of_an_object_are_passed_over() -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    text = voc_text([(0, (1, 2, 3, 4))]).replace("</object>", f"{part}{part}<difficult>1</difficult></object>")
    (box,) = parse_voc(text.encode())[1]
    assert (box.label, box.corners) == ("red", (1, 2, 3, 4))


def test_images_that_no_list_has_are_left_out_and_counted(tmp_path: Path) -> None:
    write_voc(tmp_path)
    draw(50)[0].save(tmp_path / "JPEGImages/050.png")
    data = found(tmp_path)
    assert sum(data.manifest.counts()[""].values()) == 12
    assert data.seen["layout"] == "Pascal VOC files in Annotations, without 1 images that no list in ImageSets/Main has"


def test_an_image_without_a_yolo_file_shows_no_object(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    Image.new("RGB", (48, 32)).save(tmp_path / "images/empty.png")
    assert sum(found(tmp_path).manifest.counts()[""].values()) == 13
