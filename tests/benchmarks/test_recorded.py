"""Every record says where it comes from."""

import json
from pathlib import Path

import pytest

import recorded
from figures import records
from hdlif.report import provenance
from recorded import write_record


@pytest.mark.parametrize("name", records.names())
def test_record_states_command_commit_hardware_versions_and_seeds(name: str) -> None:
    record = records.record(name)
    assert [key for key in ("command", "commit", "hardware", "versions", "seeds") if not record.get(key)] == []
    other = record.get("remeasures")
    assert other is None or other in records.names()


def test_new_record_states_all_of_it(tmp_path: Path) -> None:
    path = write_record(tmp_path / "speed.json", {"ms": 2}, seeds=[42])
    record = json.loads(path.read_text())
    assert record["ms"] == 2
    assert record["seeds"] == [42]
    assert {"command", "commit", "hardware", "versions"} < set(record)


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
    assert recorded.write_record(written, {"ms": 4}, seeds=None) == written
    assert json.loads(written.read_text())["remeasures"] == "speed"
