"""The comparison of networks that find boxes: what its record has, of two small networks."""

import json
import sys
from pathlib import Path

import pytest

import bench_places
from box_files import SMALL, write_voc
from trainings import train


def test_networks_are_measured_on_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_voc(tmp_path / "data", 24)
    results = {}
    for name, more in (("ours", []), ("one step", ["time_steps=1"])):
        out = tmp_path / name
        overrides = [*SMALL, *more]
        results[name] = train("bccd_hdlif", data=str(root), overrides=overrides, out=out, memory_repeats=0)
    runs = [f"{name}={tmp_path / name}" for name in results]
    record = tmp_path / "record.json"
    arguments = ["bench_places", *runs, "--resamples", "20", "--repeats", "1", "--out", str(record)]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_places.main()
    found = json.loads(record.read_text())["networks"]
    for name, result in results.items():
        one = found[name]
        assert one["metrics"] == pytest.approx(result.measured, abs=1e-3)
        low, high = one["interval"]
        assert low <= one["metrics"]["ap50"] <= high
        assert one["file_bytes"] > 1000
        assert one["ms"]["1"]["median"] > 0
    assert found["ours"]["difference_interval"] == [0, 0]
    assert found["one step"]["time_steps"] == 1
