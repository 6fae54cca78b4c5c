"""Every record says where it comes from."""

import json
from pathlib import Path

import pytest

from figures import records
from hdlif.report import provenance
from recorded import write_record


def test_records_state_command_commit_hardware_versions_and_seeds(tmp_path: Path) -> None:
    new = json.loads(write_record(tmp_path / "speed.json", {"ms": 2}, seeds=[42]).read_text())
    assert (new["ms"], new["seeds"]) == (2, [42])
    for name, record in {"new": new, **{name: records.record(name) for name in records.names()}}.items():
        assert [key for key in ("command", "commit", "hardware", "versions", "seeds") if not record.get(key)] == [], (
            name
        )
        assert record.get("remeasures") in (None, *records.names()), name


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
