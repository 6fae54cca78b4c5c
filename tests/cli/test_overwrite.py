"""A run is replaced where that is asked for, and nowhere else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from command_line import hdlif
from hdlif.cli import demo as demo_module
from hdlif.errors import ExistingRunError
from hdlif.recipe import load_recipe
from hdlif.recipe.runs.folders import MEASURED
from hostile import one_printable_line
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=32", "model.width=4", "model.blocks=[1]", "data.train=32"]
KEPT = [*FAST, "training.keep_every=1"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}
OF_OTHER_TASKS = {"errors.json", "labels.json"}
FILES = {"recipe.yaml", "metrics.jsonl", "tensorboard", *MEASURED} - OF_OTHER_TASKS
FILES |= {f"{name}.safetensors" for name in ("last", "previous", "best", "model", "damaged", "epoch_1")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with everything that a training and what measures it write."""
    out = tmp_path_factory.mktemp("overwrite") / "run"
    train("digits_hdlif", out=out, overrides=KEPT, memory_repeats=0)
    names = ("coherence.json", "report.html", "data_files.json", "previous", "damaged", "best")
    for name in (name if "." in name else f"{name}.safetensors" for name in names):
        (out / name).write_text("{}")
    assert {path.name for path in out.iterdir()} - {".lock"} == FILES
    return out


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_run_is_not_replaced_unasked(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    before = everything(out)
    for changes in ([], ["training.momentum=0.5"], ["name=another"]):
        with pytest.raises(ExistingRunError) as refused:
            train("digits_hdlif", out=out, overrides=[*FAST, *changes], memory_repeats=0)
        said = one_printable_line(refused.value)
        assert all(words in said for words in (str(out), "digits_hdlif", "--resume", "--overwrite", "--out"))
        assert everything(out) == before
    # A summary that lacks a figure is of no finished training.
    for name in ("previous", "best"):
        (out / f"{name}.safetensors").unlink()
    whole = json.loads((out / "summary.json").read_text())
    for change in ({"accuracy": "x"}, {"sops": []}):
        (out / "summary.json").write_text(json.dumps(whole | change))
        again = train("digits_hdlif", out=out, overrides=KEPT, resume=True, memory_repeats=0)
        assert again.accuracy == whole["accuracy"]
        assert json.loads((out / "summary.json").read_text()) == again.as_dict()


def test_any_file_of_a_run_alone_keeps_a_training_out_and_a_resume_has_nothing_to_go_on_from(
    run: Path, tmp_path: Path
) -> None:
    for name in FILES:
        out, source = tmp_path / name, run / name
        out.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, out / name)
        before = everything(out)
        resumes = name in ("summary.json", "report.html", "coherence.json", "recipe.yaml")
        for options in ({}, {"resume": True}) if resumes else ({},):
            with pytest.raises(ExistingRunError, match=name):
                train("digits_hdlif", out=out, **OPTIONS, **options)
            assert everything(out) == before


def test_overwriting_replaces_the_run_and_leaves_what_is_none_of_it(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    mine = ("notes.txt", "epoch_1_notes.safetensors", "model.safetensors.bak", "a/b")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"mine")
    (out / ".last.safetensors.0123456789abcdef.tmp").write_text("of a writer that was killed")
    options = [word for override in [*FAST, "seed=7"] for word in ("--set", override)]
    command = ["train", "digits_hdlif", *options, "--out", out, "--memory-repeats", "0", "--json"]
    assert hdlif(*command).returncode == 2
    done = hdlif(*command, "--overwrite")
    assert done.returncode == 0, done.stderr
    after = everything(out)
    assert {after[name] for name in mine} == {b"mine"}
    assert json.loads(after["summary.json"]) == json.loads(done.stdout)
    gone = {"coherence.json", "report.html", "previous.safetensors", "damaged.safetensors", "epoch_1.safetensors"}
    assert not gone & after.keys()
    assert not [name for name in after if name.endswith(".tmp")]


def test_whatever_a_run_says_of_itself_the_refusal_is_one_line(tmp_path: Path) -> None:
    hostile = ["", "{", "[]", "3", '{"name": 3}', '{"name": "\\u001b[31m"}', "[" * 100_000, '{"name": "' + "x" * 9999]
    for content in hostile:
        for name in ("summary.json", "recipe.yaml"):
            (tmp_path / name).write_text(content)
        with pytest.raises(ExistingRunError) as refused:
            train("digits_hdlif", out=tmp_path, **OPTIONS)
        one_printable_line(refused.value)


@pytest.mark.slow
def test_a_demo_is_replaced_by_a_demo_and_a_training_is_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "NETWORKS", demo_module.NETWORKS[1:2])
    monkeypatch.setattr("hdlif.recipe.load_recipe", lambda name: load_recipe(name, FAST))
    for _ in range(2):
        demo_module.demo(out=tmp_path / "demo", memory_repeats=0)
    with pytest.raises(ExistingRunError, match="demo: holds a run"):
        train("digits_hdlif", out=tmp_path / "demo", **OPTIONS)
    # A training of one's own there, or in the folder of one of its networks.
    for place in (tmp_path / "run", tmp_path / "runs" / "hdlif"):
        shutil.copytree(run, place)
        out = tmp_path / place.relative_to(tmp_path).parts[0]
        before = everything(out)
        with pytest.raises(ExistingRunError, match="holds a run of digits_hdlif"):
            demo_module.demo(out=out, memory_repeats=0)
        assert everything(out) == before
