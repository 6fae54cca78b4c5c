"""`hdlif eval`: a network and the data set that it is asked about."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.cli import main
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.data import ImageSets, delayed_xor
from hdlif.deploy import export as write_artefact
from hdlif.errors import DataError
from hdlif.inputs.generated import DelayedXor
from hdlif.models import resnet
from hdlif.nn import HDLIF
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs import tested_data as module
from hdlif.recipe.runs.checkpoints import load_trained
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4", "model.blocks=[1]"]


def test_an_artefact_of_other_classes_is_refused(tmp_path: Path) -> None:
    network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=12, in_channels=1).eval()
    labels = tuple(map(str, range(12)))
    write_artefact(network, tmp_path / "net", input=builders.DATA["digits"].input, labels=labels, time_steps=4)
    with pytest.raises(
        DataError, match=r"net: the network has 12 outputs, of classes or values, and the data set 10; give"
    ):
        evaluate(tmp_path / "net", data="digits")


def test_what_answering_early_costs_is_said_of_a_run_and_of_its_file_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=0)
    export(tmp_path, out=tmp_path / "net")
    early = json.loads((tmp_path / "early.json").read_text())
    monkeypatch.setattr("sys.argv", ["hdlif", "eval", str(tmp_path), "--early"])
    main()
    said = capsys.readouterr().out
    accuracy, steps = early["accuracy"], early["steps"]
    assert f"0.9{steps[10]:>36.2f}{accuracy[10]:>10.2%}".replace(" ", "") in said.replace(" ", "")
    for path in (tmp_path, tmp_path / "net"):
        found = evaluate(path, data="digits")
        assert "early" not in found.as_dict()
        assert found.as_dict(early=True)["early"]["confidence"] == early["confidence"]
        np.testing.assert_allclose(found.as_dict(early=True)["early"]["steps"], early["steps"], atol=0.01)
        assert (accuracy[0], accuracy[-1]) == (found.per_step[0], found.per_step[-1])


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train("digits_hdlif", overrides=FAST, out=tmp_path, memory_repeats=0)
    named = module.sets_named

    def of_seven(*arguments: object, **options: object) -> ImageSets:
        sets: ImageSets = named(*arguments, **options)  # type: ignore[arg-type]
        return replace(sets, classes=sets.classes[:7])

    monkeypatch.setattr(module, "sets_named", of_seven)
    with pytest.raises(
        DataError, match=r"the network has 10 outputs, of classes or values, and the data set 7; give the data"
    ):
        evaluate(tmp_path, data="digits")


def test_an_argument_of_a_runs_data_leaves_its_others_as_they_were(tmp_path: Path) -> None:
    sizes = ["data.delay=5", "time_steps=6", "data.samples=64", "data.test=32", "data.validation=8", "data.draw=3"]
    small = ["training.epochs=1", "data.batch_size=32", "model.widths=[4]"]
    train("delayed_xor_hdlif", overrides=[*sizes, *small], out=tmp_path, memory_repeats=0)
    recipe = load_trained(tmp_path).recipe
    for keys in ({}, {"noise": 1.0}, {"noise": 1.0, "draw": 4}):
        found = module.sets_for(recipe, "delayed_xor", None, tmp_path, keys=keys).test
        made = delayed_xor(content=DelayedXor(**{"delay": 5, "test": 32, "draw": 3, **keys}), validation=1).test
        assert torch.equal(found.read(torch.arange(32)), made.read(torch.arange(32)))
    assert evaluate(tmp_path, data="delayed_xor", overrides=["data.noise=1.0"]).n == 32


def test_arguments_of_a_runs_data_are_not_those_of_other_data(tmp_path: Path) -> None:
    recipe = load_recipe("delayed_xor_hdlif", ["data.delay=31", "time_steps=32", "data.noise=0.1"])
    sets = module.sets_for(recipe, "sines", None, tmp_path)
    assert len(sets.test) == 150
