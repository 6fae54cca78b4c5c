import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cases import every
from hdlif.graph.graph import FIT_MODES
from hdlif.inputs import fitting


def test_a_letterbox_keeps_proportions_at_the_top_left_over_the_mean() -> None:
    image = Image.fromarray(np.full((4, 8), 200, np.uint8))
    pixels = fitting.fitted(image, (1, 6, 4), resize="bilinear", fit="letterbox")[0]
    assert pixels.tolist() == [[200] * 4] * 2 + [[0] * 4] * 4
    colours = Image.fromarray(np.full((4, 8, 3), 200, np.uint8))
    padded = fitting.fitted(colours, (3, 6, 4), resize="bilinear", fit="letterbox", mean=(0.5, 0.0, 2.0))
    assert padded[:, 2:].reshape(3, -1).tolist() == [[128] * 16, [0] * 16, [255] * 16]
    # An image of the input's proportions fills it.
    assert (fitting.fitted(image, (1, 2, 4), resize="bilinear", fit="letterbox") == 200).all()


SIDE = st.integers(1, 40)


@given(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE))
def test_one_side_of_a_letterbox_is_full_and_the_other_within(size: tuple[int, int], target: tuple[int, int]) -> None:
    inner = fitting.inner_size(size, target)
    assert all(1 <= side <= to for side, to in zip(inner, target, strict=True))
    assert any(side == to for side, to in zip(inner, target, strict=True))


@every(fit=FIT_MODES)
def test_a_map_and_a_box_are_where_the_pixels_are(fit: str) -> None:
    """An object drawn into a picture, its map and its box land on the same pixels of the input."""
    size, target = (48, 32), (16, 24)
    drawn = np.zeros((32, 48), np.uint8)
    drawn[8:24, 18:30] = 255
    pixels = fitting.fitted(Image.fromarray(drawn), (1, target[1], target[0]), resize="nearest", fit=fit)[0]
    mapped = fitting.map_to_input(drawn.astype(np.int16), target, fit)
    inner = fitting.inner_size(size, target) if fit == "letterbox" else target
    assert np.array_equal(mapped[: inner[1], : inner[0]], pixels[: inner[1], : inner[0]])
    box = fitting.boxes_to_input(np.array([18, 8, 30, 24]), size, target, fit)
    rows, columns = np.nonzero(pixels)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(box - seen).max() <= 0.5
    assert fitting.boxes_to_picture(box, size, target, fit).tolist() == [18, 8, 30, 24]


@every(fit=FIT_MODES)
def test_a_map_comes_back_at_the_pixels_of_its_picture(fit: str) -> None:
    """The input is three times as large, so that nothing is lost, but for what a crop leaves out."""
    labels = np.arange(24, dtype=np.int64).reshape(4, 6)
    target = {"squash": (18, 12), "crop": (12, 12), "letterbox": (18, 20)}[fit]
    back = fitting.map_to_picture(fitting.map_to_input(labels, target, fit), (6, 4), fit, outside=-7)
    if fit == "crop":
        assert (back[:, [0, -1]] == -7).all()
        back, labels = back[:, 1:-1], labels[:, 1:-1]
    assert np.array_equal(back, labels)


def test_boxes_that_come_back_are_clipped_to_the_picture() -> None:
    # The input is 32 wide and covers 64 pixels each way of a picture of 64x16.
    assert fitting.covered((64, 16), (32, 32), "letterbox") == (0, 0, 64, 64)
    assert fitting.boxes_to_picture(np.array([[-2, 1, 30, 20]]), (64, 16), (32, 32), "letterbox").tolist() == [
        [0, 2, 60, 16]
    ]
