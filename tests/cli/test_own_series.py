"""From series of one's own through training to `hdlif run` on a file, and what is refused on the way."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from after_epoch import AfterEpoch
from command_line import hdlif
from hdlif.cli import recipes
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.cli.report import report
from hdlif.errors import CheckpointError, DataError, InputError, RecipeError
from hdlif.graph.artefact import InputRecord, load
from hdlif.inputs.series import parse_series, shown
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.recipe_data import load_with_data
from hdlif.runtime import Session
from hdlif.training.tasks import Evaluation
from picture_folders import write_pictures
from series_files import CLASSES, wave, write_arrays, write_csv, write_folders, write_public_arrays, write_recording
from trainings import train

# Few neurons, of which batch norm lets some fire at once.
FAST = ["model.widths=[4, 4]", "data.batch_size=8", "time_steps=8", "training.epochs=2", "norm={kind: batch_norm}"]
FAST += ["training.learning_rate=0.05", "training.optimizer={kind: sgd}"]
CUT = ["data.label=what", "data.group=who", "data.window=8", "data.stride=4"]


def trained(data: Path, out: Path, *overrides: str, **options: Any) -> None:
    train("sines_hdlif", data=str(data), overrides=[*FAST, *overrides], out=out, memory_repeats=0, **options)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    trained(write_folders(root / "data"), root / "run")
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root / "run"


def test_run_gives_what_training_made_of_a_file_to_the_bit(run_folder: Path) -> None:
    path, data = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "data"
    recipe = load_trained(run_folder).recipe
    assert load(path).input == builders.input_record(recipe)
    assert (load(path).labels, load(path).input.kind, load(path).input.shape) == (CLASSES, "series", (2, 1, 1))
    by_logits = {tuple(one["logits"]): Path(one["input"]).parent.name for one in run(path, [data]).as_dict()["inputs"]}
    assert len(by_logits) == 20
    session, seen = Session(path), 0
    for part in builders.build_data(recipe).parts:
        for index in range(len(part)):
            x, label = part.sequence(torch.tensor([index]))
            assert x.shape == (8, 1, 2, 1, 1)
            logits = tuple(session.run(x.contiguous().numpy()).mean(axis=0)[0].tolist())
            assert by_logits[logits] == CLASSES[int(label)]
            seen += 1
    assert seen == 20


def test_an_array_of_the_same_numbers_gives_the_same_answer(run_folder: Path, tmp_path: Path) -> None:
    path, file = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "data" / "slow" / "003.csv"
    values = np.array([line.split(",") for line in file.read_text().splitlines()[1:]], np.float64)
    np.save(tmp_path / "x.npy", values)
    one, other = run(path, [file, tmp_path / "x.npy"]).as_dict()["inputs"]
    assert one["logits"] == other["logits"]


def test_a_recording_is_cut_as_the_training_cut_it_to_the_bit(tmp_path: Path) -> None:
    data, path = write_recording(tmp_path / "r.csv", 12), tmp_path / "net.hdlif.safetensors"
    trained(data, tmp_path / "run", *CUT, "training.epochs=1")
    export(tmp_path / "run", out=path)
    assert load(path).input.windows == (8, 4)
    # Of each person 20 rows of a class, and then of the other: the 4 windows in them are the training's.
    answers = {one["input"]: one["logits"] for one in run(path, [data]).as_dict()["inputs"]}
    assert list(answers)[:2] == [f"{data}:2-9", f"{data}:6-13"]
    assert len(answers) == (12 * 2 * 20 - 8) // 4 + 1
    found, session, seen = builders.build_data(load_trained(tmp_path / "run").recipe), Session(path), 0
    by_logits = {tuple(logits) for logits in answers.values()}
    for part in found.parts:
        for index in range(len(part)):
            x, _ = part.sequence(torch.tensor([index]))
            seen += tuple(session.run(x.contiguous().numpy()).mean(axis=0)[0].tolist()) in by_logits
    assert seen == 12 * 2 * 4
    # What is measured is cut so, too.
    renamed = tmp_path / "renamed.csv"
    renamed.write_text(data.read_text().replace("what", "label", 1))
    assert evaluate(path, data=str(renamed)).n > 8
    assert evaluate(path, data=str(renamed)).n == evaluate(tmp_path / "run").n
    x = np.stack([np.arange(24), np.arange(24)], 1).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert [one["input"] for one in run(path, [tmp_path / "x.npy"]).as_dict()["inputs"]][:2] == [
        f"{tmp_path}/x.npy[0:8]",
        f"{tmp_path}/x.npy[4:12]",
    ]


def test_arrays_of_several_series_are_answered_one_by_one(run_folder: Path, tmp_path: Path) -> None:
    path, files = run_folder.parent / "net.hdlif.safetensors", sorted((run_folder.parent / "data" / "slow").iterdir())
    values = [np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32) for file in files[:3]]
    np.save(tmp_path / "x.npy", np.stack(values))
    np.savez(tmp_path / "xy.npz", x=np.stack(values), y=["slow"] * 3)
    wanted = [one["logits"] for one in run(path, files[:3]).as_dict()["inputs"]]
    for name in ("x.npy", "xy.npz"):
        given = run(path, [tmp_path / name]).as_dict()["inputs"]
        assert [one["input"] for one in given] == [f"{tmp_path / name}[{number}]" for number in range(3)]
        assert [one["logits"] for one in given] == wanted
    np.savez(tmp_path / "y.npz", y=["slow"])
    with pytest.raises(InputError, match=r"y.npz: cannot be read as a series \(it has no array x\); the network takes"):
        run(path, [tmp_path / "y.npz"])
    # Files of one sample each are not cut.
    with pytest.raises(InputError, match="has 9 rows and 2 columns, and the network takes 8 steps"):
        run(path, [write_csv(tmp_path / "x.csv", [[1, 2]] * 9)])


def test_a_file_that_the_network_does_not_take_is_refused(run_folder: Path, tmp_path: Path) -> None:
    for rows, words in (
        ([[1, 2]] * 7, "has 7 rows and 2 columns, and the network takes 8 steps"),
        ([[1, 2]] * 9, "has 9 rows"),
        ([["a", "b"], *[[1, 2]] * 7, [1, ""]], "line 9, column 'b': the cell is empty"),
        ([[1, 2, 3]] * 8, "has 8 rows and 3 columns"),
        ([[1, ""]] * 8, "line 1 is neither names of columns nor numbers"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            run(run_folder.parent / "net.hdlif.safetensors", [write_csv(tmp_path / "x.csv", rows)])


def test_every_verb_takes_the_run_and_the_data(run_folder: Path, tmp_path: Path) -> None:
    data, path = str(run_folder.parent / "data"), run_folder.parent / "net.hdlif.safetensors"
    own = evaluate(run_folder).as_dict(confusion=True)
    assert (own["n"], own["labels"]) == (4, list(CLASSES))
    assert evaluate(run_folder, data=data).accuracy == own["accuracy"]
    assert evaluate(path, data=data).accuracy == own["accuracy"]
    assert profile(str(path), data=data).sops == pytest.approx(profile(str(run_folder)).sops, rel=1e-3)
    with pytest.raises(DataError, match="is a folder of pictures, and the network takes input of kind series"):
        evaluate(path, data=str(write_pictures(tmp_path / "photos", 4)))
    with pytest.raises(InputError, match="input changes at each step"):
        export(path, out=tmp_path / "x.onnx", to="onnx")


def test_resume_is_exact_and_refused_where_a_sample_changed(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")

    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    trained(path, tmp_path / "whole", *CUT)
    with pytest.raises(StoppedError):
        trained(path, tmp_path / "stopped", *CUT, callbacks=[AfterEpoch(stop)])
    kept = path.read_text()
    lines = kept.splitlines()
    path.write_text("\n".join([*lines[:-1], "p5,slow,9,9"]))
    with pytest.raises(DataError, match=r"not as it was when the training in .* began: 1 changed \(r.csv:234-241\)"):
        trained(path, tmp_path / "stopped", *CUT, resume=True)
    # Of another recipe that is what is said, whatever became of the files.
    with pytest.raises(CheckpointError, match=r"was written with training.learning_rate = .*, the recipe says 0.5; "):
        trained(path, tmp_path / "stopped", *CUT, "training.learning_rate=0.5", resume=True)
    with pytest.raises(DataError, match=r"than the network was trained on: 1 changed"):
        evaluate(tmp_path / "whole")
    path.write_text(kept)
    (tmp_path / "moved").mkdir()
    moved = path.rename(tmp_path / "moved" / "r.csv")
    trained(moved, tmp_path / "stopped", *CUT, resume=True, workers=2)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]


def test_what_does_not_go_with_series_is_refused_before_training(tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "x.npz")
    for override, words in (
        ("time_steps=9", "time_steps = 9, and a series has 8"),
        ("data.augment=[flip]", '"flip"'),
        ("data.frames=rows", "data.frames = 'rows'"),
        ("data.size=8", "data.size = 8"),
        ("data.mixup={}", "data.mixup = "),
        ("data.fit=crop", "data.fit = .* is unknown"),
        ("data.window=0", "window = 0"),
        ("data.window=x", 'data.window = "x"'),
    ):
        with pytest.raises(RecipeError, match=words):
            trained(data, tmp_path / "run", override)
        assert [path.name for path in tmp_path.iterdir()] == ["x.npz"], override


def test_time_steps_follow_the_data_that_are_given_unless_they_are_set(tmp_path: Path) -> None:
    said: list[str] = []
    data = str(write_recording(tmp_path / "r.csv"))
    recipe, _ = load_with_data("sines_hdlif", CUT, data=data, say=said.append)
    assert recipe.time_steps == 8
    assert said == ["time_steps = 8, as many as a series has (sines_hdlif has 32)"]
    whole = f"data={{kind: series, path: {write_arrays(tmp_path / 'x.npz')}, batch_size: 4}}"
    assert load_with_data("sines_hdlif", [whole])[0].time_steps == 8
    with pytest.raises(RecipeError, match="time_steps = 9, and a series has 8"):
        load_with_data("sines_hdlif", [*CUT, "time_steps=9"], data=data)
    # A file that states both is as it stands.
    own = tmp_path / "own.yaml"
    own.write_text(f"base: sines_hdlif\ntime_steps: 9\n{whole.replace('=', ': ', 1)}\n")
    with pytest.raises(RecipeError, match="time_steps = 9, and a series has 8"):
        load_with_data(own)


def test_a_key_of_the_split_is_set_alone(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    recipe, found = load_with_data("sines_hdlif", [*CUT, "data.split.test=0.4", "data.batch_size=4"], data=str(path))
    assert recipe.data.arguments["split"] == {"test": 0.4}
    assert found is not None
    assert len({one.file for one in found.manifest.entries if one.part == "test"}) > 8
    assert inspect(str(path), overrides=[*CUT, "data.split.test=0.4"])["split"] == {
        "validation": 0.15,
        "test": 0.4,
        "seed": 0,
    }


def test_recipes_of_another_kind_of_samples_are_refused(tmp_path: Path) -> None:
    arrays, photos = str(write_arrays(tmp_path / "x.npz")), str(write_pictures(tmp_path / "photos", 4))
    with pytest.raises(DataError, match=r"is data of series, and digits_hdlif is of pictures; start .* as sines_hdlif"):
        builders.data_overrides(load_recipe("digits_hdlif"), arrays)
    with pytest.raises(
        DataError, match=r"a folder of pictures, and sines_hdlif is of series; start .* as digits_hdlif"
    ):
        builders.data_overrides(load_recipe("sines_hdlif"), photos)
    # What nothing tells of is of the recipe's kind, which says what it misses.
    (tmp_path / "x.wav").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("x.wav", 'ends in ".wav"; give a .npz'),
        ("empty", "no folder lies in it; lay CSV or WAV files"),
    ):
        with pytest.raises(DataError, match=words):
            trained(tmp_path / name, tmp_path / "none")
    with pytest.raises(DataError, match="the network takes input of kind series"):
        evaluate_sines_on_digits(tmp_path)
    for record, data, given in (
        (InputRecord((2, 1, 1), (0, 0), (1, 1), kind="series"), photos, "arrays x and y, a recording, or files by"),
        (InputRecord((1, 8, 8), (0,), (1,)), arrays, "a folder of pictures by class"),
    ):
        with pytest.raises(DataError, match=f"the network takes input of kind {record.kind}; give {given}"):
            builders.found_data(data, record=record, labels=None, time_steps=8)


def evaluate_sines_on_digits(root: Path) -> None:
    train("sines_hdlif", overrides=["model.widths=[2]", "training.epochs=1"], out=root / "run", memory_repeats=0)
    evaluate(root / "run", data="digits")


def test_a_check_that_builds_finds_the_data_below_their_root(tmp_path: Path) -> None:
    write_public_arrays(tmp_path / "vowels", classes=9, steps=29, channels=12)
    recipes.check("vowels_hdlif", build=True, data_root=tmp_path)
    assert recipes.check_all(["vowels_hdlif"], build=True, data_root=tmp_path) == {"recipes": ["vowels_hdlif"]}
    with pytest.raises(DataError, match="there is no such file or folder"):
        recipes.check("vowels_hdlif", build=True, data_root=tmp_path / "elsewhere")
    command = ["recipes", "check", "vowels_hdlif", "--data-root", str(tmp_path)]
    refused = hdlif(*command)
    assert (refused.returncode, "--data-root" in refused.stderr) == (2, True)
    assert hdlif(*command, "--build").stdout == "vowels_hdlif: good\n"


def test_inspect_names_files_that_are_short_and_that_cannot_be_used(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write_csv(tmp_path / "slow" / "short.csv", [[1, 2]] * 3, ["a", "b"])
    write_csv(tmp_path / "slow" / "one.csv", [[1]] * 8, ["a"])
    for number in range(11):
        (tmp_path / "fast" / f"x{number:02}.csv").write_bytes(b"")
    text = as_text(inspect(str(tmp_path), overrides=["data.window=4"]))
    assert "short          1 file has fewer rows than a window, 4:\n  slow/short.csv: 3 rows\n" in text
    assert "unreadable     12 files; a training refuses them without --set data.unreadable=skip:\n" in text
    assert "\n  fast/x09.csv: it is empty\n  and 2 more" in text
    refused = inspect(str(tmp_path), overrides=["data.window=4"])["unreadable"]
    assert refused[-1] == {"file": "slow/one.csv", "reason": "has 1 column (a), others 2 columns (a, b)"}


def test_inspect_says_what_would_be_trained_on(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    result = inspect(str(path), overrides=CUT)
    assert json.loads(json.dumps(result)) == result
    assert result["classes"] == {name: {"train": 16, "validation": 4, "test": 4} for name in CLASSES}
    lines = as_text(result).splitlines()
    for line in (
        f'{path}: a recording, labels in "what", groups in "who", split here (validation 0.15, test 0.15, seed 0)',
        "samples        48, each of 8 steps: windows, one every 4 rows",
        "channels       2: a, b",
        'kept together  6, each a group of "who": none is in two parts',
        "groups         p0, p1, p2, p3, p4, p5",
        "trained on     a step sees 2 numbers, that time's alone: time_steps=8",
    ):
        assert line in lines
    for overrides, words in (
        (["window=8"], "give data.KEY=VALUE"),
        (["data.window=8", "data.widow=8"], 'did you mean "window"'),
    ):
        with pytest.raises(RecipeError, match=words):
            inspect(str(path), overrides=overrides)
    inspect(str(path), overrides=CUT, out=tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        # 2 classes, 8 windows of each, 128 pixels and gaps of 4, right of the classes' names
        assert image.size[0] > 8 * 132 + 4
        assert image.size[1] == 2 * 132 + 4
        assert len(image.getcolors()) > 3


def test_a_clock_among_the_channels_is_warned_of(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},time", *(f"{row},{0.02 * number}" for number, row in enumerate(rows))]))
    warning = (
        "time rises from row to row all the time, as a clock or a counter does, and is not a reading; leave it out"
    )
    assert f"warning        {warning}" in as_text(inspect(str(path), overrides=CUT))
    assert inspect(str(path), overrides=[*CUT, "data.columns=[a, b]"])["warnings"] == []
    lines: list[str] = []
    trained(path, tmp_path / "run", *CUT, "training.epochs=1", say=lines.append)
    assert any(line.startswith(f"warning: {warning}") for line in lines)


def test_copies_in_two_parts_are_warned_of(tmp_path: Path) -> None:
    x = np.stack([wave(CLASSES[number % 2], number) for number in range(20)])
    y = [CLASSES[number % 2] for number in range(20)]
    np.savez(tmp_path / "x.npz", x=np.concatenate([x, x[:3]]), y=[*y, *y[:3]], part=["train"] * 20 + ["test"] * 3)
    (warning,) = inspect(str(tmp_path / "x.npz"))["warnings"]
    assert warning == "3 samples have copies in several parts: x[0], x[20] and others"


def test_series_of_unequal_lengths_are_trained_on_exported_and_run_as_they_are(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data")
    for label in CLASSES:
        for number in range(5):
            write_csv(data / label / f"00{number}.csv", wave(label, number, 4 + number % 3).tolist(), ["a", "b"])
    assert "samples        20, each of 4 to 8 steps" in as_text(inspect(str(data)))
    trained(data, tmp_path / "run")
    artefact = tmp_path / "net.hdlif.safetensors"
    export(tmp_path / "run", out=artefact)
    record = load(artefact).input
    assert (record.shortest, load(artefact).time_steps) == (4, 8)
    said = run(artefact, [data]).as_dict()["inputs"]
    assert len(said) == 20
    # One by one, by the network that was trained, over a series' own steps alone.
    network = load_trained(tmp_path / "run").network.eval()
    for one in said:
        values = parse_series(Path(one["input"]).read_bytes(), ".csv")
        x = torch.from_numpy(shown(values, record.mean, record.std))[:, None]
        with torch.no_grad():
            logits = network(x, steps=range(len(x)))[0].mean(0)[0]
        assert one["logits"] == pytest.approx(logits.tolist(), abs=1e-4)
    measured = evaluate(tmp_path / "run", part="all")
    deployed = evaluate(artefact, data=str(data), part="all")
    right = sum(Path(one["input"]).parent.name == one["label"] for one in said)
    assert measured.accuracy == deployed.accuracy == right / 20
    drawn = report([tmp_path / "run"])
    assert "left_out" not in drawn
    for override, words in (
        ("training.stream=4", "training.stream goes on from one sample to the next"),
        ("rule={kind: ottt, mse_share: 0.1}", "rule.mse_share is of samples of one length"),
    ):
        with pytest.raises(RecipeError, match=words):
            trained(data, tmp_path / "refused", override)
    write_csv(tmp_path / "short.csv", [[0, 0]] * 3, ["a", "b"])
    with pytest.raises(InputError, match=r"has 3 rows .* the network takes 4 to 8 steps \(rows\) of 2 channels"):
        run(artefact, [tmp_path / "short.csv"])


def test_a_training_without_a_recipe_keeps_the_one_that_followed_and_is_resumed_by_its_folder(tmp_path: Path) -> None:
    data, out, said = write_arrays(tmp_path / "x.npz"), tmp_path / "run", []
    few = ["training.epochs=2", "model.widths=[4]"]
    result = train(None, data=str(data), overrides=few, out=out, memory_repeats=0, say=said.append)
    assert result is not None
    assert (result.name, result.best_epoch, result.validation_accuracy) == ("x", 2, None)
    kept = load_recipe(out / "recipe.yaml")
    assert (kept.model.kind, kept.norm.kind, kept.training.epochs) == ("conv1d", "affine", 2)
    assert any(line.startswith("  rule = ") for line in said)
    page = Path(report([out])["report"]).read_text("utf-8")
    assert "Training samples&#39; accuracy (%) by optimiser update" in page or "Training samples' accuracy (%)" in page
    assert "Validation accuracy" not in page
    again = train(None, out=out, resume=True, memory_repeats=0)
    assert again is not None
    assert again.as_dict() == result.as_dict()
    with pytest.raises(RecipeError, match=r"give RECIPE .* or --data PATH"):
        train(None, out=tmp_path / "other")
