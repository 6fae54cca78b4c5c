"""Images with label maps of the user's own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cases import every
from hdlif.data import OwnData
from hdlif.data.sources.masks import find_masks
from hdlif.errors import DataError
from hdlif.inputs.fitting import IGNORED, inner_size, map_to_input
from hdlif.recipe.builders.own_kinds import kind_at
from label_maps import SIZES, write_maps


def find(root: Path, **settings: object) -> OwnData:
    return find_masks(None, path=str(root), size=16, **settings)


def maps_by_name(found: OwnData) -> dict[str, np.ndarray]:
    """Every map of the three parts, by the file of its image: parts keep the order of their own manifest's samples."""
    sets = found.make((), 0)
    assert {one.located for one in sets.parts} == {"map"}
    by_pixels = {}
    for part in sets.parts:
        for index in range(len(part)):
            pixels, label = part.read(torch.tensor([index]))[0], part.batch(torch.tensor([index]))[1][0]
            by_pixels[pixels.numpy().tobytes()] = label.numpy()
    return by_pixels


def test_a_map_of_classes_is_fitted_as_its_image_and_255_is_ignored(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a")
    found = find(root)
    assert found.classes == ("0", "1", "2")
    assert (found.input.shape, found.input.fit) == ((1, 16, 16), "letterbox")
    maps = maps_by_name(found)
    assert len(maps) == 12
    for number in range(12):
        labels = np.asarray(Image.open(root / "labels" / f"{number:02}.png")).astype(np.int64)
        expected = map_to_input(np.where(labels == 255, IGNORED, labels), (16, 16), "letterbox")
        assert any(np.array_equal(expected, one) for one in maps.values())
        width, height = inner_size(SIZES[number % 3], (16, 16))
        assert (expected[height:] == IGNORED).all()
        assert (expected[:, width:] == IGNORED).all()
    assert found.seen["target"]["counts"]["1"] == {"train": 8, "validation": 2, "test": 2}


@every(separate=[False, True])
def test_objects_are_numbered_anew(separate: bool, tmp_path: Path) -> None:
    found = find(write_maps(tmp_path / f"{separate}", instances=True, separate=separate), instances=True)
    assert found.classes == ("background", "boundary", "inside")
    assert {tuple(np.unique(one[one >= 0])) for one in maps_by_name(found).values()} == {(0, 1, 2)}
    assert found.seen["target"] == {
        "names": ["objects"],
        "counts": {"objects": {"train": 16, "validation": 4, "test": 4}},
    }


def test_masks_and_label_maps_of_the_same_objects_are_the_same_data(tmp_path: Path) -> None:
    both = [
        maps_by_name(find(write_maps(tmp_path / str(separate), instances=True, separate=separate), instances=True))
        for separate in (False, True)
    ]
    assert both[0].keys() == both[1].keys()
    assert all(np.array_equal(both[0][key], both[1][key]) for key in both[0])


def test_folders_of_parts_are_kept_and_classes_may_have_names(tmp_path: Path) -> None:
    for part, count in (("train", 8), ("val", 3), ("test", 2)):
        write_maps(tmp_path / part, count, sizes=((16 + count, 16),))
    found = find(tmp_path, classes=["ground", "house", "street"])
    assert [found.count(part) for part in ("train", "validation", "test")] == [8, 3, 2]
    assert found.classes == ("ground", "house", "street")
    assert found.seen["layout"] == "train/validation/test folders of images with maps of classes"


def test_a_changed_map_is_another_data_set(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a")
    before = find(root).manifest.digest
    path = root / "labels" / "03.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[2:9, 2:9] = 2
    Image.fromarray(labels).save(path)
    assert find(root).manifest.digest != before


def test_the_kind_of_data_is_recognised(tmp_path: Path) -> None:
    assert kind_at(str(write_maps(tmp_path / "a"))) == "masks"
    assert kind_at(str(write_maps(tmp_path / "b", instances=True, separate=True))) == "masks"
    write_maps(tmp_path / "c" / "train", 2)
    assert kind_at(str(tmp_path / "c")) == "masks"


def _missing(root: Path) -> None:
    (root / "labels" / "04.png").unlink()


def _of_another_size(root: Path) -> None:
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(root / "labels" / "04.png")


def _unknown(root: Path) -> None:
    labels = np.asarray(Image.open(root / "labels" / "04.png")).copy()
    labels[3, 1] = 9
    Image.fromarray(labels).save(root / "labels" / "04.png")


def _in_colours(root: Path) -> None:
    Image.new("RGB", (16, 16)).save(root / "labels" / "04.png")


def _damaged(root: Path) -> None:
    path = root / "labels" / "04.png"
    path.write_bytes(path.read_bytes()[:60])


@every(
    "change",
    "said",
    of=[
        (_missing, "there is no labels/04.png"),
        (_of_another_size, "labels/04.png is 5x4, and the image 16x16"),
        (_unknown, "labels/04.png: class 9 in row 3, column 1, and there are 0 to 2"),
        (_in_colours, "labels/04.png: mode is RGB, and one number per pixel is read"),
        (_damaged, "labels/04.png: "),
    ],
)
def test_a_map_that_does_not_fit_is_named_or_left_out(
    change: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    root = write_maps(tmp_path / change.__name__)
    change(root)
    with pytest.raises(DataError, match=rf"1 of 12 files cannot be read as pictures: images/04.png \({said}"):
        find(root, classes=["a", "b", "c"])
    found = find(root, classes=["a", "b", "c"], unreadable="skip")
    assert found.manifest.skipped == ("images/04.png",)
    assert len(found.manifest.entries) == 11


def test_masks_of_unequal_sizes_are_named(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a", instances=True, separate=True)
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(root / "masks" / "03" / "9.png")
    shutil.rmtree(root / "masks" / "04")
    with pytest.raises(DataError) as caught:
        find(root, instances=True)
    assert "images/03.png (masks/03/9.png has another size than 0.png)" in str(caught.value)
    assert "images/04.png (there is no masks/04/*.png)" in str(caught.value)


@every(
    "settings",
    "said",
    of=[
        ({}, "has a file for each object; set data.instances=true"),
        ({"instances": True, "classes": ["a", "b"]}, "classes are of label maps of classes"),
        ({"classes": ["a", "a"]}, "name 2 to 255, each once"),
        ({"instances": True, "values": ["a"]}, "values is not of targets at places of an image"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], said: str, tmp_path: Path) -> None:
    root = tmp_path / "a"
    if not root.exists():
        write_maps(root, 3, instances=True, separate=True)
    with pytest.raises((DataError, ValueError), match=said):
        find(root, **settings)


def test_many_numbers_are_taken_for_objects(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"numbers up to 300, .* if they are of objects, set data.instances=true"):
        find(write_maps(tmp_path / "a", 3, instances=True))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="contains other folders; put images into images/"):
        find(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="there is no image in images/"):
        find(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        find(tmp_path / "none")
