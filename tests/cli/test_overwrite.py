"""A run is replaced where that is asked for, and nowhere else."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hdlif.cli import cli
from hdlif.cli import demo as demo_module
from hdlif.errors import ExistingRunError, InputError
from hdlif.recipe import load_recipe
from hdlif.recipe.runs.folders import MEASURED
from hdlif.training import RunFiles
from hostile import one_printable_line
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with everything that a training and what measures it write."""
    out = tmp_path_factory.mktemp("overwrite") / "run"
    train("digits_hdlif", out=out, overrides=[*FAST, "training.keep_every=1"], memory_repeats=0)
    names = ("coherence.json", "report.html", "data_files.json", "previous", "damaged", "best")
    for name in (name if "." in name else f"{name}.safetensors" for name in names):
        (out / name).write_text("{}")
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
        assert said.startswith(f"{out}: holds a run of digits_hdlif, finished on 20")
        assert all(option in said for option in ("--resume", "--overwrite", "--out"))
        assert everything(out) == before
    with pytest.raises(InputError):
        train("digits_hdlif", out=out, resume=True, overwrite=True, **OPTIONS)
    assert everything(out) == before


OF_OTHER_TASKS = {"errors.json", "labels.json"}


def files_of_a_run() -> Iterator[str]:
    yield from (
        "recipe.yaml",
        "metrics.jsonl",
        "tensorboard",
        *(name for name in MEASURED if name not in OF_OTHER_TASKS),
    )
    yield from (f"{name}.safetensors" for name in ("last", "previous", "best", "model", "damaged", "epoch_1"))


def test_any_file_of_a_run_alone_keeps_a_training_out(run: Path, tmp_path: Path) -> None:
    for name in files_of_a_run():
        out, source = tmp_path / name, run / name
        out.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, out / name)
        before = everything(out)
        with pytest.raises(ExistingRunError, match=name):
            train("digits_hdlif", out=out, **OPTIONS)
        assert everything(out) == before


def test_files_of_a_run_are_all_that_a_training_writes(run: Path) -> None:
    written = {path.name for path in run.iterdir()} - {".lock"}
    assert written == set(files_of_a_run())


def test_overwriting_replaces_the_run_and_leaves_what_is_none_of_it(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    mine = {
        "notes.txt": b"mine",
        "epoch_1_notes.safetensors": b"mine",
        "model.safetensors.bak": b"mine",
        "a/b": b"mine",
    }
    for name, content in mine.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    summary = train("digits_hdlif", out=out, overrides=[*FAST, "seed=7"], overwrite=True, memory_repeats=0)
    after = everything(out)
    assert {name: after[name] for name in mine} == mine
    assert json.loads(after["summary.json"]) == summary.as_dict()
    gone = {"coherence.json", "report.html", "previous.safetensors", "damaged.safetensors", "epoch_1.safetensors"}
    assert not gone & after.keys()


def test_notes_alone_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".last.safetensors.0123456789abcdef.tmp").write_text("of a writer that was killed")
    train("digits_hdlif", out=tmp_path, **OPTIONS)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_resuming_where_nothing_is_to_go_on_from_loses_nothing(tmp_path: Path) -> None:
    for name in ("summary.json", "report.html", "coherence.json", "recipe.yaml"):
        out = tmp_path / name
        out.mkdir()
        (out / name).write_text('{"networks": []}')
        with pytest.raises(ExistingRunError):
            train("digits_hdlif", out=out, resume=True, **OPTIONS)
        assert (out / name).read_text() == '{"networks": []}'


def test_the_command_line_asks_in_the_same_words(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    before = everything(out)
    command = ["train", "digits_hdlif", "--out", str(out), "--memory-repeats", "0", "--json"]
    command += [word for override in FAST for word in ("--set", override)]
    refused = CliRunner().invoke(cli, command)
    assert isinstance(refused.exception, ExistingRunError)
    assert refused.exception.exit_code == 2
    assert everything(out) == before
    done = CliRunner().invoke(cli, [*command, "--overwrite"])
    assert done.exit_code == 0, done.output


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
    out = shutil.copytree(run, tmp_path / "run")
    before = everything(out)
    with pytest.raises(ExistingRunError, match="holds a run of digits_hdlif, finished on"):
        demo_module.demo(out=out, memory_repeats=0)
    assert everything(out) == before
    # A training of one's own in the folder of one of its networks.
    shutil.copytree(run, tmp_path / "runs" / "hdlif")
    before = everything(tmp_path / "runs")
    with pytest.raises(ExistingRunError, match="hdlif: holds a run of digits_hdlif, finished on"):
        demo_module.demo(out=tmp_path / "runs", memory_repeats=0)
    assert everything(tmp_path / "runs") == before


def test_a_summary_that_lacks_a_figure_is_of_no_finished_training(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    RunFiles(out).previous.unlink()
    (out / "best.safetensors").unlink()
    whole = json.loads((out / "summary.json").read_text())
    for changes in ({"accuracy": "x"}, {"sops": []}, {"accuracy": None}, {"accuracy_per_step": 3}):
        (out / "summary.json").write_text(json.dumps(whole | changes))
        overrides = [*FAST, "training.keep_every=1"]
        again = train("digits_hdlif", out=out, overrides=overrides, resume=True, memory_repeats=0)
        assert again.accuracy == whole["accuracy"]
        assert json.loads((out / "summary.json").read_text()) == again.as_dict()
