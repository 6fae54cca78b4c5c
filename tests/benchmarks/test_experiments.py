"""Experiments: recorded one by one, resumed where they were interrupted, and never trained twice."""

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import experiments
from hdlif.recipe import load_recipe
from hdlif.recipe.builders.twin import twin_of

PROGRAM = """
import json, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
out = Path(words[words.index("--out") + 1])
out.mkdir(exist_ok=True)
(out / "words.json").write_text(json.dumps(words))
(out / "last.safetensors").touch()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
if "slow" in words and "--resume" not in words:
    time.sleep(60)
if "broken" in words:
    sys.exit("no such recipe")
summary = {"accuracy": 0.5, "layers": [], "versions": {"hdlif_commit": "abc"}, "hardware": {"cores": 2}}
(out / "summary.json").write_text(json.dumps(summary))
"""
"""In place of `hdlif`: it takes the same words, and writes what the runner reads."""


@pytest.fixture
def runner(tmp_path: Path) -> experiments.Runner:
    return experiments.Runner(tmp_path / "runs", tmp_path / "records", tmp_path, (sys.executable, "-c", PROGRAM))


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, experiments.Job]:
    arms = [
        {"arm": "online", "recipe": "digits_hdlif", "set": ["training.epochs=2"], "seeds": [1, 2]},
        {"arm": "long", "recipe": "slow", "seeds": [1]},
        {"arm": "wrong", "recipe": "broken", "seeds": [1]},
        {
            "arm": "search",
            "recipe": "digits_hdlif",
            "set": ["training.epochs=1"],
            "trials": [{0.1: "training.learning_rate=0.1", 0.3: "training.learning_rate=0.3"}],
            "seeds": [0],
        },
    ]
    (tmp_path / "jobs.yaml").write_text(json.dumps(arms))
    found = experiments.load_jobs(tmp_path / "jobs.yaml", [])
    assert experiments.load_jobs(tmp_path / "jobs.yaml", ["online"]) == found[:2]
    with pytest.raises(SystemExit, match="no arm unknown"):
        experiments.load_jobs(tmp_path / "jobs.yaml", ["unknown"])
    return {job.name: job for job in found}


def test_a_job_is_trained_once_and_recorded_with_its_command(
    runner: experiments.Runner, jobs: dict[str, experiments.Job], tmp_path: Path
) -> None:
    assert list(jobs) == ["online_1", "online_2", "long_1", "wrong_1", "search_0.1_0", "search_0.3_0"]
    assert "training.epochs=1 --set training.learning_rate=0.3 --set seed=0" in " ".join(jobs["search_0.3_0"].command())
    assert runner(jobs["online_2"]) == "recorded"
    words = json.loads((tmp_path / "runs/online_2/words.json").read_text())
    stated = ["train", "digits_hdlif", "--set", "training.epochs=2", "--set", "seed=2"]
    assert words[: len(stated)] == stated
    assert words[-3:] == ["--out", str(tmp_path / "runs/online_2"), "--overwrite"]
    text = (tmp_path / "records/online_2.json").read_text()
    record = json.loads(text)
    assert (record["arm"], record["seeds"], record["commit"], record["accuracy"]) == ("online", [2], "abc", 0.5)
    assert record["command"].startswith("hdlif train digits_hdlif --set training.epochs=2 --set seed=2 ")
    assert str(tmp_path) not in text
    # The record is enough.
    (tmp_path / "runs/online_2/summary.json").unlink()
    assert runner(jobs["online_2"]) == "recorded"
    (tmp_path / "records/search_0.3_0.json").write_text('{"validation_score": 0.75}')
    assert experiments.trial_scores(list(jobs.values()), runner) == {"search": {"0.3": 0.75}}
    assert runner(jobs["wrong_1"]).startswith("failed: see ")
    assert "no such recipe" in (tmp_path / "runs/wrong_1.log").read_text()


def test_an_interrupted_job_is_resumed_and_no_two_runners_train_one(
    runner: experiments.Runner, jobs: dict[str, experiments.Job], tmp_path: Path
) -> None:
    states: list[str] = []
    thread = threading.Thread(target=lambda: states.append(runner(jobs["long_1"])))
    thread.start()
    while not (tmp_path / "runs/long_1/last.safetensors").exists():
        time.sleep(0.01)
    other = experiments.Runner(runner.runs, runner.records, program=runner.program)
    assert other(jobs["long_1"]) == "running elsewhere"
    runner.stop.set()
    thread.join()
    assert states == ["interrupted"]
    assert not list(tmp_path.glob("records/*"))
    assert runner(jobs["online_1"]) == "interrupted"
    assert other(jobs["long_1"]) == "recorded"
    assert json.loads((tmp_path / "runs/long_1/words.json").read_text())[-1] == "--resume"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_running_training_and_starts_no_other(
    number: signal.Signals,
    jobs: dict[str, experiments.Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(experiments, "Runner", partial(experiments.Runner, program=(sys.executable, "-c", PROGRAM)))
    words = ["--file", tmp_path / "jobs.yaml", "--runs", tmp_path / "runs", "--records", tmp_path / "records"]
    monkeypatch.setattr(sys, "argv", ["experiments", "long", "wrong", *map(str, words)])

    def interrupt() -> None:
        while not (tmp_path / "runs/long_1/last.safetensors").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        experiments.main()
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        thread.join()
    assert [line.split(" after ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "long_1: interrupted",
        "wrong_1: interrupted",
    ]
    assert not (tmp_path / "runs/wrong_1").exists()


def test_the_shipped_experiments_are_recipes_with_what_they_override() -> None:
    for job in experiments.load_jobs(experiments.HERE / "experiments.yaml", []):
        recipe, *words = job.arguments
        given = list(zip(words[::2], words[1::2], strict=True))
        loaded = load_recipe(recipe, [word for option, word in given if option == "--set"])
        for option, word in given:
            assert option == "--set" or (option, word) == ("--twin", "ordinary")
            loaded = twin_of(loaded, "ordinary") if option == "--twin" else loaded
        assert loaded.training.epochs > 0
