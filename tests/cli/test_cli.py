"""The command line as a user meets it: exit codes, one-line errors, JSON on standard output."""

import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import hdlif
from hdlif import recipe_schema
from hdlif.recipe import shipped_recipes
from hdlif.training import Checkpoints

FAST = ["--set", "training.epochs=1", "--set", "data.batch_size=128", "--set", "model.width=4"]
FAST += ["--set", "model.blocks=[1]", "--memory-repeats", "0"]


def test_eval_of_checkpoint_and_artefact_agree_with_training(
    trained: tuple[Path, dict[str, Any]], artefact: Path
) -> None:
    run, summary = trained
    result = json.loads(hdlif("eval", run, "--confusion", "--json").stdout)
    counts = np.array(result["confusion"])
    assert (result["n"], result["accuracy"], counts.trace() / 360) == (360, summary["accuracy"], result["accuracy"])
    assert json.loads((run / "confusion.json").read_text())["counts"] == result["confusion"]
    deployed = hdlif("eval", artefact, "--data", "digits", "--confusion", "--json").stdout
    assert np.abs(np.array(json.loads(deployed)["confusion"]) - counts).sum() <= 2
    lines = hdlif("eval", run, "--confusion").stdout.splitlines()
    assert lines[2].split() == ["true,", "chosen:", *result["labels"], "accuracy"]
    assert lines[4].split()[-1] == f"{result['accuracy_per_class'][0]:.2%}"
    assert hdlif("profile", "digits_lif").stdout.startswith("untrained network")
    learning = hdlif("profile", run, "--learn", "last-block").stdout.splitlines()
    assert [line.split()[0] for line in learning[-3:]] == ["time", "time", "update"]
    both = hdlif("profile", "digits_lif", "--learn", "affine", "--training")
    assert (both.returncode, both.stderr.count("--training and --learn")) == (2, 1)


def test_report_is_written(run_folder: Path, tmp_path: Path) -> None:
    done = hdlif(
        "report", run_folder, "--neurons", "body.stage1.0.act2:5", "--image", 3, "--out", tmp_path / "page.html"
    )
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("membrane of body.stage1.0.act2:5<", "test sample 3 of digits (class “7”)"):
        assert part in (tmp_path / "page.html").read_text()
    for options in (
        ["--neurons", "act1"],
        ["--neurons", "body.stage1.0.act3:0"],
        ["--neurons", "body.stage1.0.act1:99999"],
        ["--image", "360"],
    ):
        refused = hdlif("report", run_folder, *options, "--out", tmp_path / "none.html")
        assert (refused.returncode, refused.stderr.startswith("InputError: ")) == (2, True), options
        assert not (tmp_path / "none.html").exists()


def test_export_makes_the_folder_of_its_file_or_says_that_it_cannot(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.hdlif.safetensors"
    assert hdlif("export", run_folder, "--to", "artefact", "--out", out).returncode == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "net", "/proc/x/y"):
        for command in (["export", run_folder], ["train", "digits_hdlif", *FAST]):
            refused = hdlif(*command, "--out", place)
            assert (refused.returncode, refused.stderr.startswith("TrainingError: ")) == (1, True), refused.stderr


def test_options_that_have_no_effect_or_are_no_number_of_bytes_are_refused(run_folder: Path, tmp_path: Path) -> None:
    for named, options in (
        ("--form", ["--form", "step"]),
        ("--batch", ["--batch", 2, "--weights", "int4"]),
        ("--rom", ["--to", "onnx", "--rom", 9000]),
        ("--batch", ["--to", "onnx", "--form", "step", "--batch", 2]),
        ("--for-norse", ["--to", "nir", "--extension", "--for-norse"]),
        ("net.onnx", ["--out", tmp_path / "net.onnx"]),
        ("net.nir", ["--out", tmp_path / "net.nir"]),
    ):
        refused = hdlif("export", run_folder, "--out", tmp_path / "net", *options)
        assert (refused.returncode, named in refused.stderr) == (2, True), (options, refused.stderr)
        assert list(tmp_path.iterdir()) == []
    to_c = ("export", "x", "--to", "c", "--out", "x.c")
    sizes = [(*to_c, "--rom"), (*to_c, "--ram"), ("run", "x", "y", "--max-bytes")]
    sizes += [("serve", "x", f"--max-{of}bytes") for of in ("", "body-", "stream-", "old-")]
    for command in sizes:
        for wrong in ("64KB", "0", "many"):
            assert hdlif(*command, wrong).returncode == 2
        # The file, which is not there, is refused then.
        taken = hdlif(*command, "64K").stderr
        assert ("64K" in taken, "x: " in taken) == (False, True), command


