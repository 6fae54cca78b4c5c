"""`hdlif eval`: a network and the data set that it is asked about."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hdlif import builders
from hdlif.cli import main
from hdlif.commands import eval as module
from hdlif.commands.eval import evaluate_path
from hdlif.commands.export import export
from hdlif.commands.train import train
from hdlif.data import ImageSets
from hdlif.deploy import export as write_artefact
from hdlif.errors import DataError
from hdlif.models import resnet
from hdlif.nn import HDLIF

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4", "model.blocks=[1]"]


def test_an_artefact_of_other_classes_is_refused(tmp_path: Path) -> None:
    network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=12, in_channels=1).eval()
    labels = tuple(map(str, range(12)))
    write_artefact(network, tmp_path / "net", input=builders.DATA["digits"].input, labels=labels, time_steps=4)
    with pytest.raises(
        DataError, match=r"net: the network has 12 outputs, of classes or values, and the data set 10; give"
    ):
        evaluate_path(tmp_path / "net", data="digits")


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
        found = evaluate_path(path, data="digits")
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
        evaluate_path(tmp_path, data="digits")
