"""Data sets, and what a network is shown of them."""

import pytest
import torch

from hdlif import builders
from hdlif.errors import RecipeError
from small_recipes import recipe


def test_images_may_be_shown_row_by_row_and_fewer_of_them() -> None:
    chosen = recipe("data.frames=rows", "time_steps=8", "data.train=100")
    builders.check(chosen)
    assert builders.input_record(chosen).shape == (1, 1, 8)
    sets = builders.build_data(chosen)
    assert len(sets.train) == 100
    for images in (sets.train, sets.validation, sets.test):
        assert images.sequence(torch.arange(2))[0].shape == (8, 2, 1, 1, 8)
    assert builders.input_record(recipe()).shape == (1, 8, 8)
    with pytest.raises(RecipeError, match=r"data.train = 9999; there are 1237 training images"):
        builders.build_data(recipe("data.train=9999"))


def test_images_may_be_resized() -> None:
    chosen = recipe("data.size=12")
    builders.check(chosen)
    assert builders.input_record(chosen).shape == (1, 12, 12)
    sets, whole = builders.build_data(chosen), builders.build_data(recipe())
    assert sets.shape == (1, 12, 12)
    for images, before in ((sets.train, whole.train), (sets.validation, whole.validation), (sets.test, whole.test)):
        assert images.pixels.shape == (len(before), 1, 12, 12)
        assert torch.equal(images.labels, before.labels)
        assert abs(images.pixels.float().mean() - before.pixels.float().mean()) < 2
    assert sets.train.augment == whole.train.augment
    rows = recipe("data.size=12", "data.frames=rows", "time_steps=12")
    assert builders.input_record(rows).shape == (1, 1, 12)
