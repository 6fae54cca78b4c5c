"""The command line as a user meets it: exit codes, one-line errors, JSON on standard output."""

import io
import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from deployed_graphs import residual_network
from hdlif.cli import main
from hdlif.graph.artefact import save
from hdlif.training import Checkpoints
from picture_folders import write_pictures

FAST = ["--set", "training.epochs=1", "--set", "data.batch_size=128", "--set", "model.width=4"]


def hdlif(*arguments):
    """Run a command in this process, as the console script does: importing torch anew would take seconds a call."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before, sys.argv = sys.argv, ["hdlif", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "net"
    done = hdlif("train", "digits_hdlif_w1p5_s4_parallel", *FAST, "--out", out, "--memory-repeats", 1, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.fixture(scope="module")
def artefact(run_folder):
    path = run_folder[0] / "net.hdlif.safetensors"
    done = hdlif("export", run_folder[0], "--to", "artefact", "--out", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == path.stat().st_size
    return path


def test_train_writes_its_summary_and_prints_the_same(run_folder):
    out, printed = run_folder
    assert json.loads((out / "summary.json").read_text()) == printed
    promised = {"recipe", "accuracy", "accuracy_per_step", "best_epoch", "train_seconds", "peak_bytes", "params_mb"}
    promised |= {"stored_mb", "sops", "nops", "energy_mj", "seed", "versions", "hardware"}
    assert promised <= set(printed)
    assert len(printed["accuracy_per_step"]) == 4
    assert printed["accuracy"] == printed["accuracy_per_step"][-1]
    assert printed["peak_bytes"] > 100_000


@pytest.mark.peers
def test_export_writes_onnx_from_a_checkpoint_and_from_its_artefact(run_folder, artefact, tmp_path):
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    for form in ("unrolled", "step"):
        paths = [tmp_path / f"{i}.{form}.onnx" for i in range(2)]
        for source, path in zip((run_folder[0], artefact), paths, strict=True):
            batch = ("--batch", 2) if form == "unrolled" else ()
            arguments = ("--to", "onnx", "--form", form, *batch, "--out", path, "--json")
            done = hdlif("export", source, *arguments)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["bytes"] == path.stat().st_size
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--form", "step"), "--form: for --to onnx alone"),
        (("--batch", 2, "--weights", "int4"), "--batch: for --to onnx alone"),
        (("--to", "onnx", "--rom", 9000), "--rom: for --to c alone"),
        (("--to", "onnx", "--form", "step", "--batch", 2), "a step takes any number"),
        (("--to", "nir", "--extension", "--for-norse"), "norse reads no extension"),
    ],
)
def test_export_refuses_options_without_effect(run_folder, tmp_path, options, said):
    refused = hdlif("export", run_folder[0], *options, "--out", tmp_path / "net")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("export", "x", "--to", "c", "--out", "x.c", "--rom"),
        ("export", "x", "--to", "c", "--out", "x.c", "--ram"),
        ("run", "x", "y", "--max-bytes"),
        ("serve", "x", "--max-bytes"),
        ("serve", "x", "--max-body-bytes"),
        ("serve", "x", "--max-stream-bytes"),
        ("serve", "x", "--max-old-bytes"),
    ],
)
def test_bytes_have_units_in_every_option(command):
    for wrong in ("64KB", "0", "many"):
        refused = hdlif(*command, wrong)
        assert refused.returncode == 2
        assert "65536, 64K, 64KiB, 1M or 2G (K is 1,024 bytes" in " ".join(refused.stderr.split())
    # What is refused then is the file, which is not there.
    taken = hdlif(*command, "64K")
    assert "64K" not in taken.stderr
    assert "x: " in taken.stderr


def test_a_rom_of_so_many_k_is_so_many_times_1024_bytes(tmp_path):
    path = tmp_path / "net.hdlif.safetensors"
    save(residual_network(), path)
    done = hdlif("export", path, "--to", "c", "--out", tmp_path / "net.c", "--rom", "1K")
    assert "and the device has 1,024" in done.stderr
    done = hdlif("export", path, "--to", "c", "--out", tmp_path / "net.c", "--rom", "1MiB", "--ram", "1M")
    assert done.returncode == 0, done.stderr


def test_bench_of_the_artefact_alone(artefact):
    done = hdlif("bench", artefact, "--against", "", "--data", "digits", "--batch", 4, "--repeats", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"engines", "layers", "batch", "threads", "hardware"} <= set(result)
    promised = {"latency_ms", "throughput_per_s", "file_bytes", "resident_bytes", "agreement", "ratio"}
    assert promised <= set(result["engines"]["hdlif"])
    assert "digits" in result["images"]
    refused = hdlif("bench", artefact, "--against", "opnvino")
    assert refused.returncode == 2
    assert "did you mean" in refused.stderr


def test_refused_resume_leaves_the_run_folder_as_it_was(run_folder):
    out, _ = run_folder
    before = {name: (out / name).read_bytes() for name in ("recipe.yaml", "summary.json", "model.safetensors")}
    arguments = [*FAST, "--set", "training.epochs=2", "--out", out, "--memory-repeats", 0]
    refused = hdlif("train", "digits_hdlif_w1p5_s4_parallel", *arguments, "--resume")
    assert refused.returncode == 2
    assert {name: (out / name).read_bytes() for name in before} == before


def test_export_makes_the_folder_of_its_file_or_says_that_it_cannot(run_folder, tmp_path):
    out = tmp_path / "new" / "net.hdlif.safetensors"
    assert hdlif("export", run_folder[0], "--to", "artefact", "--out", out).returncode == 0
    assert out.exists()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    (tmp_path / "file").write_text("")
    refused = hdlif("export", run_folder[0], "--to", "artefact", "--out", tmp_path / "file" / "net.hdlif.safetensors")
    assert refused.returncode == 1
    assert f"{tmp_path / 'file'}: cannot be made there (" in refused.stderr
    for command in (["export", run_folder[0]], ["train", "digits_hdlif"]):
        refused = hdlif(*command, "--out", "/proc/x/y")
        assert refused.returncode == 1
        assert "cannot be made there (No such file or directory); choose another --out" in refused.stderr


def test_run_answers_for_what_can_be_read_and_ends_with_1(artefact, tmp_path):
    Image.new("L", (8, 8), 128).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    done = hdlif("run", artefact, tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: ")
    assert done.stderr.startswith(f"InputError: {tmp_path / 'b.png'}: cannot be read as an image")
    assert len(done.stderr.splitlines()) == len(done.stdout.splitlines()) == 1


def test_a_run_folder_in_place_of_its_artefact_is_told_how_to_be_one(run_folder):
    done = hdlif("run", run_folder[0], "x.png")
    assert done.returncode == 2
    assert f"`hdlif export {run_folder[0]} --out NAME.hdlif.safetensors` writes one" in done.stderr


def test_resume_by_the_name_alone_goes_on_with_the_recipe_of_the_folder(run_folder, tmp_path):
    out, summary = run_folder
    done = hdlif("train", "digits_hdlif_w1p5_s4_parallel", "--out", out, "--resume", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, summary), done.stderr
    # A file may have been edited since: what it says now is another recipe.
    own = tmp_path / "own.yaml"
    own.write_text("base: digits_hdlif\n")
    stopped = tmp_path / "stopped"
    shutil.copytree(out, stopped)
    (stopped / "summary.json").unlink()
    refused = hdlif("train", own, "--out", stopped, "--resume")
    assert refused.returncode == 2
    assert f"hdlif train {stopped}/recipe.yaml --out {stopped} --resume" in refused.stderr
    again = hdlif("train", stopped / "recipe.yaml", "--out", stopped, "--resume", "--memory-repeats", 0)
    assert again.returncode == 0, again.stderr


def test_an_interrupt_says_where_and_how_to_go_on(tmp_path, monkeypatch):
    came = signal.SIGINT

    def stop(self, training):
        if training.counters.step > 12:
            training.pending.number = came
        return False

    monkeypatch.setattr(Checkpoints, "due", stop)
    arguments = ["train", "digits_hdlif", *FAST, "--set", "training.epochs=5", "--memory-repeats", 0, "--out"]
    own = tmp_path / "a run"
    again = [*map(str, arguments), str(own), "--threads", "1", "--json", "--resume"]
    for number, options in (("SIGINT", []), ("SIGINT", ["--overwrite"]), ("SIGTERM", ["--overwrite"])):
        came = signal.Signals[number]
        done = hdlif(*arguments, own, "--threads", 1, "--json", *options)
        assert done.returncode == 128 + came
        how = "interrupted" if came == signal.SIGINT else "terminated"
        assert done.stderr.strip() == f"{how} in epoch 2 of 5; go on with: {shlex.join(['hdlif', *again])}"
    kept = f"hdlif train '{own}/recipe.yaml' --out '{own}' --resume"
    done = hdlif("eval", own)
    assert done.returncode == 2
    last = own / "last.safetensors"
    assert f"its training is not finished; go on with it ({kept}), or give {last}" in done.stderr
    assert hdlif("eval", last).returncode == 0
    done = hdlif("report", own)
    assert done.returncode == 2
    assert (
        f"summary.json is missing, a finished run has one; the run was stopped, and goes on with: {kept}" in done.stderr
    )
    monkeypatch.undo()
    assert hdlif(*again).returncode == 0


def test_eval_of_checkpoint_and_artefact_agree_with_training(run_folder, artefact):
    trained = json.loads(hdlif("eval", run_folder[0], "--json").stdout)
    deployed = json.loads(hdlif("eval", artefact, "--data", "digits", "--json").stdout)
    assert trained["n"] == deployed["n"] == 360
    assert trained["accuracy"] == run_folder[1]["accuracy"]
    assert abs(trained["accuracy"] - deployed["accuracy"]) <= 1 / 360


def test_eval_tells_which_class_is_taken_for_which(run_folder, artefact):
    result = json.loads(hdlif("eval", run_folder[0], "--confusion", "--json").stdout)
    counts = np.array(result["confusion"])
    assert counts.sum() == 360
    assert counts.trace() / 360 == result["accuracy"]
    assert result["labels"] == [str(digit) for digit in range(10)]
    assert result["accuracy_per_class"][3] == counts[3, 3] / counts[3].sum()
    kept = json.loads((run_folder[0] / "confusion.json").read_text())
    assert kept == {"labels": result["labels"], "counts": result["confusion"]}
    deployed = json.loads(hdlif("eval", artefact, "--data", "digits", "--confusion", "--json").stdout)
    assert np.abs(np.array(deployed["confusion"]) - counts).sum() <= 2
    lines = hdlif("eval", run_folder[0], "--confusion").stdout.splitlines()
    assert "after each step" in lines[0]
    assert lines[2].split() == ["true,", "chosen:", *result["labels"], "accuracy"]
    assert lines[4].split()[0] == "0"
    assert lines[4].split()[-1] == f"{result['accuracy_per_class'][0]:.2%}"


def test_run_classifies_an_image_of_another_size(artefact, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    done = hdlif("run", artefact, tmp_path / "photo.png", "--json")
    (result,) = json.loads(done.stdout)["inputs"]
    assert result["label"] == str(result["class"])
    assert 0 < result["probability"] <= 1
    assert len(result["logits"]) == 10


def test_run_does_not_import_torch(artefact, tmp_path):
    Image.new("L", (8, 8), 128).save(tmp_path / "photo.png")
    blocked = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'hdlif'; from hdlif.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blocked, "run", str(artefact), str(tmp_path / "photo.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_run_says_what_is_no_artefact_and_what_is_a_damaged_one(run_folder, artefact, tmp_path):
    photo, damaged = tmp_path / "photo.png", tmp_path / "damaged.hdlif.safetensors"
    Image.new("L", (8, 8), 128).save(photo)
    content = bytearray(artefact.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    checkpoint = run_folder[0] / "model.safetensors"
    mend = "give a file made by `hdlif export --to artefact`"
    for path, message in (
        (photo, f"is not an artefact (no safetensors header); {mend}"),
        (checkpoint, f"is not an artefact (its metadata hold no graph); {mend}"),
        (damaged, "is not that of its bytes; the file is damaged, export it again"),
    ):
        refused = hdlif("run", path, photo)
        assert refused.returncode == 2
        assert f"{path}: " in refused.stderr
        assert message in refused.stderr


def test_an_artefact_may_have_any_name(artefact, tmp_path):
    renamed = tmp_path / "network.bin"
    renamed.write_bytes(artefact.read_bytes())
    for command in ("eval", "profile"):
        assert json.loads(hdlif(command, renamed, "--data", "digits", "--json").stdout) == json.loads(
            hdlif(command, artefact, "--data", "digits", "--json").stdout
        )


def test_profile_of_artefact_equals_that_of_its_checkpoint(run_folder, artefact):
    of_checkpoint = json.loads(hdlif("profile", run_folder[0], "--json").stdout)
    of_artefact = json.loads(hdlif("profile", artefact, "--data", "digits", "--json").stdout)
    assert of_checkpoint["sops"] == of_artefact["sops"]
    assert of_checkpoint["trained"]
    untrained = hdlif("profile", "digits_lif")
    assert untrained.returncode == 0
    assert untrained.stdout.startswith("untrained network")


@pytest.mark.slow
def test_coherence_of_a_run_is_printed_written_and_reported(run_folder, tmp_path):
    folder = shutil.copytree(run_folder[0], tmp_path / "net")
    done = hdlif("coherence", folder, "--batches", 1, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "0.0% wrong" in done.stdout
    done = hdlif("report", folder)
    assert done.returncode == 0, done.stderr
    assert ">Gradient coherence</h2>" in (folder / "report.html").read_text()


def test_coherence_prints_json_by_its_schema():
    small = ["--set", "model.width=4", "--set", "model.blocks=[1]", "--set", "data.batch_size=16"]
    done = hdlif("coherence", "digits_lif", *small, "--batches", 1, "--json")
    assert done.returncode == 0, done.stderr
    networks = json.loads(done.stdout)["networks"]
    assert {network["neuron"] for network in networks} == {"lif", "hdlif"}
    promised = {"name", "cosine", "norm_ratio", "equal", "dropped", "wrong", "firing_rate", "per_step"}
    for network in networks:
        assert {"neuron", "loss", "rules"} <= set(network)
        for rule in network["rules"].values():
            assert {"layers", "cosine"} <= set(rule["end_to_end"])
            for layer in (*rule["local"]["layers"], *rule["end_to_end"]["layers"]):
                assert promised <= set(layer)


def test_report_is_written(run_folder, tmp_path):
    done = hdlif("report", run_folder[0], "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    page = (tmp_path / "page.html").read_text()
    assert "</html>" in page
    assert "test sample 0 of digits (class “7”)" in page
    assert ">Confusion</h2>" in page
    done = hdlif("report", run_folder[0], "--neurons", "body.stage1.0.act2:5", "--image", 3, "--out", tmp_path / "p")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "p").read_text()
    assert "membrane of body.stage1.0.act2:5<" in page
    assert "test sample 3 of digits" in page
    assert "--neurons body.stage1.0.act2:5 --image 3" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--neurons", "act1"], "write LAYER:INDEX"),
        (["--neurons", "body.stage1.0.act3:0"], 'did you mean "body.stage1.0.act'),
        (["--neurons", "body.stage1.0.act1:99999"], "body.stage1.0.act1 has neurons 0..255"),
        (["--image", "360"], "the test set of digits has samples 0..359"),
    ],
)
def test_report_refuses_neurons_and_images_that_are_not_there(run_folder, tmp_path, options, words):
    refused = hdlif("report", run_folder[0], *options, "--out", tmp_path / "page.html")
    assert refused.returncode == 2
    assert words in refused.stderr
    assert not (tmp_path / "page.html").exists()


def test_report_without_its_network_leaves_the_neurons_out_and_says_so(run_folder, tmp_path):
    folder = shutil.copytree(run_folder[0], tmp_path / "net")
    (folder / "model.safetensors").write_bytes(b"damaged")
    done = hdlif("report", folder)
    assert done.returncode == 0
    assert done.stderr.startswith("neurons are not drawn: ")
    assert "Neurons at work" not in (folder / "report.html").read_text()


def test_recipes_are_listed_shown_and_checked():
    lines = hdlif("recipes", "ls").stdout.splitlines()
    assert [line.split()[0] for line in lines] == json.loads(hdlif("recipes", "ls", "--json").stdout)["recipes"]
    assert [line for line in lines if len(line.split()) < 3] == []
    (start,) = (line for line in lines if line.startswith("sines_hdlif "))
    assert start.endswith("  Series: at each step the network sees the sample of that time alone")
    assert "stochastic_step" in hdlif("recipes", "show", "digits_hdlif").stdout
    assert hdlif("recipes", "check", "digits_hdlif").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digits_hdlf"], ["RecipeError", "digits_hdlf", 'did you mean "digits_hdlif"']),
        (["train", "digits_hdlif", "--set", "training.epoch=3"], ["RecipeError", "training.epoch", '"epochs"']),
        (["train", "digits_hdlif", "--set", "neuron.kind=hdlf"], ["RecipeError", "neuron.kind", '"hdlif"']),
        (["train", "digits_hdlif", "--set", "model.widht=3"], ["RecipeError", "model.widht", '"width"']),
        (["train", "digits_hdlif", "--data", "nowhere"], ["DataError", "nowhere", "no such file or folder", "digits"]),
        (["train", "digits_hdlif", "--data", "."], ["DataError", "no folder lies in it", "CLASS"]),
        (["eval", "x.hdlif.safetensors", "--data", "."], ["there is no such file"]),
        (["data", "inspect", "nowhere"], ["DataError", "nowhere: there is no such folder"]),
        (["train", "digits_hdlif", "--devices", "3"], ["RecipeError", "data.batch_size = 64", "multiple of 3", "63"]),
        (["train", "digits_hdlif", "--set", "rule.k=9"], ["RecipeError", "rule.k", "time_steps = 4"]),
        (["train", "fashion_mnist_lif", "--data-root", "nowhere"], ["DataError", "nowhere", "FashionMNIST/raw"]),
        (["eval", "nothing"], ["InputError", "nothing", "check the path"]),
        (["run", "nothing.hdlif.safetensors", "x.png"], ["ArtefactError", "nothing.hdlif.safetensors"]),
        (["demo", "--data", "cifar"], ["DataError", "cifar", "digits"]),
        (["sweep", "digits_hdlif", "--space", "no.yaml", "--trials", "1"], ["RecipeError", "no.yaml", "search space"]),
        (["coherence", "digits_hdlif", "--batches", "99"], ["DataError", "--batches 99", "at most 19"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = hdlif(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_checkpoint_and_artefact_are_refused(run_folder, artefact, tmp_path):
    for source, kind in ((run_folder[0] / "model.safetensors", "CheckpointError"), (artefact, "ArtefactError")):
        damaged = tmp_path / source.name
        damaged.write_bytes(source.read_bytes()[:-7])
        done = hdlif("eval", damaged, "--data", "digits")
        assert (done.returncode, kind in done.stderr) == (2, True), done.stderr


def test_unreadable_image_names_the_file(artefact, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"no picture")
    done = hdlif("run", artefact, tmp_path / "photo.png")
    assert done.returncode == 2
    assert "InputError" in done.stderr
    assert "photo.png" in done.stderr


def test_a_folder_of_pictures_is_looked_at(tmp_path):
    write_pictures(tmp_path / "photos", 6)
    done = hdlif("data", "inspect", tmp_path / "photos", "--json")
    assert json.loads(done.stdout)["classes"]["cat"] == {"train": 4, "validation": 1, "test": 1}
    assert done.stderr == ""
    shown = hdlif("data", "inspect", tmp_path / "photos", "--size", 8, "--out", tmp_path / "sheet.png").stdout
    assert "trained on     3x8x8, RGB" in shown
    assert (tmp_path / "sheet.png").exists()


def test_module_runs_as_the_command_does():
    run = subprocess.run([sys.executable, "-m", "hdlif", "recipes", "ls"], capture_output=True, text=True, check=True)
    assert run.stdout == hdlif("recipes", "ls").stdout


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "hdlif.cli", "--debug", "recipes", "show", "nothing"]
    assert "Traceback" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.kill
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_resumes_from_the_command_line(number, code, tmp_path):
    arguments = [
        "train",
        "digits_hdlif",
        "--set",
        "model.width=4",
        "--set",
        "training.epochs=6",
        "--out",
        tmp_path / "r",
        "--memory-repeats",
        0,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "hdlif.cli", *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not Path(tmp_path / "r" / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    # A checkpoint of this network does not fit any more, as on a full disk.
    room = (tmp_path / "r" / "last.safetensors").stat().st_size // 2
    full = subprocess.run(
        [sys.executable, "-m", "hdlif.cli", *map(str, arguments), "--resume", "--json"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert len(full.stderr.strip().splitlines()) == 1
    for words in ("cannot be written", "the checkpoint written before is kept", "make room and resume"):
        assert words in full.stderr
    done = hdlif(*arguments, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    steps = [
        (event["event"], event["step"])
        for event in map(json.loads, (tmp_path / "r" / "metrics.jsonl").read_text().splitlines())
    ]
    assert len(steps) == len(set(steps))
    assert steps == sorted(steps, key=lambda event: event[1])


def test_resuming_a_finished_run_changes_nothing(run_folder, tmp_path):
    folder = shutil.copytree(run_folder[0], tmp_path / "net")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    for _ in range(2):
        done = hdlif("train", "digits_hdlif_w1p5_s4_parallel", *FAST, "--out", folder, "--resume", "--json")
        assert json.loads(done.stdout) == run_folder[1]
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_network_trained_in_float64_is_measured_exported_and_run(tmp_path):
    options = [*FAST, "--set", "training.precision=64-true", "--out", tmp_path / "run", "--memory-repeats", 0]
    done = hdlif("train", "digits_hdlif", *options, "--json")
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)
    path = tmp_path / "net.hdlif.safetensors"
    assert hdlif("export", tmp_path / "run", "--to", "artefact", "--out", path).returncode == 0
    for source in (tmp_path / "run", path):
        seen = json.loads(hdlif("eval", source, "--data", "digits", "--json").stdout)
        assert abs(seen["accuracy"] - trained["accuracy"]) < 0.01


def test_train_with_seeds_prints_mean_and_deviation(tmp_path):
    arguments = [*FAST, "--set", "data.train=128", "--out", tmp_path, "--memory-repeats", 0]
    done = hdlif("train", "digits_hdlif", *arguments, "--seeds", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path.name}: ")
    assert done.stdout.endswith(" % (2)\n")
    again = hdlif("train", "digits_hdlif", *arguments, "--seeds", 2, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "seeds.json").read_text())
    assert again.stderr == ""


@pytest.mark.slow
def test_train_with_every_extra_from_a_recipe(tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=10).state_dict(), tmp_path / "teacher.pth")
    (tmp_path / "mine.yaml").write_text(
        "base: digits_hdlif\n"
        "neuron: {parallel: alternate}\n"
        "weights: {kind: ternary}\n"
        "spikes: {kind: quantised}\n"
        "data: {batch_size: 64, mixup: {}}\n"
        "model: {width: 4}\n"
        "training: {epochs: 1, accumulate: 2, clip_norm: 1.0, ema_decay: 0.9, patience: 1, channels_last: true}\n"
        f"teacher: {{kind: timm, name: test_resnet, checkpoint: {tmp_path}/teacher.pth, size: 32}}\n"
    )
    done = hdlif("train", tmp_path / "mine.yaml", "--out", tmp_path / "run", "--memory-repeats", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["training"]["accumulate"] == 2
    # The run folder is a recipe of its own, and its network is found through it.
    assert "base" not in (tmp_path / "run" / "recipe.yaml").read_text()
    assert hdlif("eval", tmp_path / "run").returncode == 0


def test_recipes_are_shown_resolved_and_checked_together(tmp_path):
    shown = hdlif("recipes", "show", "cifar100_resnet18_hdlif_w1", "--resolved")
    assert "epochs: 300" in shown.stdout
    assert "epochs" not in hdlif("recipes", "show", "cifar100_resnet18_hdlif_w1").stdout
    done = hdlif("recipes", "check", "digits_lif", "digits_hdlif")
    assert (done.returncode, done.stdout) == (0, "2 recipes: good\n")
    (tmp_path / "bad.yaml").write_text("base: digits_hdlif\nneuron: {kind: lf}\n")
    refused = hdlif("recipes", "check", "digits_lif", tmp_path / "bad.yaml")
    assert refused.returncode == 2
    assert "1 of 2 recipes are refused" in refused.stderr
    assert "| `cifar100_resnet18_lif` | 71.75 | 44.84 |" in hdlif("recipes", "ls", "--published").stdout
