"""Seconds to an accuracy: a training that is stopped goes on to the same numbers, and the table says who arrived."""

from pathlib import Path

import pytest
import torch

from bench_time_to_accuracy import Job, Settings, Trained, table, updates_to
from hdlif.data import ImageSets, synthetic
from single_thread import one_thread  # noqa: F401 - an autouse fixture

ROWS = ["HD-LIF random step", "naive random step"]
SETTINGS = Settings(1, 2, 3, 8, 64, 16, 1, ".")
CURVE = [{"updates": 10, "accuracy": 0.85}, {"updates": 20, "accuracy": 0.915}, {"updates": 30, "accuracy": 0.9}]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    def data(*_: object, **__: object) -> ImageSets:
        return synthetic(validation=16, augment=(), seed=0)

    monkeypatch.setattr("hdlif.recipe.builders.build_data", data)


@pytest.mark.parametrize("row", ROWS)
def test_a_training_that_is_stopped_goes_on_to_the_same_numbers(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(row, 42, 0.1)
    whole = Trained(job, SETTINGS)
    whole.run(tmp_path / "whole.pt")
    assert [point["updates"] for point in whole.curve] == [2, 4, 6, 8]
    stopped, accuracy = Trained(job, SETTINGS), Trained.accuracy

    def twice(self: Trained) -> float:
        if self.done > 4:
            raise KeyboardInterrupt
        return accuracy(self)

    monkeypatch.setattr(Trained, "accuracy", twice)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(tmp_path / "stopped.pt")
    monkeypatch.setattr(Trained, "accuracy", accuracy)
    again = Trained(job, SETTINGS)
    again.run(tmp_path / "stopped.pt")
    for one, other in zip(whole.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert [point["accuracy"] for point in again.curve] == [point["accuracy"] for point in whole.curve]


def test_a_threshold_is_reached_at_the_first_measurement_at_or_above_it() -> None:
    assert [updates_to(CURVE, threshold) for threshold in (0.85, 0.9, 0.92)] == [10, 20, None]


def test_seconds_are_updates_times_the_pace_and_say_how_many_seeds_arrived() -> None:
    low = [{"updates": 10, "accuracy": 0.905}]
    row = {"tuning": {"0.1": 0.8, "0.3": 0.7}, "trainings": {"42": CURVE, "43": low}, "seconds": [0.5, 0.5, 0.5]}
    line = table(["HD-LIF SLTT"], {"rows": {"HD-LIF SLTT": row}}).splitlines()[-1]
    assert "0.1  " in line
    assert "8 ± 4" in line
    assert "10 (1 of 2 seeds)" in line
    assert "not reached" in line
