"""What a network takes of a picture: its size, its numbers, and what each step is shown."""

import numpy as np
from PIL import Image

from hdlif.inputs.fitting import fitted, framed, normalised

RAMP = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8)


def test_squash_keeps_all_of_a_picture_and_crop_its_middle() -> None:
    def nearest(fit: str) -> np.ndarray:
        return fitted(Image.fromarray(RAMP), (1, 2, 2), resize="nearest", fit=fit)[0]

    # Of the columns 0..7 the middle of each half; of the columns 2..5 likewise.
    np.testing.assert_array_equal(nearest("squash"), RAMP[np.ix_([1, 3], [2, 6])])
    # Channels come first, and what has the right size is taken as it is.
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    for fit in ("squash", "crop"):
        pixels = fitted(Image.fromarray(colours), (3, 4, 8), resize="bilinear", fit=fit)
        np.testing.assert_array_equal(pixels, colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(nearest("crop"), RAMP[np.ix_([1, 3], [3, 5])])


def test_crop_takes_pictures_of_any_proportions() -> None:
    for size in ((1, 50), (50, 1), (7, 3), (33, 32), (1, 1)):
        pixels = fitted(Image.new("RGB", size, (10, 20, 30)), (3, 5, 4), resize="bilinear", fit="crop")
        np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([10, 20, 30])[:, None, None], (3, 5, 4)))


def test_pixels_are_normalised_channel_by_channel_in_float32() -> None:
    pixels = np.array([[[0, 255]], [[51, 102]]], np.uint8)
    x = normalised(pixels, (0.5, 0.2), (0.25, 0.1))
    np.testing.assert_allclose(x, [[[-2, 2]], [[0, 2]]], atol=1e-6)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(normalised(pixels, (0, 0), (1, 1), whole=1), pixels)
    assert pixels[0, 0, 1] == 255


def test_rows_and_pixels_are_shown_one_a_step_from_the_top() -> None:
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert framed(x, "constant").shape == (1, 2, 3, 4)
    rows = framed(x, "rows")
    assert rows.shape == (3, 2, 1, 4)
    np.testing.assert_array_equal(rows[1, :, 0], x[:, 1])
    pixels = framed(x, "pixels")
    assert pixels.shape == (12, 2, 1, 1)
    np.testing.assert_array_equal(pixels[5, :, 0, 0], x[:, 1, 1])
