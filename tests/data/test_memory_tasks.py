"""Generated series: their content, that their parts share nothing, and what does not change them."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from cases import naming
from hdlif.data import DataSets, Samples, copy_task, delayed_xor, mackey_glass, sines
from hdlif.data.sources.synthetic import SKIPPED, STARTS, series
from hdlif.errors import DataError, RecipeError
from hdlif.inputs.memory_tasks import Content, Copy, DelayedXor, MackeyGlass
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.recipe_data import load_with_data


def raw(part: Samples) -> Tensor:
    """[N, C, T]."""
    return part.read(torch.arange(len(part)))[..., 0]


def xor(**arguments: Any) -> DataSets:
    return delayed_xor(content=DelayedXor(**{"delay": 12, "samples": 40, "test": 24, **arguments}), validation=8)


def test_delayed_xor_asks_whether_the_first_and_the_last_value_differ() -> None:
    sets = xor()
    assert (sets.shape, sets.classes) == ((2, 13, 1), ("same", "different"))
    assert [len(part) for part in sets.parts] == [40, 8, 24]
    for part in sets.parts:
        value, cue = raw(part).unbind(1)
        bits = value[:, [0, -1]]
        assert cue.tolist() == [[1.0, *[0.0] * 11, 1.0]] * len(part)
        assert part.labels.tolist() == (bits[:, 0] != bits[:, 1]).long().tolist()
        assert 0.2 < float(value[:, 1:-1].std()) < 0.4
        # Neither bit predicts the class by itself.
        for bit in (-1.0, 1.0):
            assert [float(part.labels[at == bit].double().mean()) for at in bits.T] == [0.5, 0.5]
    # Each part depends on the draw and its own arguments alone.
    other = delayed_xor(content=DelayedXor(delay=12, samples=4, test=24), validation=100, seed=7)
    assert torch.equal(raw(sets.test), raw(other.test))
    everything = torch.cat([raw(part)[:, 0, 1:-1] for of_draw in (sets, xor(draw=1)) for part in of_draw.parts])
    assert len(torch.unique(everything, dim=0)) == len(everything)


def test_copy_shows_symbols_and_cues_their_recall() -> None:
    content = Copy(delay=4, symbols=3, alphabet=5, samples=60)
    sets = copy_task(content=content, validation=8)
    assert (sets.shape, sets.classes) == ((6, 10, 1), ("0", "1", "2", "3", "4", "blank"))
    for part in sets.parts:
        x = raw(part)
        assert x[:, :5, :3].argmax(1).tolist() == part.labels[:, :3].tolist()
        assert x[:, :5].sum((1, 2)).unique().tolist() == [3.0]
        assert (part.labels[:, 3:] == 5).all()
        assert x[:, 5].tolist() == [[0, 0, 0, 0, 0, 0, 1, 0, 0, 0]] * len(part)
    counts = torch.bincount(sets.test.labels[:, :3].flatten(), minlength=5).double()
    assert (counts / counts.sum() - 0.2).abs().max() < 0.05


COPY = ["data.delay=4", "data.symbols=3", "data.alphabet=5", "time_steps=10", "task.delay=7"]


def euler(time: float, step: float) -> float:
    """x at a time by the plainest method, from the same history."""
    lag, x = round(17 / step), [1.2]
    for n in range(round(time / step)):
        past = x[n - lag] if n >= lag else 1.2
        x.append(x[n] + step * (0.2 * past / (1 + past**10) - 0.1 * x[n]))
    return x[-1]


def test_series_of_mackey_and_glass_is_what_the_plainest_method_comes_to_with_the_same_bits_everywhere() -> None:
    x = series(3001, 1.2)
    coarse, fine = euler(100, 0.01), euler(100, 0.005)
    # Its error is of first order: half of it is gone at half the step.
    assert abs(2 * fine - coarse - x[100]) < 2e-4
    golden = ["0x1.3333333333333p+0", "0x1.1e188e9a862fap+0", "0x1.03857c6d1b449p+0", "0x1.c35cd4a6ad89bp-1"]
    assert [x[place].hex() for place in (0, 1, 100, 3000)] == golden
    assert 0.2 < x[1000:].min() < x[1000:].max() < 1.4


FIRST_VALUES = {
    "delayed_xor": [[-1.0, -0.5023, 0.0728], [-1.0, -0.1958, -0.3268], [-1.0, -0.2668, 0.5036]],
    "copy": [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    "mackey_glass": [[0.9468, 0.9006, 0.8576], [0.6812, 0.7334, 0.7918], [0.8898, 0.9403, 0.9882]],
}
"""Of the first channel of the first series of each part."""


def test_values_never_change() -> None:
    """A recipe alone states which data a result is of: other values need another name, or a new argument."""
    size: dict[str, int] = {"samples": 4, "test": 4}
    sets = {
        "delayed_xor": delayed_xor(content=DelayedXor(delay=4, **size), validation=4),
        "copy": copy_task(content=Copy(delay=4, **size), validation=4),
        "mackey_glass": mackey_glass(content=MackeyGlass(**size), validation=4),
    }
    for name, made in sets.items():
        found = torch.stack([raw(part)[0, 0, :3] for part in made.parts])
        torch.testing.assert_close(found, torch.tensor(FIRST_VALUES[name]), rtol=0, atol=1e-4, msg=name)


def windows(**arguments: Any) -> tuple[MackeyGlass, DataSets]:
    content = MackeyGlass(**{"steps": 20, "ahead": 6, "stride": 7, "samples": 9, "test": 4, **arguments})
    return content, mackey_glass(content=content, validation=3)


def test_parts_are_stretches_of_series_of_their_own_which_do_not_depend_on_the_training_set() -> None:
    for sizes in ({}, {"samples": 1}, {"samples": 100}, {"stride": 1}, {"stride": 90}, {"test": 9}):
        content, sets = windows(**sizes)
        strides = {"train": content.stride, "validation": 20, "test": 20}
        for (part, stride), found in zip(strides.items(), sets.parts, strict=True):
            whole = series(SKIPPED + 1000, STARTS[part])[SKIPPED:].astype(np.float32)
            expected = [whole[begin : begin + 20] for begin in range(0, stride * len(found), stride)]
            assert np.array_equal(raw(found)[:, 0].numpy(), np.stack(expected)), sizes
            # Targets are the values ahead.
            shown, target = found.batch(torch.arange(len(found)))
            assert target.shape == (len(found), 20, 1)
            torch.testing.assert_close(target[:, :14, 0], shown[:, 0, 6:, 0], rtol=0, atol=1e-5)
    assert torch.equal(raw(sets.test), raw(mackey_glass(content=content, validation=30, seed=3).test))


def test_series_of_two_parts_share_no_step_and_have_the_stated_moments() -> None:
    whole = [series(SKIPPED + 3000, start)[SKIPPED:] for start in STARTS.values()]
    for x in whole:
        assert (x.mean(), x.std()) == pytest.approx((MackeyGlass.mean[0], MackeyGlass.std[0]), abs=0.01)
    for one, other in combinations(whole, 2):
        # Not one series that is shifted either: windows come near others, as they do in chaos, and never meet.
        some, all_windows = (torch.from_numpy(sliding_window_view(x, 100).copy()) for x in (one, other))
        assert torch.cdist(some[::10], all_windows, p=torch.inf).min() > 1e-3


def test_arguments_out_of_range_are_refused() -> None:
    refused: dict[type[Content], tuple[dict[str, Any], ...]] = {
        DelayedXor: ({"delay": 0}, {"noise": -1.0}, {"test": 0}, {"draw": -1}, {"samples": 10**6, "test": 10**6}),
        Copy: ({"alphabet": 1}, {"symbols": 0}, {"delay": 0}, {"samples": 200_000, "test": 200_000}),
        MackeyGlass: (
            *({"ahead": 0}, {"ahead": 10**6}, {"steps": 0}, {"stride": 0}, {"samples": 10**7}),
            {"samples": 10**6, "stride": 1},
            {"steps": 30000, "samples": 9000, "stride": 1, "test": 1},
        ),
    }
    for make, cases in refused.items():
        for arguments in cases:
            with naming(make.__name__, arguments), pytest.raises(ValueError, match=r"refused|the parts"):
                make(**arguments)
    for load in (copy_task, delayed_xor, mackey_glass, sines):
        for validation in (0, 10**8):
            with naming(load, validation), pytest.raises(DataError):
                load(validation=validation)
    with pytest.raises(DataError, match="units of time"):
        mackey_glass(validation=10_001)


def test_a_recipe_gives_the_arguments_of_generated_data() -> None:
    recipe = load_recipe("delayed_xor_hdlif", ["data.delay=7", "data.samples=16", "data.test=8", "time_steps=8"])
    builders.check(recipe)
    assert builders.input_record(recipe).shape == (2, 1, 1)
    sets = builders.build_data(recipe)
    assert [len(part) for part in sets.parts] == [16, 500, 8]
    assert sets.train.sequence(torch.arange(3))[0].shape == (8, 3, 2, 1, 1)
    for name, overrides in (
        *(("delayed_xor_hdlif", [f"data.{argument}"]) for argument in ("delay=7", "delays=7", "delay=0", "delay=1.5")),
        ("copy_hdlif", [*COPY, "task.delay=6"]),
    ):
        with naming(overrides), pytest.raises(RecipeError):
            builders.check(load_recipe(name, overrides))


def test_a_network_determines_its_data_but_for_their_noise_and_sizes() -> None:
    xor_recipe = load_recipe("delayed_xor_hdlif", ["data.delay=7", "time_steps=8"])
    for recipe in (xor_recipe, load_recipe("copy_hdlif", COPY)):
        assert torch.equal(raw(data_of(recipe).test), raw(builders.build_data(recipe).test))
    assert len(data_of(xor_recipe, samples=8, delay=7).train) == 8
    with pytest.raises(RecipeError, match="delay = 7"):
        data_of(xor_recipe, delay=12)
    # Long windows leave no room for the sizes that are the default.
    long = load_recipe("mackey_glass_hdlif", ["data.steps=11000", "time_steps=11000"])
    assert [len(part) for part in data_of(long, test=2, samples=2).parts] == [2, 2, 2]


def data_of(recipe: Recipe, **arguments: int) -> DataSets:
    """Return the data for a network of this recipe, which is known by its input and task alone."""
    record, task = builders.input_record(recipe), builders.build_task(recipe).record
    steps = recipe.time_steps
    return builders.named_data(recipe.data.kind, None, record=record, time_steps=steps, task=task, arguments=arguments)


def test_time_steps_follow_an_argument_that_is_set_and_other_data_drop_the_arguments() -> None:
    said: list[str] = []
    for overrides, steps, lines in ((["data.delay=7"], 8, 1), (["data.noise=0.1"], 101, 1)):
        recipe, _ = load_with_data("delayed_xor_hdlif", overrides, say=said.append)
        assert (recipe.time_steps, len(said)) == (steps, lines)
    with pytest.raises(RecipeError, match="time_steps=8"):
        load_with_data("delayed_xor_hdlif", ["data.delay=7", "time_steps=9"])
    recipe, _ = load_with_data("delayed_xor_hdlif", data="sines")
    assert (recipe.data.kind, recipe.data.arguments, recipe.time_steps) == ("sines", {}, 32)
    assert (recipe.data.batch_size, recipe.data.validation) == (50, 500)
    for name, overrides, steps in (("sines_hdlif", [], 101), ("delayed_xor_hdlif", ["data.delay=7"], 8)):
        recipe, _ = load_with_data(name, overrides, data="delayed_xor")
        assert (recipe.data.kind, recipe.time_steps) == ("delayed_xor", steps)
