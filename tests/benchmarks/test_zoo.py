"""The tool that adds networks to the zoo, and removes them."""

import json
import sys
from pathlib import Path

import pytest

import hdlif
import zoo as tool
from box_files import SMALL as SMALL_BOXES
from box_files import write_voc
from hdlif import zoo
from hdlif.report.tables import wilson_interval
from picture_folders import write_pictures
from trainings import train

SMALL = ("model.width=4", "data.train=128", "model.blocks=[1]", "training.epochs=1")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["zoo.py", "--zoo", str(tmp_path / "zoo"), *map(str, arguments)])
        tool.main()

    monkeypatch.setattr(tool, "ROUNDS", 1)
    return run


def test_a_run_is_added_and_removed(tmp_path: Path, call, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    run = hdlif.train("digits_hdlif", overrides=SMALL, out=tmp_path / "run")
    failure = "Digits that are not centred."
    for name in ("one", "two"):
        call("add", run.folder, "--name", name, "--data-licence", "CC BY 4.0", "--failure", failure)
    source, networks = str(tmp_path / "zoo"), zoo.manifest(str(tmp_path / "zoo"))
    assert sorted(networks) == ["one", "two"]
    model, weights, card = zoo.get("one", source=source, to=tmp_path / "to")
    figures = json.loads(card.read_text())
    assert figures["value"] == networks["one"]["value"] == run.accuracy == hdlif.evaluate(weights).accuracy
    assert figures["metrics_of_model_file"]["accuracy"] == hdlif.evaluate(model, data="digits").accuracy
    assert figures["interval"] == wilson_interval(run.accuracy, 360)
    command = "hdlif train digits_hdlif " + " ".join(
        f"--set {change}" for change in ("data.train=128", "model.blocks=[1]", "model.width=4", "training.epochs=1")
    )
    assert (figures["training"]["command"], figures["known_failures"]) == (command, [failure])
    assert figures["energy_uj"]["all_operations"] > figures["energy_uj"]["sops_only"] > 0
    call("remove", "one")
    assert sorted(path.name for path in (tmp_path / "zoo").iterdir()) == [
        "manifest.json",
        *sorted(f"two{suffix}" for suffix in zoo.SUFFIXES),
    ]
    with pytest.raises(SystemExit):
        call("remove", "one")
    assert "the zoo has two" in capsys.readouterr().err


def test_weights_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "secret" / "pets", 12)
    start = hdlif.train("digits_hdlif", overrides=SMALL, out=tmp_path / "secret" / "run")
    run = hdlif.train(data=data, start=start, overrides=["data.batch_size=8"], out=tmp_path / "tuned")
    tool.write_weights(run.folder, tmp_path / "pets.weights.safetensors")
    assert b"secret" in (run.folder / "model.safetensors").read_bytes()
    assert b"secret" not in (tmp_path / "pets.weights.safetensors").read_bytes()
    assert hdlif.evaluate(tmp_path / "pets.weights.safetensors", data_root=data.parent).accuracy == run.accuracy


def test_other_metrics_have_an_interval_of_resamples(
    tmp_path: Path,
    call,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = write_voc(tmp_path / "cells", 24)
    train("bccd_hdlif", data=str(root), overrides=SMALL_BOXES, out=tmp_path / "run", memory_repeats=0)
    monkeypatch.setattr(tool, "RESAMPLES", 20)
    arguments = ("add", tmp_path / "run", "--name", "cells", "--data-licence", "none", "--data-root", tmp_path)
    call(*arguments)
    figures = json.loads((tmp_path / "zoo" / "cells.json").read_text())
    assert (figures["data"], figures["metric"], figures["interval_method"]) == (
        "cells",
        "ap50",
        "bootstrap, 20 resamples",
    )
    assert figures["interval"][0] <= figures["metrics_of_model_file"]["ap50"] <= figures["interval"][1]
    assert "found" not in figures["training"]["command"]
    assert str(tmp_path) not in json.dumps(figures)