def test_run_answers_for_what_can_be_read_and_ends_with_1(artefact: Path, run_folder: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    done = hdlif("run", artefact, tmp_path)
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (1, 1, 1)
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: ")
    assert done.stderr.startswith(f"InputError: {tmp_path / 'b.png'}: ")
    for path in (run_folder, run_folder / "model.safetensors", tmp_path / "a.png"):
        refused = hdlif("run", path, tmp_path / "a.png")
        assert (refused.returncode, f"ArtefactError: {path}" in refused.stderr) == (2, True), refused.stderr


def test_recipes_are_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = json.loads(hdlif("recipes", "ls", "--json").stdout)
    assert set(listed["recipes"]) == set(shipped_recipes()) == listed["details"].keys()
    tables = [table.splitlines() for table in hdlif("recipes", "ls").stdout.split("\n\n")]
    rows = {line.split()[0]: line.split("  ") for _, _, *lines in tables for line in lines}
    assert rows.keys() == set(listed["recipes"])
    assert max(len(line) for table in tables for line in table) <= 100
    for heading, _, *lines in tables:
        assert {listed["details"][line.split()[0]]["data"] for line in lines} == {heading.split()[1]}
    for name, neuron, rule, weight_bits, spike_bits, bits in (
        ("digits_lif", "lif", "stochastic_step", 32, 1, "32/1"),
        ("digits_hdlif_w1p5_s4", "hdlif", "stochastic_step", 1.5, 4, "1.5/4"),
        ("hapt_hdlif", "hdlif", "stbp", 32, 32, "32/32"),
    ):
        found = {"neuron": neuron, "rule": rule, "weight_bits": weight_bits, "spike_bits": spike_bits}
        assert listed["details"][name] == {"data": name.split("_")[0], **found}
        reached = listed["measured"].get(name)
        said = [] if reached is None else [f"{reached['parameters']:,}", f"{reached['value']:.1%}"]
        assert [cell.strip() for cell in rows[name] if cell] == [name, neuron, rule, bits, *said]
    assert listed["measured"]["digits_lif"]["value"] > 0.95
    published = hdlif("recipes", "ls", "--published").stdout.splitlines()
    assert ["cifar100_resnet18_lif", "71.75%", "44.84"] in [line.split() for line in published]
    for options, stated in (["--resolved"], True), ([], False):
        shown = hdlif("recipes", "show", "cifar100_resnet18_hdlif_w1", *options).stdout
        assert ("epochs: 300" in shown) == stated
    assert hdlif("recipes", "check", "digits_hdlif").stdout == "digits_hdlif: good\n"
    assert hdlif("recipes", "check", "digits_lif", "digits_hdlif").stdout == "2 recipes: valid\n"
    assert hdlif("recipes", "check", "digits_lif", tmp_path / "no.yaml").returncode == 2
    hdlif("recipes", "schema", "--out", tmp_path / "new" / "schema.json")
    assert json.loads((tmp_path / "new" / "schema.json").read_text()) == recipe_schema()


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    for line, words in (
        ("train digits_hdlf", ["RecipeError", "digits_hdlf", 'did you mean "digits_hdlif"']),
        ("train", ["RecipeError", "--data PATH"]),
        ("train digits_hdlif --data nowhere", ["DataError", "nowhere", "digits"]),
        ("train digits_hdlif --devices 3", ["RecipeError", "data.batch_size = 64", "multiple of 3", "63"]),
        ("train digits_hdlif --resume --overwrite", ["InputError", "--resume", "--overwrite"]),
        ("train fashion_mnist_lif --data-root nowhere", ["DataError", "nowhere", "FashionMNIST/raw"]),
        ("eval nothing", ["InputError", "nothing"]),
        ("eval cut.safetensors --data digits", ["CheckpointError", "cut.safetensors"]),
        ("run x y --stream --layout batch", ["InputError", "--layout"]),
        ("demo --data cifar", ["DataError", "cifar", "digits"]),
        ("sweep digits_hdlif --space no.yaml --trials 1", ["RecipeError", "no.yaml"]),
    ):
        done = hdlif(*line.split())
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), (line, done.stderr)
        assert [word for word in words if word not in done.stderr] == [], (line, done.stderr)


