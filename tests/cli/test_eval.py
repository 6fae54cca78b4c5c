"""`hdlif eval`: a network and the data set that it is asked about."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import hdlif
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file
from hdlif.data import ImageSets, delayed_xor
from hdlif.deploy import export
from hdlif.errors import DataError, RecipeError
from hdlif.inputs.generated import DelayedXor
from hdlif.models import resnet
from hdlif.nn import HDLIF
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs import tested_data as module
from trainings import train


def test_a_network_of_other_classes_than_the_data_is_refused(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=12, in_channels=1).eval()
    labels = tuple(map(str, range(12)))
    export(network, tmp_path / "net", input=builders.DATA["digits"].input, labels=labels, time_steps=4)
    with pytest.raises(DataError, match=r"12 outputs, .* and the data set 10"):
        evaluate(tmp_path / "net", data="digits")
    named = module.sets_named

    def of_seven(*arguments: object, **options: object) -> ImageSets:
        sets: ImageSets = named(*arguments, **options)  # type: ignore[arg-type]
        return replace(sets, classes=sets.classes[:7])

    monkeypatch.setattr(module, "sets_named", of_seven)
    with pytest.raises(DataError, match=r"10 outputs, .* and the data set 7"):
        evaluate(run_folder, data="digits")


def test_what_answering_early_costs_is_said_of_a_run_and_of_its_file_alike(run_folder: Path, artefact: Path) -> None:
    early = json.loads((run_folder / "early.json").read_text())
    accuracy, steps = early["accuracy"], early["steps"]
    said = hdlif("eval", run_folder, "--early").stdout
    assert f"0.9{steps[10]:.2f}{accuracy[10]:.2%}" in said.replace(" ", "")
    for path in (run_folder, artefact):
        found = evaluate(path, data="digits")
        assert "early" not in found.as_dict()
        assert found.as_dict(early=True)["early"]["confidence"] == early["confidence"]
        np.testing.assert_allclose(found.as_dict(early=True)["early"]["steps"], early["steps"], atol=0.02)
    of_run = evaluate(run_folder, data="digits").per_step
    assert (accuracy[0], accuracy[-1]) == (of_run[0], of_run[-1])


def test_a_network_trained_in_float64_is_measured_and_exported(tmp_path: Path) -> None:
    small = ["training.epochs=1", "data.batch_size=256", "model.width=4", "model.blocks=[1]", "data.train=256"]
    overrides = [*small, "training.precision=64-true"]
    result = train("digits_hdlif", overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    export_file(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    for path in (tmp_path / "run", tmp_path / "net.hdlif.safetensors"):
        assert evaluate(path, data="digits").accuracy == pytest.approx(result.accuracy, abs=0.01)


def test_an_argument_of_a_runs_data_leaves_its_others_as_they_were_and_is_not_one_of_other_data(tmp_path: Path) -> None:
    recipe = load_recipe("delayed_xor_hdlif", ["data.delay=5", "time_steps=6", "data.test=32", "data.draw=3"])
    for keys in ({}, {"noise": 1.0}, {"noise": 1.0, "draw": 4}):
        found = module.sets_for(recipe, "delayed_xor", None, tmp_path, keys=keys).test
        made = delayed_xor(content=DelayedXor(**{"delay": 5, "test": 32, "draw": 3, **keys}), validation=1).test
        assert torch.equal(found.read(torch.arange(32)), made.read(torch.arange(32)))
    long = load_recipe("delayed_xor_hdlif", ["data.delay=31", "time_steps=32", "data.noise=0.1"])
    assert len(module.sets_for(long, "sines", None, tmp_path).test) == 150


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
def test_a_model_file_is_tested_on_data_that_are_made_as_it_takes_them(
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
    assert evaluate(path, data=recipe.data.kind, overrides=[f"data.{key}"]).per_step != found.per_step
    argument, _, asked = contradicted.partition("=")
    for override, words in (
        ("window=3", r"data\.window = 3 is unknown"),
        (contradicted, rf"data\.{argument} = {asked} is refused: the network was made for {argument} = {told}"),
    ):
        with pytest.raises(RecipeError, match=words):
            evaluate(path, data=recipe.data.kind, overrides=[f"data.{override}"])
