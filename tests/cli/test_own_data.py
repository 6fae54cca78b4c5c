"""Data of one's own, of each kind: through training to `hdlif eval`, `profile` and `run`, in whatever form."""

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from after_epoch import AfterEpoch
from cases import naming
from cli.own_kinds import KINDS, Made
from hdlif.cli.bench import bench
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.errors import CheckpointError, DataError, InputError, RecipeError
from hdlif.graph.artefact import load
from hdlif.inputs.series import parse_series, shown
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.report.recording_page import recording_page
from hdlif.runtime import Session
from hdlif.training.checkpoint import save_model
from hdlif.training.tasks import Evaluation
from recorded_events import aedat2_bytes, fields, recording
from series_files import CLASSES, wave, write_csv, write_folders
from sound_files import tone, wav_bytes, write_sounds

Own = Callable[[str], Made]


@pytest.mark.parametrize("name", KINDS)
def test_run_gives_what_training_was_shown_to_the_bit(name: str, own: Own, tmp_path: Path) -> None:
    kind, made = KINDS[name], own(name)
    recipe, graph = load_trained(made.run).recipe, load(made.network)
    assert (graph.input, graph.labels) == (builders.input_record(recipe), kind.classes)
    classes = defaultdict(set)
    for one in run(made.network, [kind.shown(tmp_path) if kind.shown else Path(made.data)]).inputs:
        classes[tuple(one.answer["logits"])].add(kind.class_of(one.input))
    session, parts = Session(made.network), builders.build_data(recipe).parts
    assert sum(map(len, parts)) == kind.samples
    for part in parts:
        x, targets = part.plain().sequence(torch.arange(len(part)))
        for index, target in enumerate(targets):
            (logits,) = session.run(x[:, index : index + 1].contiguous().numpy()).mean(axis=0)
            assert kind.classes[target] in classes[tuple(logits.tolist())]


@pytest.mark.parametrize("name", KINDS)
def test_each_subcommand_takes_the_run_the_network_and_the_data(name: str, own: Own) -> None:
    kind, made = KINDS[name], own(name)
    tested = evaluate(made.run)
    assert (tested.n, tested.labels) == (kind.tested, kind.classes)
    for network in (made.run, made.network):
        assert evaluate(network, data=made.data, overrides=kind.described).accuracy == tested.accuracy
    of_run, of_file = profile(str(made.run)), profile(str(made.network), data=made.data, overrides=kind.described)
    assert of_run.images == kind.tested
    assert of_file.sops == pytest.approx(of_run.sops, rel=1e-3)
    # What was found stands in the run folder.
    listed, recipe = json.loads((made.run / "data_files.json").read_text()), load_trained(made.run).recipe
    assert len(listed["files"]) == kind.samples
    assert recipe.data.found is not None
    assert recipe.data.found.digest == listed["digest"]
    assert json.loads((made.run / "confusion.json").read_text())["labels"] == list(kind.classes)


