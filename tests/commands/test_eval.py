"""`hdlif eval`: a network and the data set that it is asked about."""

from dataclasses import replace
from pathlib import Path

import pytest

from hdlif import builders
from hdlif.commands import eval as module
from hdlif.commands.eval import evaluate_path
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
