"""Records of benchmarks: their origin, and what they keep of run folders; networks and pictures that scripts make."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import coherence_record
import demo_record
from cli.test_examples import parse, words_of
from figures import records
from hdlif.report import provenance
from hdlif.report.provenance import NOT_RECORDED
from recorded import write_record
from shared_statistics import with_statistics
from small_recipes import built, recipe
from terminal_cast import COMMANDS


def test_records_state_command_commit_hardware_versions_and_seeds(tmp_path: Path) -> None:
    new = json.loads(write_record(tmp_path / "speed.json", {"ms": 2}, seeds=[42]).read_text())
    assert (new["ms"], new["seeds"]) == (2, [42])
    for name, record in {"new": new, **{name: records.record(name) for name in records.names()}}.items():
        stated = {key: str(record.get(key) or "") for key in ("command", "commit", "hardware", "versions", "seeds")}
        assert [key for key, text in stated.items() if not text or NOT_RECORDED in text] == [], name
        assert record.get("remeasures") in (None, *records.names()), name


def test_every_script_can_be_imported() -> None:
    for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"):
        importlib.import_module(path.stem)


def test_record_of_another_machine_gets_a_second_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "speed.json"
    machines = [{"cpu": "AMD EPYC", "instruction_sets": ["avx2"]}, {"cpu": "Neoverse-N1", "instruction_sets": []}]
    for ms, machine in enumerate(machines, start=1):
        monkeypatch.setattr(provenance, "hardware", lambda machine=machine: machine)
        written = write_record(path, {"ms": ms}, seeds=None)
    assert json.loads(path.read_text())["ms"] == 1
    assert written.name == "speed_neoverse_n1.json"
    assert json.loads(written.read_text())["remeasures"] == "speed"
    assert write_record(path, {"ms": 3}, seeds=None) == written
    assert write_record(written, {"ms": 4}, seeds=None) == written
    assert json.loads(written.read_text())["remeasures"] == "speed"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any], Path], dict[str, Any]]:
    """Make a record by a script of benchmarks/."""

    def made(main: Callable[[], Any], source: Path) -> dict[str, Any]:
        out = tmp_path / "record.json"
        monkeypatch.setattr(sys, "argv", ["a script", str(source), "--out", str(out)])
        main()
        record: dict[str, Any] = json.loads(out.read_text())
        return record

    return made


def test_record_of_coherence_keeps_every_neuron_layer_and_the_first_synapse(recorded: Any, tmp_path: Path) -> None:
    shares = dict.fromkeys(coherence_record.SHARES, 0.5)

    def layer(name: str, kind: str, **more: float) -> dict[str, object]:
        return {"name": name, "kind": kind, **shares, **more, "per_step": [{"cosine": 0.25}, {"cosine": 1.0}]}

    layers = [layer("act1", "neuron", cosine=0.75), layer("act1", "parameters", norm_ratio=1.5)]
    layers.append(layer("conv1", "synapse", norm_ratio=1.25))
    end = {"layers": [layer("stem", "synapse", norm_ratio=0.9), layer("conv1", "synapse")], "firing_rate": 0.3}
    end |= {"cosine": 0.99, "norm_ratio": 0.97, "plans": [{"cosine": 0.8}, {"cosine": 0.9}]}
    rules = {"sltt": {"local": {"layers": layers, "whole": shares}, "end_to_end": end}}
    entry = {"target": "runs/mine/epoch_2.safetensors", "trained": True, "neuron": "hdlif", "loss": "per_step"}
    source = tmp_path / "coherence.json"
    source.write_text(json.dumps({"networks": [{**entry, "time_steps": 2, "images": 8, "rules": rules}]}))
    (network,) = recorded(coherence_record.main, source)["networks"]
    kept = network["rules"]["sltt"]
    assert network["target"] == "mine/epoch_2"
    assert [(one["name"], one["cosine"], one["cosines"]) for one in kept["layers"]] == [("act1", 0.75, [0.25, 1.0])]
    assert kept["layers"][0]["parameters"]["norm_ratio"] == 1.5
    assert (kept["first_layer"]["name"], kept["first_layer"]["norm_ratio"], kept["draws"]) == ("stem", 0.9, [0.8, 0.9])
    assert [one["name"] for one in kept["synapses"]["end_to_end"]] == ["stem", "conv1"]
    assert kept["synapses"]["local"] == [{"name": "conv1", "cosine": 0.5, "norm_ratio": 1.25}]


def test_record_of_a_demo_has_validation_by_epoch_and_densities(recorded: Any, tmp_path: Path) -> None:
    layers = [
        {"name": "stem.conv", "kind": "conv2d", "stored_mb": 9.0, "density": 1.0},
        {"name": "act", "kind": "HDLIF", "stored_mb": 9.0, "density": 0.25},
        {"name": "conv", "kind": "conv2d", "stored_mb": 0.5, "density": 0.25},
        {"name": "conv2", "kind": "conv2d", "stored_mb": 0.25, "density": 0.5},
    ]
    network = dict.fromkeys(demo_record.KEPT, 0.5) | {"name": "lif", "layers": layers, "neurons": [{"name": "act"}]}
    summary = {"networks": [network], "artefact": {"path": "somewhere", "bytes": 3}, "data": "fashion_mnist"}
    summary |= {"seed": 42, "versions": {"hdlif_commit": "abc"}, "hardware": {"cpu": "one of theirs"}}
    (tmp_path / "lif").mkdir()
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    events = [{"event": "train", "accuracy": 0.1}, *({"event": "validation", "accuracy": a} for a in (0.5, 0.75))]
    (tmp_path / "lif" / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    record = recorded(demo_record.main, tmp_path)
    (kept,) = record["networks"]
    assert (kept["validation_by_epoch"], kept["densities"], kept["body_mb"]) == ([0.5, 0.75], {"act": 0.25}, 0.75)
    assert record["artefact"] == {"bytes": 3}
    said = [record[key] for key in ("command", "commit", "hardware", "seeds")]
    assert said == ["hdlif demo --data fashion_mnist --data-root DIR", "abc", {"cpu": "one of theirs"}, [42]]


def test_weights_stay_and_statistics_are_shared_or_per_step() -> None:
    network = built("model.blocks=[1]")
    for per_step in (True, False):
        made = dict(with_statistics(recipe("model.blocks=[1]"), network, per_step=per_step).state_dict())
        statistics = {name: value for name, value in made.items() if name.endswith("running_mean")}
        # The stem's are one for all steps of a still image.
        assert {value.ndim for value in statistics.values()} == ({1, 2} if per_step else {1})
        assert all(torch.equal(made[name], weight) for name, weight in network.named_parameters())


PICTURE = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"


def test_the_commands_are_understood_and_drawn() -> None:
    drawn = [text.text for text in ElementTree.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text")]
    for _, command in COMMANDS:
        for words in words_of(command):
            parse(words)
        assert command in drawn
