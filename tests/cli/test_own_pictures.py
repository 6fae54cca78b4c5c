"""From a folder of pictures through training to `hdlif run` on one of them, and what is refused on the way."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from after_epoch import AfterEpoch
from hdlif.cli.ablate import ablate
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.cli.sweep import sweep
from hdlif.errors import CheckpointError, DataError, ExistingRunError, InputError, TrainingError
from hdlif.graph.artefact import load
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.recipe_data import Looks
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.data_sheet import sheet
from hdlif.report.engine_times import images_of
from hdlif.runtime import Session
from hdlif.training.tasks import Evaluation
from picture_folders import CLASSES, write_pictures
from stub_training import stub
from trainings import train

FAST = ("model.width=4", "model.blocks=[1]", "data.batch_size=8", "data.size=8", "training.epochs=2")
ON_PHOTOS = [*FAST, "training.epochs=1", "data={kind: folder, path: photos, batch_size: 8, size: 8}"]


def trained(folder: Path, out: Path, *overrides: str, **options: Any) -> TrainResult | None:
    return train("digits_hdlif", data=str(folder), overrides=[*FAST, *overrides], out=out, memory_repeats=0, **options)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    said: list[str] = []
    summary = trained(write_pictures(root / "photos", 10), root / "run", say=said.append)
    assert summary is not None
    assert summary.accuracy is not None
    assert said == [
        f"{root / 'photos'}: 30 samples of 3 classes (cat 10, dog 10, owl 10); 18 to train, 6 to validate, 6 to test; "
        + said[0].rpartition("; ")[2]
    ]
    return root / "run"


def test_a_run_keeps_what_its_data_were(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    found = summary["recipe"]["data"]["found"]
    listed = json.loads((run_folder / "data_files.json").read_text())
    assert found["classes"] == list(CLASSES)
    assert found["digest"] == listed["digest"]
    assert len(listed["files"]) == 30
    assert json.loads((run_folder / "confusion.json").read_text())["labels"] == list(CLASSES)


def test_run_gives_what_training_made_of_a_raw_picture(run_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.hdlif.safetensors"
    export(run_folder, out=path)
    assert load(path).labels == CLASSES
    recipe = load_trained(run_folder).recipe
    assert load(path).input == builders.input_record(recipe)
    photos = run_folder.parent / "photos"
    files = [entry["file"] for entry in json.loads((run_folder / "data_files.json").read_text())["files"]]
    results = run(path, [photos / file for file in files]).as_dict()["inputs"]
    by_logits = {tuple(result["logits"]): Path(result["input"]).parent.name for result in results}
    session = Session(path)
    for part in builders.build_data(recipe).parts:
        for index in range(len(part)):
            x, label = part.plain().sequence(torch.tensor([index]))
            logits = tuple(session.run(x.contiguous().numpy()).mean(axis=0)[0].tolist())
            assert by_logits[logits] == CLASSES[int(label)]


def test_every_verb_takes_the_run_and_the_folder(run_folder: Path, tmp_path: Path) -> None:
    photos, path = str(run_folder.parent / "photos"), tmp_path / "net.hdlif.safetensors"
    export(run_folder, out=path)
    own = evaluate(run_folder).as_dict(confusion=True)
    assert (own["n"], own["labels"]) == (6, list(CLASSES))
    assert evaluate(run_folder, data=photos).accuracy == own["accuracy"]
    assert evaluate(path, data=photos).accuracy == own["accuracy"]
    assert profile(str(run_folder)).images == 6
    assert profile(str(path), data=photos).sops == pytest.approx(profile(str(run_folder)).sops, rel=1e-3)
    images = images_of(load(path).input, photos, None, compared=7)
    assert images.compared.shape == (7, 3, 8, 8)
    untrained = tmp_path / "own.yaml"
    untrained.write_text((run_folder / "recipe.yaml").read_text())
    assert not profile(str(untrained)).trained


def test_resume_is_exact_and_refused_where_a_file_changed(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 10)

    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    trained(photos, tmp_path / "whole")
    with pytest.raises(StoppedError):
        trained(photos, tmp_path / "stopped", callbacks=[AfterEpoch(stop)])
    kept = (photos / "cat" / "001.png").read_bytes()
    (photos / "cat" / "001.png").write_bytes((photos / "dog" / "001.png").read_bytes())
    with pytest.raises(DataError, match=r"not as it was when the training in .*stopped began: 1 changed .*001.png"):
        trained(photos, tmp_path / "stopped", resume=True)
    with pytest.raises(DataError, match=r"1 changed"):
        trained(photos, tmp_path / "whole", resume=True)
    with pytest.raises(DataError, match=r"than the network was trained on: 1 changed \(cat/001.png\)"):
        evaluate(tmp_path / "whole")
    (photos / "cat" / "001.png").write_bytes(kept)
    moved = photos.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"photos: what the network was trained on is not there; .* --data"):
        evaluate(tmp_path / "whole")
    trained(moved, tmp_path / "stopped", resume=True)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    with pytest.raises(ExistingRunError):
        trained(moved, tmp_path / "whole")
    with pytest.raises(CheckpointError, match=r"with data.fit = None, the recipe says 'crop'"):
        trained(moved, tmp_path / "stopped", "data.fit=crop", resume=True)


def test_pictures_that_are_read_by_workers_train_to_the_same_bytes(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdlif.data.sources.pictures.MOST_KEPT", 0)
    trained(run_folder.parent / "photos", tmp_path / "run", workers=2)
    files = [(folder / "model.safetensors").read_bytes() for folder in (run_folder, tmp_path / "run")]
    assert files[0] == files[1]


@pytest.mark.parametrize("damage", ["damaged", "one class", "too few", "no folder", "batch"])
def test_bad_data_leave_nothing_behind(tmp_path: Path, damage: str) -> None:
    photos = write_pictures(tmp_path / "photos", 2 if damage == "too few" else 6)
    overrides = ["data.batch_size=64"] if damage == "batch" else []
    if damage == "damaged":
        (photos / "cat" / "bad.png").write_bytes(b"no picture")
    if damage == "one class":
        photos = photos / "cat"
    if damage == "no folder":
        photos = photos / "cat" / "001.png"
    with pytest.raises(DataError):
        trained(photos, tmp_path / "run", *overrides)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_inspect_says_what_would_be_trained_on(run_folder: Path, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 10)
    (photos / "cat" / "bad.png").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("x")
    (photos / "dog" / "cat.png").write_bytes((photos / "cat" / "001.png").read_bytes())
    result = inspect(str(photos), size=8, out=tmp_path / "sheet.png")
    assert json.loads(json.dumps(result)) == result
    assert result["classes"]["owl"] == {"train": 6, "validation": 2, "test": 2}
    assert result["input"]["shape"] == [3, 8, 8]
    text = as_text(result)
    for line in (
        f"{photos}: folders of classes, split here (validation 0.15, test 0.15, seed 0)",
        "modes          L 19, RGB 12",
        "trained on     3x8x8, RGB: all of it, squashed where proportions differ, bilinear",
        "passed over    1 .txt",
        "unreadable     1 file; a training refuses it without --set data.unreadable=skip:",
        "warning        1 sample has copies in several classes: cat/001.png, dog/cat.png",
    ):
        assert line in text.splitlines()
    with Image.open(tmp_path / "sheet.png") as image:
        # 8 pictures of 8x8, 16 times as large, with gaps of 4, in 3 rows, right of the classes' names.
        assert image.size[0] > 8 * 132 + 4
        assert image.size[1] == 3 * 132 + 4
    with pytest.raises(TrainingError, match="cannot be made there"):
        inspect(str(photos), out=tmp_path / "sheet.png" / "x.png")


def test_a_sheet_shows_what_the_network_sees(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path, 6, size=(40, 64), mode="L")
    data = builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos))
    train = data.make((), 0).train
    first = train.read(torch.nonzero(train.labels == 0)[:1, 0])[0, 0].numpy()
    # 64 high: twice as large; 8 in a row, with gaps of 4.
    drawn, rows = sheet(data)
    assert rows == "a row for each class"
    left = drawn.shape[1] - 8 * 84
    np.testing.assert_array_equal(drawn[4 : 4 + 128, left : left + 80][::2, ::2, 1], first)


def test_each_row_of_a_sheet_has_the_name_of_its_class(tmp_path: Path) -> None:
    def names(*classes: str) -> list[NDArray[np.uint8]]:
        photos = write_pictures(tmp_path / "-".join(classes), 6, size=(8, 8), mode="L", classes=classes)
        drawn, _ = sheet(builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos)))
        left = drawn.shape[1] - 8 * 132 - 4
        return [drawn[row * 132 + 4 : row * 132 + 132, :left] for row in range(len(classes))]

    ants, bees = names("ants", "bees")
    assert (ants < 128).any()
    assert (ants != bees).any()
    # The same word is the same picture in another row, and one that the font does not have breaks nothing.
    np.testing.assert_array_equal(names("a", "ants", "bees")[1], ants)
    assert names("\u732b", "x" * 200)[1].shape[1] < 400


@pytest.mark.slow
def test_a_report_names_the_file_that_the_neurons_see(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 6, size=(8, 8), mode="L")
    trained(photos, tmp_path / "mine")
    page = Path(report([tmp_path / "mine"])["report"]).read_text()
    assert "mine classifies" in page
    assert re.search(r" of \d+ test images correctly \(one image is [\d.]+ points?; one run\)", page)
    (file,) = set(re.findall(r"on test sample 0, (\S+) \(class", page))
    data = builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos))
    with Image.open(photos / file) as image:
        np.testing.assert_array_equal(data.make((), 0).test.read(torch.tensor([0]))[0, 0].numpy(), np.asarray(image))
    # Where it is not kept which files there were, none is named.
    (tmp_path / "mine" / "data_files.json").unlink()
    assert "on test sample 0 (class" in Path(report([tmp_path / "mine"])["report"]).read_text()


def test_a_recipe_of_ones_own_names_its_folder(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", 6)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "base: digits_hdlif\n"
        "model: {width: 4, blocks: [1]}\n"
        f"data: {{kind: folder, path: {tmp_path}/photos, batch_size: 8, size: 8, fit: crop, channels: 1}}\n"
        "training: {epochs: 1}\n"
    )
    summary = train(recipe, out=tmp_path / "run", memory_repeats=0)
    assert summary is not None
    assert summary.recipe["data"]["found"]["input"]["shape"] == [1, 8, 8]
    assert summary.recipe["data"]["found"]["input"]["fit"] == "crop"
    assert load_recipe(tmp_path / "run" / "recipe.yaml").model_dump(mode="json") == summary.recipe


def test_a_folder_is_looked_at_once_however_many_recipes_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "photos", 6)
    looked: list[Path] = []
    find = builders.with_data_found

    def counting(recipe: Recipe, root: Path | None) -> Any:
        looked.append(root)
        return find(recipe, root)

    monkeypatch.setattr(builders, "with_data_found", counting)
    look = Looks(tmp_path)
    recipes = [look(load_recipe("digits_hdlif", [*ON_PHOTOS, f"seed={seed}"])) for seed in (1, 2)]
    assert looked == [tmp_path]
    assert recipes[0].data == recipes[1].data
    assert look(load_recipe("digits_hdlif", [*ON_PHOTOS, "data.fit=crop"])).data != recipes[0].data
    assert look(load_recipe("digits_hdlif")) == load_recipe("digits_hdlif")
    assert len(looked) == 2


def test_seeds_a_table_and_a_search_train_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained has the data as they were found, and one split for all seeds."""
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    write_pictures(tmp_path / "photos", 6)
    seen: list[tuple[Recipe, Path, Any]] = []
    for module in ("seeds", "ablation_queue", "sweep_trials"):
        monkeypatch.setattr(f"hdlif.cli.{module}.train_in_one_process", stub(seen))
    given: dict[str, Any] = {"overrides": ON_PHOTOS, "data_root": tmp_path}
    train_seeds("digits_hdlif", seeds=2, out=tmp_path / "runs", **given)
    cells = {"title": "t", "base": "digits_hdlif", "seeds": 1, "rows": {"a": []}, "columns": {"b": []}}
    (tmp_path / "table.yaml").write_text(json.dumps(cells | {"overrides": ON_PHOTOS}))
    for _ in range(2):
        result = ablate(str(tmp_path / "table.yaml"), data_root=tmp_path, out=tmp_path / "out")
    assert result["rows"]["a"]["b"]["n"] == 1
    (tmp_path / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.01, high: 0.3}\n")
    found = sweep("digits_hdlif", space=tmp_path / "space.yaml", trials=1, out=tmp_path / "sweep", **given)
    assert [trial.state for trial in found.trials] == ["complete"]
    assert len(seen) == 4
    digests = {one.data.found.digest for one, *_ in seen if one.data.found is not None}
    assert len(digests) == 1


def test_a_part_that_is_taken_for_a_class_is_warned_of(tmp_path: Path) -> None:
    for label in ("trian", "test"):
        write_pictures(tmp_path / "photos" / label, 8)
    (warning,) = [line for line in inspect(str(tmp_path / "photos"))["warnings"] if "part of" in line]
    assert warning.startswith(
        '"test" is taken for a class; if it is a part of the data, the folders are called train, val'
    )


def test_an_artefact_is_not_written_under_the_name_of_another_format(run_folder: Path, tmp_path: Path) -> None:
    for name in ("net.onnx", "net.nir"):
        with pytest.raises(InputError, match=name):
            export(run_folder, out=tmp_path / name)
