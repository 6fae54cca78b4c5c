"""Files of boxes: the first byte chooses Pascal VOC, COCO or YOLO, and the rest is read or refused."""

import contextlib
from collections.abc import Callable

import driver
import numpy as np

from hdlif.data.boxes import BoxedImage, place_boxes
from hdlif.data.sources.coco import parse_coco
from hdlif.data.sources.voc import parse_voc
from hdlif.data.sources.yolo import parse_yolo
from hdlif.inputs import Unreadable

SIZE = (48, 32)
WORDS = (
    *(b"<annotation>", b"</annotation>", b"<object>", b"</object>", b"<bndbox>", b"<xmin>", b"</xmin>", b"<name>"),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"<![CDATA[", b"]]>", b"<?xml version='1.0' encoding='x'?>"),
    *(b'"images"', b'"annotations"', b'"categories"', b'"bbox"', b'"id"', b"[", b"]", b"{", b"}", b":", b","),
    *(b"0 0.5 0.5 1 1\n", b"\n", b" ", b"nan", b"1e999", b"-1", b"1e308", b"9" * 400, b"\xff", b"\xc2\xb2"),
)


def read_voc(data: bytes) -> list[BoxedImage]:
    size, boxes = parse_voc(data)
    return [BoxedImage("a.png", "a.xml", boxes, size=size)]


def read_coco(data: bytes) -> list[BoxedImage]:
    return [one for _, one in parse_coco(data)[0]]


def read_yolo(data: bytes) -> list[BoxedImage]:
    return [BoxedImage("a.png", "a.txt", parse_yolo(data, ("a", "b")), relative=True)]


READERS: tuple[Callable[[bytes], list[BoxedImage]], ...] = (read_voc, read_coco, read_yolo)


def target(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        for one in READERS[data[0] % len(READERS) if data else 0](data[1:]):
            with contextlib.suppress(Unreadable):
                check(one)


def check(one: BoxedImage) -> None:
    found = place_boxes(one, *SIZE)
    assert len(found.labels) == len(found.corners)
    assert np.isfinite(found.corners).all()
    assert ((found.corners >= 0) & (found.corners <= [*SIZE, *SIZE])).all()
    assert all(label and label.isprintable() for label in found.labels)


if __name__ == "__main__":
    driver.main(target, "boxes", mutate=driver.put_in(WORDS))
