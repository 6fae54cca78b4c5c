"""Threads are chosen by timing updates; a fake clock makes each number of threads as fast as a test says."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hdlif.cli.train import Run, _call
from hdlif.learning import StochasticStep
from hdlif.training import checkpoint, threads
from hdlif.training.threads import candidates, measured, rounds_for, using_threads
from training.tiny import BATCHES, EPOCHS, At, model_bytes, train


class Machine:
    """A clock that moves on by what an update takes with the threads that PyTorch has."""

    def __init__(self, seconds: Callable[[int, int], float]) -> None:
        self.now, self.seconds = 0.0, seconds
        self.ran: list[tuple[int, int]] = []

    def clock(self) -> float:
        return self.now

    def update(self, number: int) -> None:
        count = torch.get_num_threads()
        self.ran.append((number, count))
        self.now += self.seconds(number, count)


def choose(seconds: Callable[[int, int], float], counts: list[int], rounds: int = 4) -> tuple[Any, Machine]:
    machine = Machine(seconds)
    return measured(machine.update, counts, rounds=rounds, clock=machine.clock), machine


def test_numbers_are_powers_of_two_and_all_cores_and_rounds_a_small_part_of_the_training() -> None:
    assert [candidates(cores) for cores in (1, 2, 3, 12)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8, 12]]
    given = (10, 2), (11, 2), (39, 2), (40, 2), (200, 2), (10**6, 2), (100, 8)
    assert [rounds_for(updates, counts) for updates, counts in given] == [None, 0, 0, 3, 7, 24, 0]


def test_the_fastest_number_is_chosen_and_torch_keeps_its_own() -> None:
    before = torch.get_num_threads()
    for best in (1, 2, 4):
        found, _ = choose(lambda number, count, best=best: 1.0 + (number % 3) + 0.1 * abs(count - best), [1, 2, 4])
        assert (found.count, found.chosen_by) == (best, "measured")
    assert torch.get_num_threads() == before
    # Of numbers that tie, the smallest.
    assert choose(lambda _, count: 1.0 - 0.005 * count, [1, 2])[0].count == 1
    # One update in which two threads waited for each other weighs less than six in which they gained.
    slow_once = choose(lambda number, count: 2.5 if (number, count) == (3, 2) else 1.0 / count, [1, 2], rounds=7)
    assert slow_once[0].count == 2
    # A short training is decided by one update of each number.
    found, machine = choose(lambda _, count: 3.0 - count, [1, 2], rounds=0)
    assert (found.count, found.seconds_per_update) == (2, {1: 2.0, 2: 1.0})
    assert [number for number, _ in machine.ran] == [0, 0, 0]


def test_a_hopeless_number_is_tried_once_and_measuring_ends_when_its_time_is_over() -> None:
    """On a busy machine an update with threads that wait for each other may take a hundred times as long."""
    found, machine = choose(lambda _, count: 100.0 if count == 2 else 1.0, [1, 2])
    assert (found.count, found.seconds_per_update) == (1, {1: 1.0, 2: 100.0})
    assert [number for number, count in machine.ran if count == 2] == [0]
    assert len(machine.ran) == 3, "of one number that is left nothing is to be timed"
    _, machine = choose(lambda _, count: threads.BUDGET_SECONDS, [1, 2], rounds=8)
    assert {number for number, _ in machine.ran} == {0, 1}


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let every choice fall on one thread, where PyTorch has two; the list gets the rounds of each choice."""
    found: list[int] = []

    def chosen(update: Callable[[int], None], counts: list[int], *, rounds: int) -> threads.Threads:
        assert counts == [1, 2]
        with using_threads(1):
            update(0)
            update(1)
        found.append(rounds)
        return threads.Threads(1, "measured", {1: 1.0, 2: 2.0})

    monkeypatch.setattr("hdlif.training.loop.measured", chosen)
    monkeypatch.setattr(threads, "WORTH_MEASURING", 5)
    with using_threads(2):
        yield found


def test_the_choice_changes_nothing_but_the_threads_which_are_given_back(
    straight: Path, tmp_path: Path, choices: list[int]
) -> None:
    """Updates of the copy leave network, data and draws as they were."""
    assert train(tmp_path / "default", epochs=1).threads == threads.Threads(2, "default")
    assert train(tmp_path / "given", threads=1, epochs=1).threads.chosen_by == "given"
    assert choices == []
    seen: list[int] = []
    # Two updates of the copy come first.
    rule = At(3, lambda: seen.append(torch.get_num_threads()), StochasticStep())
    fitted = train(tmp_path / "chosen", rule=rule, cores=2)
    assert (choices, seen, torch.get_num_threads()) == ([3], [1], 2)
    assert (fitted.threads.count, fitted.threads.chosen_by) == (1, "measured")
    assert model_bytes(tmp_path / "chosen") == model_bytes(straight)
    assert '"event": "threads"' in (tmp_path / "chosen/metrics.jsonl").read_text()
    assert checkpoint.load(tmp_path / "chosen/last.safetensors")[1]["threads"] == 1


def test_a_resumed_training_has_the_threads_that_it_began_with(tmp_path: Path, choices: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, cores=2, rule=At(4, lambda: os.kill(os.getpid(), signal.SIGINT), StochasticStep()))
    fitted = train(tmp_path, cores=2, resume=True)
    assert (fitted.threads.count, fitted.threads.chosen_by) == (1, "checkpoint")
    assert len(choices) == 1


def test_a_training_too_short_to_measure_keeps_pytorchs_threads(tmp_path: Path) -> None:
    assert EPOCHS * BATCHES > 2 * BATCHES == threads.TOO_SHORT
    assert train(tmp_path, cores=2, epochs=2).threads == threads.Threads(1, "default")


def test_a_machine_that_others_keep_busy_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for load, count, warns in ((2.0, 2, True), (1.0, 2, False), (2.0, 1, False)):
        monkeypatch.setattr(os, "getloadavg", partial(tuple, [load, 0.0, 0.0]))
        with using_threads(count):
            said = threads.warning_of_others()
        assert (said is not None) == warns
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    told: list[str] = []
    with using_threads(2):
        for given in (None, 1):
            _call(lambda **_: Run(Path(), None), {**UNSEEDED, "threads": given, "say": told.append})  # type: ignore[arg-type]
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert threads.warning_of_others() is None
    assert len(told) == 1
    assert "2.0 of 4 cores busy" in told[0]


UNSEEDED = {"seeds": None, "dry_run": False, "recipe": "digits_hdlif", "data": None, "resume": False}
