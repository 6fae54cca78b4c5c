"""How many processes a training has, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hdlif.cli.ablate import ablate
from hdlif.cli.demo import demo
from hdlif.cli.seeds import train_seeds
from hdlif.cli.sweep import sweep
from hdlif.errors import RecipeError
from hdlif.recipe.runs.processes import join_slurm, joined, processes, start_others, started_by_slurm
from picture_folders import write_pictures
from training.several_ranks import NO_GPUS, free_port

PLACE = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As no launcher has started this."""
    for name in (*PLACE, "TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun has started this: four processes on each of two nodes."""
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)


def test_there_is_one_process_unless_more_are_asked_for() -> None:
    assert processes(None, None) == (1, 1)
    assert processes(3, None) == (3, 1)
    assert joined(1, 1, "32-true").world_size == 1


@pytest.mark.usefixtures("torchrun")
def test_torchrun_decides_on_the_processes_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes(None, None) == processes(4, 2) == (4, 2)
    for devices, nodes in ((2, None), (None, 1), (8, 1)):
        with pytest.raises(RecipeError, match="4 processes on each of 2 nodes"):
            processes(devices, nodes)
    # Restarts that would hang are refused.
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "0")
    assert processes(None, None) == (4, 2)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(RecipeError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        processes(None, None)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    assert processes(None, None) == (4, 2)


@pytest.mark.usefixtures("torchrun")
def test_what_trains_in_one_process_is_refused_under_torchrun(tmp_path: Path) -> None:
    for command in (
        lambda: ablate("digits", out=tmp_path),
        lambda: demo(out=tmp_path),
        lambda: sweep("digits_hdlif", space=tmp_path / "space.yaml", trials=1, study=tmp_path / "study.log"),
        lambda: train_seeds("digits_hdlif", seeds=2, out=tmp_path),
    ):
        with pytest.raises(RecipeError, match="trains one network after the other, each in one process"):
            command()
    assert list(tmp_path.iterdir()) == []


def test_devices_and_nodes_that_there_are_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="--nodes 2: MASTER_ADDR, MASTER_PORT, NODE_RANK is not set"):
        processes(None, 2)
    for name, value in zip(PLACE, ("node0", "29500", "2"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=r"NODE_RANK = 2 is not the number of one of 2 nodes"):
        processes(None, 2)
    monkeypatch.setenv("NODE_RANK", "1")
    assert processes(None, 2) == (1, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes(2, None) == (2, 1)
    with pytest.raises(RecipeError, match="3 devices are requested, but this machine has 2 GPUs"):
        processes(3, None)


def test_srun_gives_each_task_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1234567"}
    monkeypatch.setattr(os, "environ", place | {"SLURM_NODELIST": "gpu[07-08]"})
    assert processes(2, 2) == (2, 2)
    assert join_slurm(2, 2) == (3, 1)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "19567")
    with pytest.raises(RecipeError, match="srun has started 4 tasks; give srun --nodes=1 --ntasks-per-node=2"):
        join_slurm(2, 1)
    monkeypatch.setitem(os.environ, "SLURM_JOB_NAME", "interactive")
    assert not started_by_slurm()


def test_this_program_is_started_again_for_each_further_process(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[dict[str, str]] = []

    class Started:
        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            assert command[0] == sys.executable
            assert command[-len(sys.argv[1:]) :] == sys.argv[1:] or not sys.argv[1:]
            places.append(env)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(os, "environ", {"NODE_RANK": "1"})
    assert start_others(3, 6) == 0
    assert [place["LOCAL_RANK"] for place in places] == ["1", "2"]
    assert {place["MASTER_PORT"] for place in places} == {os.environ["MASTER_PORT"]}
    # One of those that were started starts none.
    monkeypatch.setattr(os, "environ", dict(places[1]))
    assert start_others(3, 6) == 2
    assert len(places) == 2


def started(folder: Path, *arguments: str, **place: object) -> subprocess.Popen[str]:
    """A short `hdlif train` whose run folder is FOLDER/run, and that stands in FOLDER."""
    folder.mkdir()
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in place.items()}
    settings |= NO_GPUS
    small = ["--set", "model.width=4", "--set", "training.epochs=1", "--set", "data.batch_size=128"]
    command = ["train", "digits_hdlif", *small, "--out", "run", "--memory-repeats", "0", "--json", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "hdlif", *command],
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.alone
@pytest.mark.slow
def test_two_nodes_started_by_hand_train_as_two_devices_and_the_first_alone_writes(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", 10)
    data = ("--data", str(tmp_path / "photos"), "--set", "data.batch_size=6", "--set", "data.size=8")
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    jobs = [
        *(started(tmp_path / f"node{n}", *data, "--nodes=2", "--devices=1", NODE_RANK=n, **place) for n in range(2)),
        started(tmp_path / "two", *data, "--devices=2"),
        started(tmp_path / "one", *data, "--devices=1"),
    ]
    try:
        said = [job.communicate(timeout=300) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0] * 4, said
    outs = [out for out, _ in said]
    assert outs.pop(1) == ""
    assert list((tmp_path / "node1").iterdir()) == []
    assert [json.loads(out)["ranks"] for out in outs] == [2, 2, 1]
    # As many ranks with the same shares: the same bytes, of the network and of what was counted on the way.
    for name in ("model.safetensors", "confusion.json"):
        assert (tmp_path / "node0/run" / name).read_bytes() == (tmp_path / "two/run" / name).read_bytes()
    assert len({(tmp_path / name / "run/data_files.json").read_text() for name in ("node0", "two", "one")}) == 1
