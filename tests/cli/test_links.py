"""Nothing that is written follows a link which somebody has put in its place: what it points to keeps its bytes.

A link at the name of a file that is written whole is replaced by the file. A link at a lock or at metrics.jsonl, which
are written in place, is refused; `--overwrite` removes the latter. A run folder that is itself a link to a folder is
that folder: it is chosen by whoever names it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdlif.cli.ablate import ablate
from hdlif.cli.coherence import coherence
from hdlif.cli.export import export_file as export
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.errors import ExistingRunError, HdlifError, TrainingError
from hdlif.recipe.runs.folders import locked
from hostile import one_printable_line
from resource_limits import within_cpu_seconds
from special_files import as_endless, as_fifo, as_folder, as_loop
from stub_training import stub
from trainings import train

FAST = ["training.epochs=2", "data.batch_size=8", "model.width=4", "model.blocks=[1]", "data.train=16"]
OPTIONS: dict[str, Any] = {"overrides": [*FAST, "training.keep_every=1"], "memory_repeats": 0}
TABLE = f"{{title: tiny, base: digits_hdlif, overrides: {FAST}, rows: {{HD-LIF: []}}, columns: {{fp32: []}}}}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("links") / "run"
    train("digits_hdlif", out=out, **OPTIONS)
    return out


def of_train(run: Path, out: Path) -> None:
    train("digits_hdlif", out=out, overwrite=True, **OPTIONS)


def of_a_report(run: Path, out: Path) -> None:
    shutil.copytree(run, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock"))
    report([run], out=out / "report.html")


def of_an_export_to_onnx(run: Path, out: Path) -> None:
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    export(run, out=out / "x.onnx", form="unrolled", batch=1, to="onnx")


def of_a_table(run: Path, out: Path) -> None:
    table = out.parent / "tiny.yaml"
    table.write_text(TABLE)
    ablate(table, out=out)


RUN = ["recipe.yaml", "summary.json", "confusion.json", "early.json", "metrics.jsonl", "tensorboard"]
RUN += ["coherence.json", "report.html"]
RUN += [f"{name}.safetensors" for name in ("last", "previous", "best", "model", "damaged", "epoch_1", "epoch_2")]
WRITTEN_IN_PLACE = ["metrics.jsonl"]
WRITERS: dict[str, tuple[Callable[[Path, Path], object], list[str]]] = {
    "train": (of_train, RUN),
    "report": (of_a_report, ["report.html"]),
    "coherence": (lambda run, out: coherence([str(run)], batches=1, out=out), ["coherence.json"]),
    "export": (lambda run, out: export(run, out=out / "x.hdlif.safetensors"), ["x.hdlif.safetensors"]),
    "export to ONNX": (of_an_export_to_onnx, ["x.onnx"]),
    "ablate": (of_a_table, ["table.json", "table.md", "table.html"]),
    "seeds": (
        lambda run, out: train_seeds("digits_hdlif", seeds=1, out=out, overwrite=True, **OPTIONS),
        ["seeds.json"],
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_links_at_the_names_that_are_written_are_replaced(
    writer: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trainings of a table and of seeds write as `train` does.
    for module in ("ablation_queue", "seeds"):
        monkeypatch.setattr(f"hdlif.cli.{module}.train_in_one_process", stub([]))
    write, names = WRITERS[writer]
    for kind in ("file", "folder") if writer in ("train", "export") else ("file",):
        out, victims = tmp_path / kind / "out", tmp_path / kind / "victims"
        out.mkdir(parents=True)
        for number, name in enumerate(names):
            path, victim = out / name, victims / str(number)
            target = victim / "file" if kind == "folder" else victim
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"victim")
            path.symlink_to(victim)
            # The temporary names that could be foreseen; what they are now is not.
            for temporary in (f".{path.name}.tmp", f"{path.name}.tmp", f".{path.name}.0.tmp"):
                path.with_name(temporary).symlink_to(victim)
        write(run, out)
        files = [path for path in victims.rglob("*") if path.is_file()]
        assert len(files) == len(names)
        assert {path.read_bytes() for path in files} == {b"victim"}
        for name in names:
            assert not (out / name).is_symlink() or not (out / name).exists()


@pytest.mark.slow
def test_links_where_a_resumed_run_writes_are_replaced_or_refused(run: Path, tmp_path: Path) -> None:
    for name in RUN:
        out, victim = tmp_path / name / "out", tmp_path / name / "victim"
        shutil.copytree(run, out)
        # The run as it is before it has ended.
        (out / "model.safetensors").rename(out / "best.safetensors")
        for written in ("summary.json", "confusion.json", "early.json"):
            (out / written).unlink()
        victim.write_bytes(b"")
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        elif (out / name).exists():
            (out / name).rename(victim)
        (out / name).symlink_to(victim)
        before = victim.read_bytes()
        if name in WRITTEN_IN_PLACE:
            with pytest.raises(HdlifError, match=name) as refused:
                train("digits_hdlif", out=out, resume=True, **OPTIONS)
            one_printable_line(refused.value)
        else:
            train("digits_hdlif", out=out, resume=True, **OPTIONS)
        assert victim.read_bytes() == before, name


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    for there in (True, False):
        victim, out = tmp_path / f"victim {there}", tmp_path / f"out {there}"
        out.mkdir()
        if there:
            victim.write_bytes(b"victim")
        (out / ".lock").symlink_to(victim)
        for how in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(TrainingError, match=r"\.lock: cannot be written"):
                train("digits_hdlif", out=out, **how, **OPTIONS)
        assert victim.exists() == there
        assert not there or victim.read_bytes() == b"victim"
    # So is one that is another file's second name, or no file; at once.
    for make in (as_fifo, as_folder, as_endless, as_loop, lambda path: path.hardlink_to(tmp_path / "victim True")):
        path = tmp_path / f"lock {len(list(tmp_path.iterdir()))}"
        make(path)
        with within_cpu_seconds(5), pytest.raises(TrainingError) as refused, locked(path):
            pass
        one_printable_line(refused.value)
    assert (tmp_path / "victim True").read_bytes() == b"victim"


def test_a_run_folder_that_is_a_link_is_the_folder_it_points_to(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "large_disk")
    (tmp_path / "run").symlink_to("large_disk")
    of_train(run, tmp_path / "run")
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "large_disk/model.safetensors").is_file()
    with pytest.raises(ExistingRunError):
        train("digits_hdlif", out=tmp_path / "large_disk", **OPTIONS)


def test_a_study_s_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    from hdlif.cli.sweep import sweep

    (tmp_path / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.01, high: 0.3}")
    for there in (False, True):
        victim, journal = tmp_path / "victim", tmp_path / f"{there}.journal"
        if there:
            victim.write_bytes(b"")
        journal.symlink_to(victim)
        with pytest.raises(HdlifError, match="is a link, which is not followed"):
            sweep("digits_hdlif", space=tmp_path / "space.yaml", trials=1, study=journal, overrides=FAST)
        assert victim.exists() == there
        assert not there or victim.read_bytes() == b""
