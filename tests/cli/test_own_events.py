"""From recordings of one's own through training to `hdlif run` on a file, and what is refused on the way."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from after_epoch import AfterEpoch
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.errors import DataError, HdlifError, InputError
from hdlif.graph.artefact import load
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from hdlif.training.tasks import Evaluation
from hostile import one_printable_line
from recorded_events import MOVES, aedat2_bytes, fields, moving, recording, write_moves
from trainings import train

FAST = ["model.width=4", "data.batch_size=8", "time_steps=3", "training.epochs=2", "data.augment=[]"]


def trained(data: Path, out: Path, *overrides: str, **options: Any) -> None:
    train("digits_events_hdlif", data=str(data), overrides=[*FAST, *overrides], out=out, memory_repeats=0, **options)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    trained(
        write_moves(root / "data", side=12), root / "run", "data.size=8", "data.frames=by_time", "data.sensor=[12, 12]"
    )
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root / "run"


def test_run_gives_what_training_made_of_a_recording_to_the_bit(run_folder: Path) -> None:
    path, data = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "data"
    recipe = load_trained(run_folder).recipe
    record = load(path).input
    assert record == builders.input_record(recipe)
    assert (record.kind, record.shape, record.sensor, record.binning, record.resize) == (
        *("events", (2, 8, 8), (12, 12), "by_time", "pool"),
    )
    by_logits = {tuple(one["logits"]): Path(one["input"]).parent.name for one in run(path, [data]).as_dict()["inputs"]}
    session, seen = Session(path), 0
    for part in builders.build_data(recipe).parts:
        for index in range(len(part)):
            x, label = part.sequence(torch.tensor([index]))
            logits = tuple(session.run(x.contiguous().numpy()).mean(axis=0)[0].tolist())
            assert by_logits[logits] == MOVES[int(label)]
            seen += 1
    assert seen == 20


def test_run_needs_no_torch_for_a_recording(run_folder: Path) -> None:
    blocked = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'hdlif'; from hdlif.cli import main; main()"
    files = ["net.hdlif.safetensors", "data/left/000.npy", "data/left/001.npz"]
    command = [sys.executable, "-c", blocked, "run", *files, "--json"]
    child = subprocess.run(command, cwd=run_folder.parent, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    known = run(run_folder.parent / files[0], [run_folder.parent / file for file in files[1:]]).as_dict()["inputs"]
    assert [one["logits"] for one in json.loads(child.stdout)["inputs"]] == [one["logits"] for one in known]


def test_run_still_takes_counts_and_refuses_other_recordings(run_folder: Path, tmp_path: Path) -> None:
    path = run_folder.parent / "net.hdlif.safetensors"
    np.save(tmp_path / "counts.npy", np.ones((3, 2, 8, 8), np.float32))
    assert len(run(path, [tmp_path / "counts.npy"]).as_dict()["inputs"]) == 1
    np.save(tmp_path / "far.npy", fields(recording(9, side=30)))
    (tmp_path / "other.aedat").write_bytes(aedat2_bytes(recording(9, side=30)))
    np.save(tmp_path / "empty.npy", fields(recording(0, side=30)))
    for name, words in (
        ("far.npy", "the sensor has 0..11); the network takes recordings of a sensor of 12x12"),
        ("other.aedat", "it is of a sensor of 128x128); the network takes"),
        ("empty.npy", "it holds no event"),
        ("none.npz", "none.npz: there is no such file; check the path"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            run(path, [tmp_path / name])


def test_every_verb_takes_the_run_and_the_data(run_folder: Path) -> None:
    data, path = str(run_folder.parent / "data"), run_folder.parent / "net.hdlif.safetensors"
    own = evaluate(run_folder).as_dict(confusion=True)
    assert (own["n"], own["labels"]) == (4, list(MOVES))
    assert evaluate(run_folder, data=data).accuracy == own["accuracy"]
    assert evaluate(path, data=data).accuracy == own["accuracy"]


def test_resume_is_exact_and_frames_are_made_once(tmp_path: Path) -> None:
    path = write_moves(tmp_path / "data")

    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    trained(path, tmp_path / "whole")
    (cache,) = (path / ".hdlif_frames").iterdir()
    made = cache.stat().st_mtime_ns
    with pytest.raises(StoppedError):
        trained(path, tmp_path / "stopped", callbacks=[AfterEpoch(stop)])
    first = path / "left" / "000.npy"
    kept = first.read_bytes()
    np.save(first, fields(moving("left", 77)))
    with pytest.raises(DataError, match=r"not as it was when the training in .* began: 1 changed \(left/000.npy\)"):
        trained(path, tmp_path / "stopped", resume=True)
    with pytest.raises(DataError, match=r"than the network was trained on: 1 changed"):
        evaluate(tmp_path / "whole")
    first.write_bytes(kept)
    trained(path, tmp_path / "stopped", resume=True, workers=2)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    assert [one.stat().st_mtime_ns for one in (path / ".hdlif_frames").iterdir()] == [made]


def spoiled(root: Path, name: str) -> Path:
    """A folder of moves with something wrong in it."""
    write_moves(root, 6)
    first = root / "left" / "000.npy"
    if name == "one class":
        for file in (root / "right").iterdir():
            file.unlink()
        (root / "right").rmdir()
    elif name == "an empty class":
        (root / "up").mkdir()
    elif name == "no recordings":
        for file in root.rglob("*.np?"):
            file.rename(file.with_suffix(".txt"))
    elif name == "cut short":
        first.write_bytes(first.read_bytes()[:-5])
    elif name == "no events":
        np.save(first, fields(recording(0, side=8)))
    elif name == "negative times":
        events = fields(moving("left", 0))
        events["t"] -= 5000
        np.save(first, events)
    elif name == "two sensors":
        (root / "left" / "a.aedat").write_bytes(aedat2_bytes(recording(9, side=8)))
        (root / "left" / "b.raw").write_bytes(b"% evt 2.0\n% geometry 9x8\n% end\n" + bytes([0, 0, 0, 128, 0, 0, 0, 0]))
    return root


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("one class", "", 'has one class, "left"; there must be two or more'),
        ("an empty class", "", "no recording lies in up; add some"),
        ("no recordings", "", "no recording lies in left, right; add some"),
        ("cut short", "", r"1 of 12 files cannot be read as recordings: left/000.npy \(its shape takes"),
        ("no events", "", r"left/000.npy \(it holds no event\); remove them, or leave them out: --set data.unread"),
        ("negative times", "", r"left/000.npy \(event 0 \(from 0\) has the time -.*; times are at least 0\)"),
        ("two sensors", "", r"left/a.aedat is of a sensor of 128x128 and left/b.raw of 8x9"),
        ("nothing", "data.sensor=[8, 7]", r"an event has x in .*7; the sensor has 0..6\)"),
        ("nothing", "data.sensor=[8]", r"sensor = \[8\] is refused; give \[height, width\]"),
        ("nothing", "data.sensor=[8, 0]", r"sensor = \[8, 0\] is refused"),
        ("nothing", "data.resize=nearest", 'data.resize = "nearest" is unknown; choose one of bilinear, pool'),
        ("nothing", "data.frames=rows", 'data.frames = "rows" makes frames of images, and events gives events'),
        ("nothing", "data.augment=[autoaugment_cifar10]", "takes 8-bit pixels, and events gives counts"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(tmp_path: Path, name: str, override: str, words: str) -> None:
    data = spoiled(tmp_path / "data", name)
    with pytest.raises(HdlifError, match=words) as refused:
        trained(data, tmp_path / "run", *([override] if override else []))
    one_printable_line(refused.value)
    assert not (tmp_path / "run").exists()


def test_unreadable_recordings_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    data = spoiled(tmp_path / "data", "cut short")
    result = inspect(str(data), overrides=["data.sensor=[9, 10]"], size=5, out=tmp_path / "sheet.png")
    assert json.loads(json.dumps(result)) == result
    assert [one["file"] for one in result["unreadable"]] == ["left/000.npy"]
    assert (tmp_path / "sheet.png").stat().st_size
    lines = as_text(result).splitlines()
    for line in (
        "sensor         9x10 (height, width), from data.sensor",
        "events         60 to 60 in a recording, median 60",
        "trained on     counts 2x5x5 (darker, brighter) a step: counts added up",
        "unreadable     1 file; a training refuses it without --set data.unreadable=skip:",
    ):
        assert line in lines
    trained(data, tmp_path / "run", "data.unreadable=skip", "data.batch_size=4")
    assert json.loads((tmp_path / "run" / "data_files.json").read_text())["skipped"] == ["left/000.npy"]


def test_the_kind_of_data_is_told_by_recordings_in_folders_of_classes(tmp_path: Path) -> None:
    assert builders.kind_at(str(write_moves(tmp_path / "moves", 1))) == "events"


def test_recordings_of_a_set_that_ships_run_from_its_artefact(tmp_path: Path) -> None:
    overrides = ["model.width=2", "training.epochs=1", "time_steps=2", "data.train=64"]
    train("digits_events_hdlif", overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    np.save(tmp_path / "x.npy", fields(recording(30, side=8)))
    assert len(run(tmp_path / "net.hdlif.safetensors", [tmp_path / "x.npy"]).as_dict()["inputs"]) == 1


def test_recordings_out_of_order_are_counted(tmp_path: Path) -> None:
    write_moves(tmp_path / "data", 6)
    first = tmp_path / "data" / "left" / "000.npy"
    np.save(first, np.load(first)[np.random.default_rng(0).permutation(60)])
    result = inspect(str(tmp_path / "data"), overrides=["data.split={seed: 1}"])
    assert result["out_of_order"] == 1
    assert "order          1 recordings are not in order of time, and are sorted" in as_text(result).splitlines()


def test_recordings_are_refused_by_a_recipe_of_pictures(tmp_path: Path) -> None:
    data = write_moves(tmp_path / "data", 3)
    words = (
        "is a folder of recordings of events, and digits_hdlif is of pictures; start from a recipe of events, such as"
    )
    with pytest.raises(DataError, match=words):
        train("digits_hdlif", data=str(data), out=tmp_path / "run")
