"""Data sets, augmentations, and what a network is shown of them."""

import re
from pathlib import Path

import pytest
import torch

from cases import every, naming
from hdlif.data import Augmentation
from hdlif.errors import DataError, RecipeError
from hdlif.graph.artefact import InputRecord
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe
from hdlif.recipe.runs.own_parts import own_parts
from small_recipes import recipe


def test_images_may_be_shown_row_by_row_pixel_by_pixel_resized_and_fewer() -> None:
    whole = builders.build_data(recipe())
    sets = builders.build_data(recipe("data.frames=rows", "time_steps=8", "data.train=100"))
    assert len(sets.train) == 100
    assert all(part.sequence(torch.arange(2))[0].shape == (8, 2, 1, 1, 8) for part in sets.parts)
    with pytest.raises(RecipeError, match=r"data.train = 9999; there are only 1237 training images"):
        builders.build_data(recipe("data.train=9999"))
    chosen = recipe("data.frames=pixels", "time_steps=64")
    record = builders.input_record(chosen)
    assert (record.shape, record.frames, record.sample_shape(64)) == ((1, 1, 1), "pixels", (1, 8, 8))
    x = builders.build_data(chosen).test.sequence(torch.arange(2))[0]
    assert torch.equal(x[19, :, 0, 0, 0], whole.test.batch(torch.arange(2))[0][:, 0, 2, 3])
    with pytest.raises(RecipeError, match='"pixels" makes 64 steps of an image; set time_steps=64'):
        builders.check(recipe("data.frames=pixels"))
    sets = builders.build_data(recipe("data.size=12"))
    for images, before in zip(sets.parts, whole.parts, strict=True):
        assert images.pixels.shape == (len(before), 1, 12, 12)
        assert torch.equal(images.labels, before.labels)
        assert abs(images.pixels.float().mean() - before.pixels.float().mean()) < 2
    assert sets.train.augment == whole.train.augment


def events(*overrides: str) -> Recipe:
    return load_recipe("digits_events_hdlif", ["model.width=4", *overrides])


EVENTS = events("data.frames=by_time", "data.size=10", "time_steps=3", "data.train=50")


def test_recipe_for_events_makes_frames_and_given_images_it_is_refused() -> None:
    for overrides, message in (
        (["data.kind=digits"], '"by_number" makes frames of events, but digits gives images'),
        (["data.frames=rows"], '"rows" makes frames of images, but digits_events gives events'),
        (["data.frames=by_numbers"], 'did you mean "by_number"'),
        (["data.augment=[autoaugment_cifar10]"], "takes 8-bit pixels, but digits_events gives counts"),
        (["data={kind: digits, batch_size: 8, validation: 8, augment: [event_policy]}"], '"event_policy" takes counts'),
    ):
        with naming(overrides), pytest.raises(RecipeError, match=re.escape(message)):
            builders.check(events(*overrides))
    assert len(builders.build_data(EVENTS).train) == 50
    record = InputRecord((2, 10, 10), (0.0, 0.0), (1.0, 1.0), kind="events", resize="none", binning="by_time")
    assert builders.input_record(EVENTS) == record
    builders.check(load_recipe("sines_hdlif", ["data.augment=[jitter, {kind: scale, deviation: 0.2}]"]))
    with pytest.raises(RecipeError, match='"flip" takes 8-bit pixels or counts, but sines gives series'):
        builders.check(load_recipe("sines_hdlif", ["data.augment=[flip]"]))


SHOWN = [
    recipe(),
    recipe("data.size=12"),
    recipe("data.frames=rows", "time_steps=8"),
    recipe("data.frames=pixels", "time_steps=64"),
    recipe("data.frames=rows", "time_steps=9", "data.size=9"),
    events(),
    EVENTS,
]


@every(chosen=SHOWN)
def test_named_data_and_noise_are_shown_as_the_network_takes_them(chosen: Recipe) -> None:
    builders.check(chosen)
    record, size = builders.input_record(chosen), chosen.data.batch_size
    sets = builders.named_data(
        chosen.data.kind, None, record=record, time_steps=chosen.time_steps, frames=chosen.data.frames
    )
    x, y = builders.build_data(chosen).test.sequence(torch.arange(size))
    seen, labels = sets.test.sequence(torch.arange(size))
    assert torch.equal(x, seen)
    assert torch.equal(y, labels)
    noise, labels = builders.random_batch(chosen, torch.Generator().manual_seed(0))
    assert (noise.shape, labels.shape, labels.dtype) == (x.shape, y.shape, y.dtype)
    assert 0 <= labels.min() <= labels.max() < len(builders.DATA[chosen.data.kind].labels)


def test_named_data_of_another_kind_is_refused() -> None:
    rows = recipe("data.frames=rows", "time_steps=8")
    for name, chosen, message in (
        ("digits", events(), "input of kind events [2, 8, 8] at each step, but digits has input of kind image"),
        ("digits_events", recipe(), "takes input of kind image [1, 8, 8] at each step, but digits_events has"),
        ("sines", rows, "give its training data set"),
        ("delayed_xor", recipe("time_steps=1"), "at each of 1 time steps, which delayed_xor cannot provide"),
        ("delayed_xor", recipe("time_steps=4"), "input of kind image [1, 8, 8] at each step, but delayed_xor has"),
    ):
        with naming(name), pytest.raises(DataError, match=re.escape(message)):
            builders.named_data(name, None, record=builders.input_record(chosen), time_steps=chosen.time_steps)


def test_augmentations_of_the_user_are_checked_and_made_with_those_that_ship(tmp_path: Path) -> None:
    own = '"own_parts:noise", {kind: "own_parts:noise", strength: 3}, {kind: "own_parts:Dim", most: 0.25}'
    chosen = recipe(f"data.augment=[shift, {own}]")
    builders.check(chosen)
    first, *made = builders.build_data(chosen).train.augment
    assert first == "shift"
    assert all(isinstance(one, Augmentation) for one in made)
    assert [one.normalised for one in made] == [False, False, True]  # type: ignore[union-attr]
    (tmp_path / "digits_hdlif.yaml").write_text(dump_recipe(chosen))
    assert load_recipe(tmp_path / "digits_hdlif.yaml") == chosen
    assert list(own_parts(chosen)) == ["own_parts"]
