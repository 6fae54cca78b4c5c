"""What the records of a demo and of confusions keep of run folders."""

import json
import sys
from pathlib import Path

import pytest

import confusions
import demo_record


def test_record_of_a_demo_has_validation_by_epoch_and_densities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [
        {"name": "stem.conv", "kind": "conv2d", "stored_mb": 9.0, "density": 1.0},
        {"name": "act", "kind": "HDLIF", "stored_mb": 9.0, "density": 0.25},
        {"name": "conv", "kind": "conv2d", "stored_mb": 0.5, "density": 0.25},
        {"name": "conv2", "kind": "conv2d", "stored_mb": 0.25, "density": 0.5},
    ]
    network = dict.fromkeys(demo_record.KEPT, 0.5) | {"name": "lif", "layers": layers, "neurons": [{"name": "act"}]}
    summary = {
        "networks": [network],
        "artefact": {"path": "somewhere", "bytes": 3},
        "data": "fashion_mnist",
        "seed": 42,
        "versions": {"hdlif_commit": "abc"},
        "hardware": {"cpu": "one of theirs"},
    }
    (tmp_path / "lif").mkdir()
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    events = [{"event": "train", "accuracy": 0.1}, *({"event": "validation", "accuracy": a} for a in (0.5, 0.75))]
    (tmp_path / "lif" / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    out = tmp_path / "record.json"
    monkeypatch.setattr(sys, "argv", ["demo_record.py", str(tmp_path), "--out", str(out)])
    demo_record.main()
    record = json.loads(out.read_text())
    (kept,) = record["networks"]
    assert kept["validation_by_epoch"] == [0.5, 0.75]
    assert kept["densities"] == {"act": 0.25}
    assert kept["body_mb"] == 0.75
    assert record["artefact"] == {"bytes": 3}
    said = [record[key] for key in ("command", "commit", "hardware", "seeds")]
    assert said == ["hdlif demo --data fashion_mnist --data-root DIR", "abc", {"cpu": "one of theirs"}, [42]]


def test_record_of_confusions_names_the_run(tmp_path: Path) -> None:
    summary = {"recipe": {"name": "hapt_hdlif", "training": {"epochs": 5}}, "seed": 43, "accuracy": 0.75}
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"versions": {}, "hardware": {}}))
    (tmp_path / "confusion.json").write_text(json.dumps({"labels": ["a", "b"], "counts": [[3, 0], [1, 0]]}))
    kept = confusions.of_run(tmp_path)
    assert (kept["recipe"], kept["seed"], kept["epochs"], kept["counts"]) == ("hapt_hdlif", 43, 5, [[3, 0], [1, 0]])