def test_python_runs_the_module_as_the_command_and_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "hdlif.cli", "--debug", "recipes", "show", "nothing"]
    assert "Traceback" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_resuming_a_finished_run_changes_nothing(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, summary = shutil.copytree(trained[0], tmp_path / "net"), trained[1]

    def everything() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before, train = everything(), ["train", "digits_hdlif_w1p5_s4_parallel", "--out", folder, "--resume", "--json"]
    # By the name alone it goes on with the recipe of the folder.
    for options in (FAST, []):
        assert json.loads(hdlif(*train, *options).stdout) == summary
    assert hdlif(*train, *FAST, "--set", "training.epochs=2").returncode == 2
    assert everything() == before
    # A file may have been edited since: it is another recipe.
    (tmp_path / "own.yaml").write_text("base: digits_hdlif\n")
    (folder / "summary.json").unlink()
    refused = hdlif("train", tmp_path / "own.yaml", "--out", folder, "--resume")
    assert refused.returncode == 2
    assert f"hdlif train {folder}/recipe.yaml --out {folder} --resume" in refused.stderr


def test_an_interrupt_says_where_and_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came = signal.SIGINT

    def stop(self: Checkpoints, training: Any) -> None:
        if training.counters.step == 13:
            signal.raise_signal(came)

    monkeypatch.setattr(Checkpoints, "on_batch_end", stop)
    own = tmp_path / "a run"
    arguments = ["train", "digits_hdlif", *FAST, "--set", "training.epochs=2", "--out", str(own), "--json"]
    again = shlex.join(["hdlif", *arguments, "--resume"])
    for came, options in ((signal.SIGINT, []), (signal.SIGTERM, ["--overwrite"])):
        done = hdlif(*arguments, *options)
        assert done.returncode == 128 + came
        how = "interrupted" if came == signal.SIGINT else "terminated"
        assert done.stderr.strip() == f"{how} in epoch 2 of 2; continue with: {again}"
    kept = f"hdlif train '{own}/recipe.yaml' --out '{own}' --resume"
    for command in ("eval", "report"):
        done = hdlif(command, own)
        assert (done.returncode, kept in done.stderr) == (2, True)
    assert hdlif("eval", own / "last.safetensors").returncode == 0
    monkeypatch.undo()
    assert hdlif(*arguments, "--resume").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_resumes_from_the_command_line(number: int, code: int, tmp_path: Path) -> None:
    arguments = ["train", "digits_hdlif", "--set", "model.width=4", "--set", "training.epochs=6"]
    arguments += ["--out", str(tmp_path / "r"), "--memory-repeats", "0"]
    command = [sys.executable, "-m", "hdlif.cli", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not Path(tmp_path / "r" / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    # A checkpoint of this network does not fit any more, as on a full disk.
    room = (tmp_path / "r" / "last.safetensors").stat().st_size // 2
    full = subprocess.run(
        [*command, "--resume", "--json"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (full.returncode, len(full.stderr.strip().splitlines())) == (1, 1)
    assert "the checkpoint written before is kept" in full.stderr
    done = hdlif(*arguments, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    events = map(json.loads, (tmp_path / "r" / "metrics.jsonl").read_text().splitlines())
    steps = [(event["event"], event["step"]) for event in events]
    assert len(steps) == len(set(steps))
    assert steps == sorted(steps, key=lambda event: event[1])
