from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cases import every, naming
from hdlif.errors import InputError
from hdlif.graph.artefact import InputRecord
from hdlif.runtime import normalise, read_image
from hdlif.runtime.images import fit_images, image_sequence

GREY = InputRecord((1, 2, 3), (0.5,), (0.25,), resize="none")
RGB = InputRecord((3, 2, 3), (0.5, 0.25, 0.0), (0.25, 0.5, 1.0), resize="none")


def test_pixels_are_scaled_and_normalised_channel_by_channel(tmp_path: Path) -> None:
    pixels = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    x = read_image(tmp_path / "grey.png", GREY)
    np.testing.assert_allclose(x, [[[[[-2, -1.2, -0.4], [0.4, 1.2, 2]]]]], atol=1e-6)
    assert x.dtype == np.float32
    Image.new("RGB", (3, 2), (255, 0, 51)).save(tmp_path / "colour.png")
    for name, expected in (("grey", [2, 1.5, 1]), ("colour", [2, -0.5, 0.2])):
        rgb = read_image(tmp_path / f"{name}.png", RGB)
        np.testing.assert_allclose(rgb[0, 0, :, 1, 2], expected, atol=1e-6)


@every(resize=["nearest", "bilinear", "bicubic"])
def test_resizes_as_the_record_says(tmp_path: Path, resize: str) -> None:
    pixels = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9) * 4
    Image.fromarray(pixels).save(tmp_path / "large.png")
    record = InputRecord((1, 2, 3), (0.0,), (1.0,), resize=resize)
    expected = Image.fromarray(pixels).resize((3, 2), getattr(Image.Resampling, resize.upper()))
    np.testing.assert_allclose(
        read_image(tmp_path / "large.png", record)[0, 0, 0], np.asarray(expected) / 255, atol=1e-6
    )


def test_refusals(tmp_path: Path) -> None:
    Image.new("L", (4, 2)).save(tmp_path / "wide.png")
    Image.new("L", (8, 8)).save(tmp_path / "square.png")
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.full((2, 3), 60000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, record in {
        "wide": GREY,
        "text": GREY,
        "absent": GREY,
        "deep": GREY,
        "cut": InputRecord((1, 40, 40), (0.0,), (1.0,)),
        # which rows of it are shown is not said
        "square": InputRecord((1, 1, 8), (0.5,), (0.25,)),
    }.items():
        with naming(name), pytest.raises(InputError, match=f"{name}.png"):
            read_image(tmp_path / f"{name}.png", record, time_steps=8)
    with pytest.raises(InputError):
        read_image(tmp_path / "wide.png", InputRecord((2, 2, 3), (0.0, 0.0), (1.0, 1.0)))
    for fields in ({"shape": (1, 1, 8)}, {"shape": (1, 1, 1), "frames": "pixels"}):
        with pytest.raises(InputError):
            fit_images(np.zeros((2, 1, 8, 8), np.uint8), InputRecord(mean=(0.5,), std=(0.25,), **fields))


def test_images_of_a_data_set_are_resized_as_files_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 6, 9), dtype=np.uint8)
    record = InputRecord((3, 4, 6), (0.5,) * 3, (0.25,) * 3)
    for image, fitted in zip(pixels, fit_images(pixels, record), strict=True):
        Image.fromarray(image[0]).save(tmp_path / "x.png")
        np.testing.assert_array_equal(normalise(fitted, record), read_image(tmp_path / "x.png", record)[0, 0])
    same = InputRecord((1, 6, 9), (0.5,), (0.25,))
    assert fit_images(pixels, same) is pixels


def test_a_network_of_rows_is_shown_the_rows_of_a_picture_of_any_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    rows = InputRecord((1, 1, 5), (0.5,), (0.25,), frames="rows")
    whole = InputRecord((1, 4, 5), (0.5,), (0.25,))
    x = read_image(tmp_path / "x.png", rows, time_steps=4)
    assert x.shape == (4, 1, 1, 1, 5)
    np.testing.assert_array_equal(x[:, 0, 0, 0], read_image(tmp_path / "x.png", whole)[0, 0, 0])
    np.testing.assert_array_equal(x, image_sequence(pixels, rows, "x", time_steps=4)[0])


def test_a_picture_of_one_row_is_one_row(tmp_path: Path) -> None:
    Image.new("L", (6, 1)).save(tmp_path / "row.png")
    record = InputRecord((1, 1, 8), (0.5,), (0.25,))
    assert read_image(tmp_path / "row.png", record, time_steps=8).shape == (1, 1, 1, 1, 8)
