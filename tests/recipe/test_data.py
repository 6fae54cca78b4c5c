"""Data sets, and what a network is shown of them."""

import pytest
import torch

from hdlif.errors import DataError, RecipeError
from hdlif.graph.artefact import InputRecord
from hdlif.recipe import Recipe, builders, load_recipe
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


def test_images_may_be_shown_pixel_by_pixel() -> None:
    chosen = recipe("data.frames=pixels", "time_steps=64")
    builders.check(chosen)
    record = builders.input_record(chosen)
    assert (record.shape, record.frames, record.sample_shape(64)) == ((1, 1, 1), "pixels", (1, 8, 8))
    test = builders.build_data(chosen).test
    x, whole = test.sequence(torch.arange(2))[0], test.batch(torch.arange(2))[0]
    assert x.shape == (64, 2, 1, 1, 1)
    assert torch.equal(x[19, :, 0, 0, 0], whole[:, 0, 2, 3])
    with pytest.raises(RecipeError, match='"pixels" makes 64 steps of an image; set time_steps=64'):
        builders.check(recipe("data.frames=pixels"))


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


def events(*overrides: str) -> Recipe:
    return load_recipe("digits_events_hdlif", ["model.width=4", *overrides])


def test_events_are_shown_as_frames_of_counts() -> None:
    chosen = events("data.frames=by_time", "data.size=10", "time_steps=3", "data.train=50")
    builders.check(chosen)
    record = builders.input_record(chosen)
    assert record == InputRecord((2, 10, 10), (0.0, 0.0), (1.0, 1.0), kind="events", resize="none", binning="by_time")
    sets = builders.build_data(chosen)
    assert len(sets.train) == 50
    for part in sets.parts:
        x, _ = part.sequence(torch.arange(2))
        assert x.shape == (3, 2, 2, 10, 10)
        assert torch.equal(x, x.round())


def test_recipe_for_events_given_images_or_the_other_way_round_is_refused() -> None:
    for overrides, message in (
        (["data.kind=digits"], '"by_number" makes frames of events, and digits gives images; choose one of constant'),
        (["data.frames=rows"], '"rows" makes frames of images, and digits_events gives events; choose one of by_num'),
        (["data.frames=by_numbers"], 'did you mean "by_number"'),
        (["data.augment=[autoaugment_cifar10]"], "takes 8-bit pixels, and digits_events gives counts"),
        (
            ["data.kind=digits", "data.frames=constant", "data.augment=[flip, event_policy]"],
            '"event_policy" takes counts, and digits gives 8-bit pixels; leave it out',
        ),
    ):
        with pytest.raises(RecipeError) as caught:
            builders.check(events(*overrides))
        assert message in str(caught.value)


def test_named_data_is_shown_as_the_network_takes_it() -> None:
    rows, by_time = recipe("data.frames=rows", "time_steps=8"), events("data.frames=by_time")
    pixels = recipe("data.frames=pixels", "time_steps=64")
    fewer = recipe("data.frames=rows", "time_steps=9", "data.size=9")
    for chosen in (recipe(), recipe("data.size=12"), rows, pixels, fewer, events(), by_time):
        sets = builders.named_data(
            chosen.data.kind,
            None,
            record=builders.input_record(chosen),
            time_steps=chosen.time_steps,
            frames=chosen.data.frames,
        )
        x, y = builders.build_data(chosen).test.sequence(torch.arange(4))
        seen, labels = sets.test.sequence(torch.arange(4))
        assert torch.equal(x, seen)
        assert torch.equal(y, labels)


def test_named_data_of_another_kind_is_refused() -> None:
    rows = recipe("data.frames=rows", "time_steps=8")
    for name, chosen, message in (
        ("digits", events(), "input of kind events [2, 8, 8] at each step, and digits has input of kind image"),
        ("digits_events", recipe(), "takes input of kind image [1, 8, 8] at each step, and digits_events has"),
        ("sines", rows, "give the data set that it was"),
        ("delayed_xor", recipe("time_steps=1"), "at each of 1 time steps, which delayed_xor never has; give the data"),
        ("delayed_xor", recipe("time_steps=4"), "input of kind image [1, 8, 8] at each step, and delayed_xor has"),
    ):
        with pytest.raises(DataError) as caught:
            builders.named_data(name, None, record=builders.input_record(chosen), time_steps=chosen.time_steps)
        assert message in str(caught.value)


def test_random_batch_has_the_shape_of_the_data() -> None:
    rows, pixels = recipe("data.frames=rows", "time_steps=8"), recipe("data.frames=pixels", "time_steps=64")
    for chosen in (recipe(), rows, pixels, recipe("data.size=12"), events()):
        size = chosen.data.batch_size
        noise, labels = builders.random_batch(chosen, torch.Generator().manual_seed(0))
        x, target = builders.build_data(chosen).train.sequence(torch.arange(size))
        assert (noise.shape, labels.shape, labels.dtype) == (x.shape, target.shape, target.dtype)
        assert 0 <= labels.min() <= labels.max() < len(builders.DATA[chosen.data.kind].labels)