def test_a_training_does_not_go_on_where_a_sample_changed(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in KINDS.items():
        if kind.change is None:
            continue
        out = shutil.copytree(own(name).run, tmp_path / name / "run")
        (out / "summary.json").unlink()
        copy = kind.write(tmp_path / name / "copy")
        with naming(name), monkeypatch.context() as patched:
            changed = kind.change(Path(copy), patched)
            with pytest.raises(DataError, match=f"has changed since the training in .* began: {changed}"):
                kind.train(copy, out, resume=True)
            with pytest.raises(CheckpointError, match=r"training\.learning_rate"):
                kind.train(copy, out, "training.learning_rate=0.5", resume=True)


def test_a_training_goes_on_to_the_same_bytes_wherever_its_data_lie(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    kind, made, out = KINDS["pictures"], own("pictures"), tmp_path / "run"
    # Pictures are read as batches ask for them, by workers too.
    monkeypatch.setattr("hdlif.data.sources.pictures.MOST_KEPT", 0)
    with pytest.raises(StoppedError):
        kind.train(made.data, out, callbacks=[AfterEpoch(stop)])
    kind.train(kind.write(tmp_path / "moved"), out, resume=True, workers=2)
    assert (out / "model.safetensors").read_bytes() == (made.run / "model.safetensors").read_bytes()


def test_a_run_is_not_tested_on_data_that_changed_or_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["pictures"]
    assert kind.change is not None
    data, out = Path(kind.write(tmp_path)), tmp_path / "run"
    kind.train(data, out, "training.epochs=1")
    moved = shutil.copytree(data, tmp_path / "moved")
    with pytest.raises(DataError, match=kind.change(data, monkeypatch)):
        evaluate(out)
    shutil.rmtree(data)
    with pytest.raises(DataError, match="--data"):
        evaluate(out)
    assert evaluate(out, data=str(moved)).n == kind.tested


def test_a_run_and_its_file_are_tested_alike_on_pictures_of_the_last_class(own: Own, tmp_path: Path) -> None:
    kind, made, said = KINDS["pictures"], own("pictures"), list[str]()
    last = kind.classes[-1]
    shutil.copytree(Path(made.data) / last, tmp_path / "some" / last)
    found = [evaluate(place, data=tmp_path / "some", part="all", say=said.append) for place in (made.run, made.network)]
    for one in found:
        assert one.accuracy_per_class is not None
        assert (one.labels, one.accuracy_per_class[-1]) == (kind.classes, one.accuracy)
        assert set(one.accuracy_per_class[:-1]) == {None}
    assert found[0].accuracy == found[1].accuracy
    assert sum("has no samples of" in line for line in said) == 2


def test_run_needs_no_torch(own: Own) -> None:
    files = {"series": "data/slow/003.csv", "recording": "data.csv", "sounds": "data/low/p0_0.wav"}
    files |= {"events": "data/left/001.npz", "table": "data.csv", "pictures": "data/cat/001.png"}
    pairs = [(str(own(name).network), str(own(name).run.parent / file)) for name, file in files.items()]
    code = """
import json, sys
sys.modules["torch"] = None
from pathlib import Path
from hdlif.cli.predict import predict_files
print(json.dumps([predict_files(Path(net), [Path(file)]).as_dict() for net, file in json.loads(sys.argv[1])]))
assert not [name for name in sys.modules if name.startswith(("torchvision", "lightning"))]
"""
    child = subprocess.run([sys.executable, "-c", code, json.dumps(pairs)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == [run(Path(net), [Path(file)]).as_dict() for net, file in pairs]


def test_data_of_another_kind_than_the_networks_are_refused(own: Own) -> None:
    for name, data in (
        ("series", own("pictures").data),
        ("pictures", own("series").data),
        ("data set", "own_sets:waves"),
        ("data set", own("events").data),
        ("sounds", own("series").data),
        ("series", "digits"),
        ("events", "digits"),
    ):
        for network in (own(name).run, own(name).network):
            with pytest.raises((DataError, RecipeError)):
                evaluate(network, data=data)


def logits(network: Path, *paths: Path) -> list[list[float]]:
    return [one.answer["logits"] for one in run(network, list(paths)).inputs]


def places(network: Path, path: Path) -> list[str]:
    return [one.input.removeprefix(str(path)) for one in run(network, [path]).inputs]


def test_series_are_answered_alike_as_files_and_as_arrays(own: Own, tmp_path: Path) -> None:
    network = own("series").network
    files = sorted((Path(own("series").data) / "slow").iterdir())[:3]
    values = [np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32) for file in files]
    np.save(tmp_path / "one.npy", values[0].astype(np.float64))
    np.save(tmp_path / "x.npy", np.stack(values))
    np.savez(tmp_path / "xy.npz", x=np.stack(values), y=["slow"] * 3)
    expected = logits(network, *files)
    assert logits(network, tmp_path / "one.npy") == expected[:1]
    for name in ("x.npy", "xy.npz"):
        assert logits(network, tmp_path / name) == expected
        assert places(network, tmp_path / name) == ["[0]", "[1]", "[2]"]


def test_a_recording_is_cut_as_the_training_cut_it(own: Own, tmp_path: Path) -> None:
    network, data = own("recording").network, Path(own("recording").data)
    assert load(network).input.windows == (8, 4)
    cut = places(network, data)
    assert cut[:2] == [":2-9", ":6-13"]
    # Windows of both classes are answered for, of which no training knows.
    assert len(cut) == (6 * 2 * 20 - 8) // 4 + 1
    np.save(tmp_path / "x.npy", np.zeros((24, 2), np.float32))
    assert places(network, tmp_path / "x.npy")[:2] == ["[0:8]", "[4:12]"]


def test_windows_of_a_long_sound_are_answered_one_by_one(tmp_path: Path) -> None:
    data, out, network = write_sounds(tmp_path / "data", seconds=0.5), tmp_path / "run", tmp_path / "net"
    KINDS["sounds"].train(data, out, "data.clips=windows", "data.every=0.125", "training.epochs=1")
    export(out, out=network)
    assert places(network, data / "low" / "p0_0.wav") == ["@0s", "@0.125s", "@0.25s"]
    assert evaluate(network, data=str(data)).n == evaluate(out).n


def test_files_that_the_network_does_not_take_are_refused(own: Own, tmp_path: Path) -> None:
    for name, rows, words in (
        ("series", [[1, 2]] * 7, "has 7 rows and 2 columns, but the network takes 8 steps"),
        ("series", [[1, 2, 3]] * 8, "has 8 rows and 3 columns"),
        ("series", [[1, ""]] * 8, "line 1 contains neither column names nor numbers"),
        ("table", [["width"], [1]], "it has no column 'height'"),
        ("table", [["width", "height"], [1, "tall"]], "line 2, column 'height': 'tall' is not a number"),
        ("table", [[1, 2, 3]], "its rows have 3"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            logits(own(name).network, write_csv(tmp_path / "x.csv", rows))
    np.savez(tmp_path / "y.npz", y=["slow"])
    np.save(tmp_path / "far.npy", fields(recording(9, side=30)))
    (tmp_path / "other.aedat").write_bytes(aedat2_bytes(recording(9, side=30)))
    np.save(tmp_path / "empty.npy", fields(recording(0, side=30)))
    (tmp_path / "cut.wav").write_bytes(wav_bytes(tone("low", 1))[:-10])
    for name, file, words in (
        ("series", "y.npz", "it has no array x"),
        ("events", "far.npy", "the sensor has 0..11"),
        ("events", "other.aedat", "its sensor has 128x128"),
        ("events", "empty.npy", "it contains no event"),
        ("events", "none.npz", "there is no such file"),
        ("sounds", "cut.wav", "its chunk 'data' should have"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            logits(own(name).network, tmp_path / file)


def test_series_of_unequal_lengths_are_trained_on_exported_and_run_as_they_are(tmp_path: Path) -> None:
    kind, out, network = KINDS["series"], tmp_path / "run", tmp_path / "net"
    data = write_folders(tmp_path / "data")
    for label in CLASSES:
        for number in range(5):
            write_csv(data / label / f"00{number}.csv", wave(label, number, 4 + number % 3).tolist(), ["a", "b"])
    assert "20, each of 4 to 8 steps" in as_text(inspect(str(data)))
    kind.train(data, out)
    export(out, out=network)
    record = load(network).input
    assert (record.shortest, load(network).time_steps) == (4, 8)
    answers = run(network, [data]).inputs
    assert len(answers) == 20
    # One by one, by the network that was trained, over a series' own steps alone.
    trained = load_trained(out).network.eval()
    for one in answers:
        values = parse_series(Path(one.input).read_bytes(), ".csv")
        x = torch.from_numpy(shown(values, record.mean, record.std))[:, None]
        with torch.no_grad():
            (expected,) = trained(x, steps=range(len(x)))[0].mean(0)
        assert one.answer["logits"] == pytest.approx(expected.tolist(), abs=1e-4)
    right = sum(Path(one.input).parent.name == one.answer["label"] for one in answers)
    assert evaluate(out, part="all").accuracy == evaluate(network, data=str(data), part="all").accuracy == right / 20
    for override in ("training.stream=4", "rule={kind: ottt, mse_share: 0.1}"):
        with pytest.raises(RecipeError):
            kind.train(data, tmp_path / "refused", override)
    with pytest.raises(InputError, match="4 to 8 steps"):
        logits(network, write_csv(tmp_path / "short.csv", [[0, 0]] * 3, ["a", "b"]))


def saved(folder: Path, recipe: Recipe) -> Path:
    """An untrained network as a checkpoint, and its model file."""
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", builders.build_model(recipe), {"recipe": recipe.model_dump(mode="json")})
    export_file(folder, out=folder / "net.hdlif.safetensors")
    return folder


RECIPE = load_recipe("digits_events_hdlif", ["model.width=4", "time_steps=4"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("events"), RECIPE)


def test_checkpoint_bins_a_named_set_as_its_recipe_says(tmp_path: Path) -> None:
    chosen = load_recipe("digits_events_hdlif", ["model.width=4", "time_steps=4", "data.frames=by_time"])
    saved(tmp_path, chosen)
    assert evaluate(tmp_path, data="digits_events") == evaluate(tmp_path)
    record, indices = builders.input_record(chosen), torch.arange(4)
    by_time = builders.build_data(chosen).test.sequence(indices)[0]
    # A record says how recordings are binned; of an older file, which does not, they are by number.
    for known, same in ((record, True), (replace(record, binning="none", sensor=None), False)):
        named = builders.named_data("digits_events", None, record=known, time_steps=4).test.sequence(indices)[0]
        assert torch.equal(named, by_time) == same


def test_counts_of_any_size_are_run_as_they_are_and_recordings_are_binned(folder: Path, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 256, (4, 2, 8, 8), dtype=np.uint8)
    forms = {"bytes": counts, "floats": counts.astype(np.float32), "many": 1000 * counts.astype(np.float32)}
    for name, array in forms.items():
        np.save(tmp_path / f"{name}.npy", array)
    network = folder / "net.hdlif.safetensors"
    one, two, many = (run(network, [tmp_path / f"{name}.npy"]).inputs[0].answer["logits"] for name in forms)
    assert one == two
    np.testing.assert_allclose(many, Session(network).run(forms["many"][:, None]).mean(axis=0)[0], rtol=1e-6)
    np.save(tmp_path / "recording.npy", fields(recording(30, side=8)))
    assert len(run(network, [tmp_path / "recording.npy"]).inputs) == 1


@pytest.mark.slow
def test_a_recording_is_drawn_as_its_events_a_step(folder: Path, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 3, (4, 2, 8, 8))
    np.save(tmp_path / "counts.npy", counts.astype(np.float32))
    text = recording_page(folder / "net.hdlif.safetensors", tmp_path / "counts.npy")
    assert "one frame of events per step" in text
    assert all(f"<span>{polarity}</span>" in text for polarity in ("off", "on"))


def test_what_is_of_images_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    network = folder / "net.hdlif.safetensors"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for use, words in (
        (lambda: run(network, [tmp_path / "a.png"]), "its name ends in '.png'; expected"),
        (lambda: bench(network, against=""), "input of kind events"),
        (lambda: export_file(network, out=tmp_path / "net.onnx", to="onnx"), "--form step"),
    ):
        with pytest.raises(InputError, match=words):
            use()
