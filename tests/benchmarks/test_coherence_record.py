"""What the record of a coherence run keeps."""

import json
import sys
from pathlib import Path

import pytest

import coherence_record

SHARES = dict.fromkeys(coherence_record.SHARES, 0.5)


def layer(name: str, kind: str, **more: float) -> dict[str, object]:
    return {"name": name, "kind": kind, **SHARES, **more, "per_step": [{"cosine": 0.25}, {"cosine": 1.0}]}


def test_record_keeps_every_neuron_layer_and_the_first_synapse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [layer("act1", "neuron", cosine=0.75), layer("act1", "parameters", norm_ratio=1.5)]
    layers.append(layer("conv1", "synapse", norm_ratio=1.25))
    end = {"layers": [layer("stem", "synapse", norm_ratio=0.9), layer("conv1", "synapse")], "firing_rate": 0.3}
    rule = {
        "local": {"layers": layers, "whole": SHARES},
        "end_to_end": {**end, "cosine": 0.99, "norm_ratio": 0.97, "plans": [{"cosine": 0.8}, {"cosine": 0.9}]},
    }
    entry = {"target": "runs/mine/epoch_2.safetensors", "trained": True, "neuron": "hdlif", "loss": "per_step"}
    result, out = tmp_path / "coherence.json", tmp_path / "record.json"
    result.write_text(json.dumps({"networks": [{**entry, "time_steps": 2, "images": 8, "rules": {"sltt": rule}}]}))
    monkeypatch.setattr(sys, "argv", ["coherence_record.py", str(result), "--out", str(out)])
    coherence_record.main()
    (network,) = json.loads(out.read_text())["networks"]
    kept = network["rules"]["sltt"]
    assert network["target"] == "mine/epoch_2"
    assert [(one["name"], one["cosine"], one["cosines"]) for one in kept["layers"]] == [("act1", 0.75, [0.25, 1.0])]
    assert kept["layers"][0]["parameters"]["norm_ratio"] == 1.5
    assert kept["first_layer"]["name"] == "stem"
    assert kept["first_layer"]["norm_ratio"] == 0.9
    assert kept["draws"] == [0.8, 0.9]
    assert [one["name"] for one in kept["synapses"]["end_to_end"]] == ["stem", "conv1"]
    assert kept["synapses"]["local"] == [{"name": "conv1", "cosine": 0.5, "norm_ratio": 1.25}]
