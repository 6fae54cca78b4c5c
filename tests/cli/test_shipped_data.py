"""`hdlif data inspect NAME`, of sets that ship, and the forecast by the last value."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hdlif.cli import cli
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.deploy import export
from hdlif.errors import DataError, RecipeError
from hdlif.recipe import builders, load_recipe
from series_files import write_recording


def test_inspect_of_generated_data_states_their_arguments() -> None:
    result = inspect("delayed_xor", overrides=["data.delay=9", "data.samples=20", "data.validation=4"])
    assert json.loads(json.dumps(result)) == result
    assert result["arguments"] == {"delay": 9, "noise": 0.3, "samples": 20, "test": 1000, "draw": 0}
    assert result["classes"]["same"] == {"train": 10, "validation": 2, "test": 500}
    lines = as_text(result).splitlines()
    for line in (
        "delayed_xor: series, delay 9, noise 0.3, samples 20, test 1000, draw 0",
        "different     10           2   500",
        "all           20           4  1000",
        "trained on     a step sees 2 numbers, that time's alone: time_steps=10",
    ):
        assert line in lines


def test_inspect_prints_the_forecast_by_the_last_value() -> None:
    near, far = (inspect("mackey_glass", overrides=[f"data.ahead={ahead}"]) for ahead in (1, 6))
    assert near["persistence"]["rmse"] < far["persistence"]["rmse"]
    assert f"persistence    rmse {far['persistence']['rmse']:.4g}, mae" in as_text(far)
    assert "for what comes 1 step later" in as_text(near)


def test_inspect_of_ones_own_series_prints_the_forecast_by_the_last_value(tmp_path: Path) -> None:
    x = np.arange(12 * 6 * 1, dtype=np.float64).reshape(12, 6, 1)
    np.savez(tmp_path / "x.npz", x=x)
    result = inspect(str(tmp_path / "x.npz"), overrides=["data.ahead=2"])
    # Each channel rises by 1 a step.
    assert result["persistence"]["rmse"] == pytest.approx(2, rel=1e-4)
    assert "for what comes 2 steps later" in as_text(result)
    path = write_recording(tmp_path / "r.csv")
    assert "persistence" not in inspect(str(path), overrides=["data.window=8", "data.label=what", "data.group=who"])


@pytest.mark.parametrize(
    ("name", "words"),
    [("digits", "trained on     1x8x8"), ("wine", "trained on     each step sees the same 13 numbers")],
)
def test_inspect_of_other_sets_that_ship(name: str, words: str) -> None:
    result = inspect(name, overrides=["data.validation=30"])
    assert result["samples"]["validation"] == 30
    assert words in as_text(result).splitlines()


def test_inspect_of_sets_that_ship_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.train changes nothing of what a set that ships holds"):
        inspect("digits", overrides=["data.train=3"])
    with pytest.raises(RecipeError, match=r"data\.delay = 3 is unknown"):
        inspect("sines", overrides=["data.delay=3"])
    with pytest.raises(DataError, match=r"digits: is a set that ships, of which --out is not taken"):
        inspect("digits", out=tmp_path / "sheet.png")
    with pytest.raises(DataError, match="digits_events: is of recordings of events"):
        inspect("digits_events")
    with pytest.raises(DataError, match=r"delayed_xor: the parts have 20,201,212,000 values, and at most"):
        inspect("delayed_xor", overrides=["data.validation=100000000"])
    with pytest.raises(RecipeError, match=r"data: the parts take 3,010,310 units of time, and at most"):
        inspect("mackey_glass", overrides=["data.ahead=1000000"])
    with pytest.raises(DataError, match="fashion_mnist"):
        inspect("fashion_mnist", data_root=tmp_path)


def test_the_command_takes_the_name_of_a_set() -> None:
    done = CliRunner().invoke(cli, ["data", "inspect", "delayed_xor", "--set", "data.delay=4", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["time_steps"] == 5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("validation=-1", "data.validation = -1 is refused; it should be greater than or equal to 1"),
        ("validation=x", 'data.validation = "x" is refused; it should be a valid integer'),
        ("augment=3", "data.augment = 3 is refused; it should be a list, for example [flip, shift]"),
        ("augment=[3]", "data.augment.0 = 3 is refused; it should be a valid string"),
        ("frames=9", "data.frames = 9 is refused; it should be a valid string"),
        ("mixup.prob=2", "data.mixup.prob = 2 is refused; it should be less than or equal to 1"),
        ("delay=x", 'data.delay = "x" is refused; it should be a valid integer'),
        ("delay=.nan", "data.delay = NaN is refused; it should be a finite number"),
        ("kind=[a]", 'data.kind = ["a"] is refused; it should be a valid string'),
    ],
)
def test_the_command_refuses_a_value_that_none_can_have_in_one_line(override: str, said: str) -> None:
    done = CliRunner().invoke(cli, ["data", "inspect", "delayed_xor", "--set", f"data.{override}"])
    assert isinstance(done.exception, RecipeError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    ("name", "overrides", "key", "contradicted", "told"),
    [
        ("delayed_xor_hdlif", ["data.delay=5", "time_steps=6", "data.test=1000"], "noise=0.0", "delay=6", 5),
        ("mackey_glass_hdlif", ["data.steps=9", "data.ahead=3", "time_steps=9"], "test=5", "ahead=6", 3),
        (
            "copy_hdlif",
            ["data.delay=3", "data.symbols=2", "data.alphabet=3", "time_steps=7", "task.delay=5"],
            "draw=1",
            "alphabet=4",
            3,
        ),
    ],
)
def test_an_artefact_is_evaluated_on_data_that_are_made_as_it_takes_them(
    tmp_path: Path, name: str, overrides: list[str], key: str, contradicted: str, told: int
) -> None:
    recipe = load_recipe(name, overrides)
    torch.manual_seed(0)
    network, task = builders.build_model(recipe).eval(), builders.build_task(recipe)
    path = tmp_path / "net.hdlif.safetensors"
    record = builders.input_record(recipe)
    export(network, path, input=record, labels=task.outputs, time_steps=recipe.time_steps, task=task.record)
    found = evaluate(path, data=recipe.data.kind)
    tally = task.tally()
    for x, target in builders.build_data(recipe).test.sequences(500):
        tally(network(x, steps=range(recipe.time_steps))[0].detach(), target)
    expected = tally.evaluation()
    assert found.n == expected.n
    assert found.per_step == pytest.approx(expected.per_step, abs=0.02)
    other = evaluate(path, data=recipe.data.kind, overrides=[f"data.{key}"])
    assert other.per_step != found.per_step
    with pytest.raises(RecipeError, match=r"data\.window = 3 is unknown"):
        evaluate(path, data=recipe.data.kind, overrides=["data.window=3"])
    argument, _, asked = contradicted.partition("=")
    with pytest.raises(
        RecipeError,
        match=rf"data\.{argument} = {asked} is refused: the network was made for {argument} = {told}; leave data\.",
    ):
        evaluate(path, data=recipe.data.kind, overrides=[f"data.{contradicted}"])
