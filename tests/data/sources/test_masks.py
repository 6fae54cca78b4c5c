"""Images with label maps of the user's own."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cases import naming
from hdlif.data import OwnData
from hdlif.data.sources.masks import Masks
from hdlif.errors import DataError
from hdlif.inputs.fitting import IGNORED, inner_size, map_to_input
from hdlif.recipe.builders.own_kinds import kind_at
from label_maps import SIZES, write_maps


def find(root: Path, **settings: object) -> OwnData:
    return Masks(None, path=str(root), size=16, **settings).find()


def maps_by_pixels(found: OwnData) -> dict[bytes, np.ndarray]:
    """Return every map of the three parts by the pixels of its image."""
    assert kind_at(str(found.path)) == "masks"
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
    maps = maps_by_pixels(found)
    assert len(maps) == 12
    for number in range(12):
        labels = np.asarray(Image.open(root / "labels" / f"{number:02}.png")).astype(np.int64)
        expected = map_to_input(np.where(labels == 255, IGNORED, labels), (16, 16), "letterbox")
        assert any(np.array_equal(expected, one) for one in maps.values())
        width, height = inner_size(SIZES[number % 3], (16, 16))
        assert (expected[height:] == IGNORED).all()
        assert (expected[:, width:] == IGNORED).all()
    assert found.seen["target"]["counts"]["1"] == {"train": 8, "validation": 2, "test": 2}


def test_objects_are_numbered_anew_whether_masks_or_label_maps_hold_them(tmp_path: Path) -> None:
    both = []
    for separate in (False, True):
        root = write_maps(tmp_path / f"{separate}", instances=True, separate=separate)
        found = find(root, instances=True)
        assert found.classes == ("background", "boundary", "inside")
        counts = {"objects": {"train": 16, "validation": 4, "test": 4}}
        assert found.seen["target"] == {"names": ["objects"], "counts": counts}
        both.append(maps_by_pixels(found))
        assert {tuple(np.unique(one[one >= 0])) for one in both[-1].values()} == {(0, 1, 2)}
    assert both[0].keys() == both[1].keys()
    assert all(np.array_equal(both[0][key], both[1][key]) for key in both[0])
    # Masks of unequal sizes, and an image without any.
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(root / "masks" / "03" / "9.png")
    shutil.rmtree(root / "masks" / "04")
    # An object twice, whose pixels then are those of the later file.
    shutil.copy(root / "masks" / "05" / "0.png", root / "masks" / "05" / "7.png")
    with pytest.raises(DataError) as caught:
        find(root, instances=True)
    assert "images/03.png (masks/03/9.png differs in size from 0.png)" in str(caught.value)
    assert "images/04.png (there is no masks/04/*.png)" in str(caught.value)
    assert "images/05.png (masks/05: 25 of the 25 pixels of 0.png are also in later files;" in str(caught.value)
    root = write_maps(tmp_path / "none", instances=True, separate=True, sizes=((16, 16),))
    for path in root.rglob("masks/*/*.png"):
        path.write_bytes(png(np.zeros((16, 16), np.uint8)))
    with pytest.raises(DataError, match="no map has an object; add some"):
        find(root, instances=True)


def test_folders_of_parts_are_kept_and_classes_may_have_names(tmp_path: Path) -> None:
    for part, count in (("train", 8), ("val", 3), ("test", 2)):
        write_maps(tmp_path / part, count, sizes=((16 + count, 16),))
    found = find(tmp_path, classes=["ground", "house", "street"])
    assert kind_at(str(tmp_path)) == "masks"
    assert [found.count(part) for part in ("train", "validation", "test")] == [8, 3, 2]
    assert found.classes == ("ground", "house", "street")
    assert found.seen["layout"] == "train/validation/test folders of images with maps of classes"


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_map_that_does_not_fit_is_named_or_left_out(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a")
    unknown = np.zeros((16, 16), np.uint8)
    unknown[3, 1] = 9
    for content, said in (
        (None, "there is no labels/04.png"),
        (png(np.zeros((5, 4), np.uint8)), "labels/04.png is 5x4, but the image is 16x16"),
        (png(unknown), "labels/04.png: class 9 in row 3, column 1; classes are 0 to 2"),
        (
            png(np.zeros((16, 16, 3), np.uint8)),
            "labels/04.png: its mode is RGB; expected one number of 8 or 16 bits per pixel",
        ),
        (png(unknown)[:60], "labels/04.png: "),
    ):
        path = root / "labels" / "04.png"
        path.unlink() if content is None else path.write_bytes(content)
        words = rf"1 of 12 files cannot be read as images: images/04.png \({said}"
        with naming(said), pytest.raises(DataError, match=words):
            find(root, classes=["a", "b", "c"])
    found = find(root, classes=["a", "b", "c"], unreadable="skip")
    assert (found.manifest.skipped, len(found.manifest.entries)) == (("images/04.png",), 11)


def test_other_folders_and_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    write_maps(tmp_path / "separate", 3, instances=True, separate=True)
    write_maps(tmp_path / "objects", 3, instances=True)
    (tmp_path / "bare" / "images").mkdir(parents=True)
    for folder in ("images", "labels"):
        (tmp_path / "empty" / folder).mkdir(parents=True)
    for name, settings, said in (
        ("separate", {}, "has a file for each object; set data.instances=true"),
        ("separate", {"instances": True, "classes": ["a", "b"]}, "classes apply to label maps of classes"),
        ("separate", {"classes": ["a", "a"]}, "name 2 to 255, each once"),
        ("separate", {"instances": True, "values": ["a"]}, "values cannot be used with targets at places of an image"),
        ("objects", {}, r"numbers up to 300, .* if they number objects, set data.instances=true"),
        ("bare", {}, "contains other folders; put images into images/"),
        ("empty", {}, "there is no image in images/"),
        ("none", {}, "there is no such folder"),
        ("x" * 300, {}, "there is no such folder"),
    ):
        with naming(name, settings), pytest.raises((DataError, ValueError), match=said):
            find(tmp_path / name, **settings)
