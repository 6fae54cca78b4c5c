"""Series that are made here: what they are, that their parts share nothing, and what does not change them."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from hdlif.cli.data import persistence
from hdlif.data import ImageSets, Samples, copy_task, delayed_xor, mackey_glass, sines
from hdlif.data.sources.generated import SKIPPED, STARTS, series
from hdlif.errors import DataError, RecipeError
from hdlif.inputs.generated import Copy, DelayedXor, MackeyGlass
from hdlif.learning import loss_over, mean_logits
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.recipe_data import load_with_data
from hdlif.training.tasks import Regress


def raw(part: Samples) -> Tensor:
    """[N, C, T]."""
    return part.read(torch.arange(len(part)))[..., 0]


def xor(**arguments: Any) -> ImageSets:
    return delayed_xor(content=DelayedXor(**{"delay": 12, "samples": 40, "test": 24, **arguments}), validation=8)


def test_delayed_xor_asks_whether_the_first_and_the_last_value_differ() -> None:
    sets = xor()
    assert (sets.shape, sets.classes) == ((2, 13, 1), ("same", "different"))
    assert [len(part) for part in sets.parts] == [40, 8, 24]
    for part in sets.parts:
        value, cue = raw(part).unbind(1)
        assert cue.tolist() == [[1.0, *[0.0] * 11, 1.0]] * len(part)
        assert set(value[:, [0, -1]].flatten().tolist()) == {-1.0, 1.0}
        assert part.labels.tolist() == (value[:, 0] != value[:, -1]).long().tolist()
        assert 0.2 < float(value[:, 1:-1].std()) < 0.4


def test_neither_bit_of_delayed_xor_tells_the_class_by_itself() -> None:
    for part in xor().parts:
        value = raw(part)[:, 0]
        for step in (0, -1):
            for bit in (-1.0, 1.0):
                of_bit = part.labels[value[:, step] == bit]
                assert of_bit.double().mean() == 0.5
        assert part.labels.double().mean() == 0.5


def test_parts_of_delayed_xor_hang_on_nothing_but_the_draw_and_the_arguments() -> None:
    one = xor()
    other = delayed_xor(content=DelayedXor(delay=12, samples=4, test=24), validation=100, seed=7)
    assert torch.equal(raw(one.test), raw(other.test))
    again = xor(draw=1)
    drawn = [raw(part)[:, 0, 1:-1] for sets in (one, again) for part in sets.parts]
    everything = torch.cat(drawn)
    assert len(torch.unique(everything, dim=0)) == len(everything)


def copied(**arguments: Any) -> ImageSets:
    return copy_task(
        content=Copy(**{"delay": 4, "symbols": 3, "alphabet": 5, "samples": 60, **arguments}), validation=8
    )


def test_copy_shows_symbols_and_says_when_they_are_asked_for() -> None:
    sets = copied()
    assert (sets.shape, sets.classes) == ((6, 10, 1), ("0", "1", "2", "3", "4", "blank"))
    for part in sets.parts:
        x = raw(part)
        assert part.labels.shape == (len(part), 10)
        for step in range(3):
            assert x[:, :5, step].argmax(1).tolist() == part.labels[:, step].tolist()
        assert x[:, :5].sum((1, 2)).unique().tolist() == [3.0]
        assert (part.labels[:, 3:] == 5).all()
        assert x[:, 5].tolist() == [[0, 0, 0, 0, 0, 0, 1, 0, 0, 0]] * len(part)
    counts = torch.bincount(sets.test.labels[:, :3].flatten(), minlength=5).double()
    assert (counts / counts.sum() - 0.2).abs().max() < 0.05


def copy_recipe(*overrides: str) -> Recipe:
    sizes = ["data.delay=4", "data.symbols=3", "data.alphabet=5", "time_steps=10", "task.delay=7"]
    return load_recipe("copy_hdlif", [*sizes, *overrides])


def test_the_steps_of_the_recall_alone_count() -> None:
    recipe = copy_recipe("data.test=20")
    builders.check(recipe)
    with pytest.raises(RecipeError, match=r"--set task\.delay=7"):
        builders.check(copy_recipe("task.delay=6"))
    test, task = builders.build_data(recipe).test, builders.build_task(recipe)
    _, target = test.sequence(torch.arange(20))
    outputs = torch.zeros(10, 20, 6)
    outputs[7:] = 9.0 * torch.nn.functional.one_hot(target[:, :3], 6).transpose(0, 1)
    loss = loss_over(task.criterion(), outputs, target, mean_logits)
    outputs[:7] = torch.randn(7, 20, 6)
    assert torch.equal(loss_over(task.criterion(), outputs, target, mean_logits), loss)
    tally = task.tally()
    tally(outputs, target)
    assert tally.evaluation().metrics == {"accuracy": 1.0, "whole_sequences": 1.0}
    assert len(tally.evaluation().per_step) == 3


def test_a_network_tells_what_it_copies() -> None:
    recipe = copy_recipe()
    record, task = builders.input_record(recipe), builders.build_task(recipe).record
    sets = builders.named_data("copy", None, record=record, time_steps=10, task=task)
    assert torch.equal(raw(sets.test), raw(builders.build_data(recipe).test))


def euler(time: float, step: float) -> float:
    """x at a time by the plainest method, from the same history."""
    lag, x = round(17 / step), [1.2]
    for n in range(round(time / step)):
        past = x[n - lag] if n >= lag else 1.2
        x.append(x[n] + step * (0.2 * past / (1 + past**10) - 0.1 * x[n]))
    return x[-1]


def test_series_of_mackey_and_glass_is_what_the_plainest_method_comes_to() -> None:
    exact = series(101, 1.2)
    coarse, fine = euler(100, 0.01), euler(100, 0.005)
    # Its error is of first order: half of it is gone at half the step.
    assert abs(2 * fine - coarse - exact[100]) < 2e-4
    assert exact[0] == 1.2


GOLDEN = ["0x1.1e188e9a862fap+0", "0x1.03857c6d1b449p+0", "0x1.c35cd4a6ad89bp-1"]
"""x(1), x(100) and x(3000)."""


def test_series_is_the_same_on_every_machine() -> None:
    x = series(3001, 1.2)
    assert x.dtype == np.float64
    assert [x[place].hex() for place in (1, 100, 3000)] == GOLDEN
    assert 0.2 < x[1000:].min() < x[1000:].max() < 1.4
    assert x[1000:].mean() == pytest.approx(MackeyGlass.mean[0], abs=0.01)
    assert x[1000:].std() == pytest.approx(MackeyGlass.std[0], abs=0.01)


FIRST_VALUES = {
    "delayed_xor": [[-1.0, -0.5023, 0.0728], [-1.0, -0.1958, -0.3268], [-1.0, -0.2668, 0.5036]],
    "copy": [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    "mackey_glass": [[0.9468, 0.9006, 0.8576], [0.6812, 0.7334, 0.7918], [0.8898, 0.9403, 0.9882]],
}
"""Of the first channel of the first series of each part."""


def test_values_are_what_they_have_ever_been() -> None:
    """A recipe alone says which data a result is of: others need another name, or an argument that says so."""
    size: dict[str, int] = {"samples": 4, "test": 4}
    sets = {
        "delayed_xor": delayed_xor(content=DelayedXor(delay=4, **size), validation=4),
        "copy": copy_task(content=Copy(delay=4, **size), validation=4),
        "mackey_glass": mackey_glass(content=MackeyGlass(**size), validation=4),
    }
    for name, made in sets.items():
        found = torch.stack([raw(part)[0, 0, :3] for part in made.parts])
        torch.testing.assert_close(found, torch.tensor(FIRST_VALUES[name]), rtol=0, atol=1e-4, msg=name)


def windows(**arguments: Any) -> tuple[MackeyGlass, ImageSets]:
    content = MackeyGlass(**{"steps": 20, "ahead": 6, "stride": 7, "samples": 9, "test": 4, **arguments})
    return content, mackey_glass(content=content, validation=3)


def test_what_is_learned_is_what_comes_ahead() -> None:
    content, sets = windows()
    for part in sets.parts:
        x, target = part.sequence(torch.arange(len(part)))
        shown = part.batch(torch.arange(len(part)))[0][:, 0, :, 0]
        assert target.shape == (len(part), 20, 1)
        torch.testing.assert_close(target[:, :14, 0], shown[:, 6:], rtol=0, atol=1e-5)
        assert x.shape[1] == len(part)
    assert content.learned["ahead"] == 6


def test_parts_are_stretches_of_series_of_their_own() -> None:
    begins = {
        "train": [7 * n for n in range(9)],
        "validation": [20 * n for n in range(3)],
        "test": [20 * n for n in range(4)],
    }
    _, sets = windows()
    for part, found in zip(begins, sets.parts, strict=True):
        whole = series(SKIPPED + 200, STARTS[part])[SKIPPED:].astype(np.float32)
        expected = [whole[begin : begin + 20] for begin in begins[part]]
        assert np.array_equal(raw(found)[:, 0].numpy(), np.stack(expected))


def test_series_of_two_parts_share_no_step_and_are_of_one_kind() -> None:
    whole = {part: series(SKIPPED + 3000, start)[SKIPPED:] for part, start in STARTS.items()}
    for x in whole.values():
        assert x.mean() == pytest.approx(MackeyGlass.mean[0], abs=0.01)
        assert x.std() == pytest.approx(MackeyGlass.std[0], abs=0.01)
    for one, other in combinations(whole.values(), 2):
        # Not one series that is shifted either: windows come near others, as they do in chaos, and never meet.
        some, all_windows = (torch.from_numpy(sliding_window_view(x, 100).copy()) for x in (one, other))
        assert torch.cdist(some[::10], all_windows, p=torch.inf).min() > 1e-3


def test_what_is_measured_does_not_hang_on_what_is_trained_on() -> None:
    content, one = windows()
    for sizes in ({"samples": 1}, {"samples": 300}, {"stride": 1}, {"stride": 100}):
        _, other = windows(**sizes)
        assert torch.equal(raw(one.test), raw(other.test)), sizes
        assert torch.equal(one.test.labels, other.test.labels), sizes
        assert torch.equal(raw(one.validation), raw(other.validation)), sizes
    assert torch.equal(raw(one.test), raw(mackey_glass(content=content, validation=30, seed=3).test))
    # More test windows begin with the same ones.
    longer = windows(test=9)[1]
    assert torch.equal(raw(one.test), raw(longer.test)[:4])


def test_persistence_is_the_error_of_the_last_value_in_its_units() -> None:
    content, sets = windows(ahead=5)
    recipe = load_recipe("mackey_glass_hdlif", ["data.steps=20", "data.ahead=5", "time_steps=20"])
    task = builders.build_task(recipe)
    assert isinstance(task, Regress)
    figures = persistence(sets.shown_as(builders.FRAMES["rows"]), task).metrics
    whole = raw(sets.test)[:, 0].double()
    later = sets.test.labels[..., 0].double() * content.std[0] + content.mean[0]
    assert figures["rmse"] == pytest.approx(float((later - whole).square().mean().sqrt()), rel=1e-5)
    assert figures["mae"] == pytest.approx(float((later - whole).abs().mean()), rel=1e-5)


def test_arguments_that_none_can_be_are_refused() -> None:
    for make, arguments in (
        (DelayedXor, {"delay": 0}),
        (DelayedXor, {"noise": -1.0}),
        (DelayedXor, {"test": 0}),
        (DelayedXor, {"draw": -1}),
        (Copy, {"alphabet": 1}),
        (Copy, {"symbols": 0}),
        (Copy, {"delay": 0}),
        (MackeyGlass, {"ahead": 0}),
        (MackeyGlass, {"samples": 10**7}),
        (MackeyGlass, {"steps": 0}),
        (MackeyGlass, {"stride": 0}),
        (MackeyGlass, {"ahead": 10**6}),
        (MackeyGlass, {"samples": 10**6, "stride": 1}),
        (MackeyGlass, {"steps": 30000, "samples": 9000, "stride": 1, "test": 1}),
        (DelayedXor, {"samples": 10**6, "test": 10**6}),
        (Copy, {"samples": 200_000, "test": 200_000}),
    ):
        with pytest.raises(ValueError, match=r"refused|the parts"):
            make(**arguments)


def test_long_windows_are_tested_on_where_few_are_asked_for() -> None:
    recipe = load_recipe("mackey_glass_hdlif", ["data.steps=11000", "time_steps=11000"])
    record, task = builders.input_record(recipe), builders.build_task(recipe).record
    few = {"test": 2, "samples": 2}
    sets = builders.named_data("mackey_glass", None, record=record, time_steps=11000, task=task, arguments=few)
    assert [len(part) for part in sets.parts] == [2, 2, 2]


def test_a_validation_part_of_nothing_or_of_more_than_is_made_is_refused() -> None:
    for make in (copy_task, delayed_xor, mackey_glass):
        for validation in (0, 10**8):
            with pytest.raises(DataError):
                make(validation=validation)
    with pytest.raises(DataError):
        sines(validation=0)
    with pytest.raises(DataError, match="units of time"):
        mackey_glass(validation=10_001)


def test_a_recipe_gives_the_arguments_of_generated_data() -> None:
    recipe = load_recipe("delayed_xor_hdlif", ["data.delay=7", "data.samples=16", "data.test=8", "time_steps=8"])
    builders.check(recipe)
    assert builders.input_record(recipe).shape == (2, 1, 1)
    sets = builders.build_data(recipe)
    assert [len(part) for part in sets.parts] == [16, 500, 8]
    assert sets.train.sequence(torch.arange(3))[0].shape == (8, 3, 2, 1, 1)
    for override in ("data.delay=7", "data.delays=7", "data.delay=0", "data.delay=1.5"):
        with pytest.raises(RecipeError):
            builders.check(load_recipe("delayed_xor_hdlif", [override]))


def test_a_network_tells_what_data_it_was_trained_on_but_for_their_noise_and_sizes() -> None:
    chosen = load_recipe("delayed_xor_hdlif", ["data.delay=7", "time_steps=8"])
    record, task = builders.input_record(chosen), builders.build_task(chosen).record
    sets = builders.named_data("delayed_xor", None, record=record, time_steps=8, task=task, arguments={"samples": 8})
    assert torch.equal(raw(sets.test), raw(builders.build_data(chosen).test))
    with pytest.raises(RecipeError, match=r"data\.delay = 12 is refused: the network was made for delay = 7; leave"):
        builders.named_data("delayed_xor", None, record=record, time_steps=8, task=task, arguments={"delay": 12})
    builders.named_data("delayed_xor", None, record=record, time_steps=8, task=task, arguments={"delay": 7})


def test_time_steps_follow_an_argument_that_is_set() -> None:
    said: list[str] = []
    recipe, _ = load_with_data("delayed_xor_hdlif", ["data.delay=7"], say=said.append)
    assert (recipe.time_steps, said) == (8, ["time_steps = 8, as many as a series has (delayed_xor_hdlif has 101)"])
    recipe, _ = load_with_data("delayed_xor_hdlif", ["data.noise=0.1"], say=said.append)
    assert (recipe.time_steps, len(said)) == (101, 1)
    with pytest.raises(RecipeError, match="--set time_steps=8"):
        load_with_data("delayed_xor_hdlif", ["data.delay=7", "time_steps=9"])


def test_other_data_leave_the_arguments_of_generated_ones_out() -> None:
    recipe, _ = load_with_data("delayed_xor_hdlif", data="sines")
    assert (recipe.data.kind, recipe.data.arguments, recipe.time_steps) == ("sines", {}, 32)
    assert (recipe.data.batch_size, recipe.data.validation) == (50, 500)
    recipe, _ = load_with_data("sines_hdlif", data="delayed_xor")
    assert (recipe.data.kind, recipe.time_steps) == ("delayed_xor", 101)
    recipe, _ = load_with_data("delayed_xor_hdlif", ["data.delay=7"], data="delayed_xor")
    assert recipe.time_steps == 8
