import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as st_np
from scipy import ndimage

from hdlif.inputs.objects import BOUNDARY, INSIDE, components, matched, objects_of

MASKS = st_np.arrays(bool, st_np.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(MASKS)
def test_components_are_those_of_scipy(mask: np.ndarray) -> None:
    expected, _ = ndimage.label(mask)
    assert np.array_equal(components(mask), expected)


def logits_of(classes: np.ndarray) -> np.ndarray:
    return 6.0 * (classes == np.arange(3)[:, None, None])


def parts_of(labels: np.ndarray) -> np.ndarray:
    """The class of each pixel of a map of objects, by a plain loop over neighbours."""
    classes = np.zeros_like(labels)
    height, width = labels.shape
    for y, x in zip(*np.nonzero(labels), strict=True):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        near = [labels[a, b] for a, b in around if 0 <= a < height and 0 <= b < width]
        classes[y, x] = BOUNDARY if any(one != labels[y, x] for one in near) else INSIDE
    return classes


def test_touching_objects_come_apart_along_their_boundary() -> None:
    labels = np.zeros((12, 14), int)
    labels[1:9, 1:7], labels[3:11, 7:13] = 1, 2
    assert np.array_equal(objects_of(logits_of(parts_of(labels))), labels)


def test_objects_that_are_joined_at_a_low_level_come_apart_at_a_higher_one() -> None:
    # Two summits of 4 pixels, a saddle between them, and a slope around.
    inside = np.full((4, 9), 0.6)
    inside[1:3, 1:3], inside[1:3, 6:8], inside[1:3, 3:6] = 0.9, 0.9, 0.7

    def found(inside: np.ndarray) -> np.ndarray:
        return objects_of(np.log(np.stack([np.full_like(inside, 0.01), 0.99 - inside, inside])))

    assert found(inside).max() == 2
    assert (found(inside)[1:3, :4] == 1).all()
    assert (found(inside)[1:3, 5:] == 2).all()
    assert found(np.full((4, 9), 0.7)).max() == 1
    # Summits of 2 pixels are noise.
    inside[1, 1:8] = 0.7
    assert found(inside).max() == 1


def test_an_object_without_an_inside_is_one_and_specks_are_none() -> None:
    classes = np.zeros((6, 9), int)
    classes[1:3, 1:3] = BOUNDARY
    classes[0, 5:8] = INSIDE
    found = objects_of(logits_of(classes))
    assert np.array_equal(found, (classes == BOUNDARY).astype(int))
    assert objects_of(logits_of(classes), least=3).max() == 2
    assert objects_of(logits_of(np.zeros((3, 3), int))).tolist() == [[0] * 3] * 3


def test_foreground_is_where_the_background_has_less_than_half() -> None:
    # Boundary and inside have 0.3 each: the background is the likeliest, and has less than half.
    logits = np.log(np.tile(np.array([0.4, 0.3, 0.3])[:, None, None], (1, 3, 3)))
    assert (objects_of(logits) == 1).all()


def test_objects_are_matched_above_half_of_their_union() -> None:
    true = np.zeros((4, 12), int)
    true[:, :4], true[:, 5:7], true[:2, 8:12] = 3, 1, 9
    found = np.zeros_like(true)
    # 12 of 16 pixels; exactly half; nothing, and one that is not there.
    found[:3, :4], found[:2, 5:7], found[3, 9:12] = 5, 2, 1
    assert matched(found, true) == (1, 2, 2)
    true[3] = -1
    # The last row does not count: 12 of 12 pixels, and 4 of 6; the false one is gone.
    assert matched(found, true) == (2, 0, 1)
    assert matched(np.zeros_like(true), np.zeros_like(true)) == (0, 0, 0)


def test_a_winding_way_is_one_component() -> None:
    """A meander of 6,000 pixels is joined in a few passes over all pairs."""
    mask = np.ones((120, 120), bool)
    mask[1::4, 1:], mask[3::4, :-1] = False, False
    assert components(mask).max() == 1
