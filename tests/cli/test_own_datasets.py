"""From a map-style data set of one's own through training to `hdlif run`, and what is refused on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from after_epoch import AfterEpoch
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.errors import CheckpointError, DataError, HdlifError, MissingExtraError
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from hdlif.training.tasks import Evaluation
from hostile import one_printable_line
from own_sets import CLASSES, pixels
from own_shards import series_of, write_shard
from picture_folders import write_pictures
from trainings import train

FAST = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=2", "data.augment=[]"]


def trained(data: str, out: Path, *overrides: str, recipe: str = "digits_hdlif", **options: Any) -> None:
    fast = FAST if recipe == "digits_hdlif" else []
    train(recipe, data=data, overrides=[*fast, *overrides], out=out, memory_repeats=0, **options)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    trained("own_sets:Squares", root / "run", "data.count=33")
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root / "run"


def test_every_item_is_listed_and_the_module_is_kept(run_folder: Path) -> None:
    listed = json.loads((run_folder / "data_files.json").read_text())["files"]
    assert len(listed) == 33
    assert listed[4] | {"sha256": ""} == {
        **{"file": "00000004.ppm", "bytes": 11 + 64, "sha256": "", "label": "dog", "part": listed[4]["part"]},
    }
    assert json.loads((run_folder / "parts.json").read_text())["own_sets"]["file"] == "own_sets.py"
    recipe = load_trained(run_folder).recipe
    assert recipe.data.arguments == {"count": 33}
    assert builders.build_data(recipe).classes == CLASSES


def test_run_gives_what_training_made_of_an_item_to_the_bit(run_folder: Path, tmp_path: Path) -> None:
    path, sets = run_folder.parent / "net.hdlif.safetensors", builders.build_data(load_trained(run_folder).recipe)
    for number in range(33):
        Image.fromarray(pixels(number % 3, number)).save(tmp_path / f"{number:02}.png")
    answers = {tuple(one["logits"]) for one in run(path, [tmp_path]).as_dict()["inputs"]}
    session = Session(path)
    x, _ = sets.test.sequence(torch.arange(len(sets.test)))
    for one in range(len(sets.test)):
        assert tuple(session.run(x[:, one : one + 1].numpy()).mean(axis=0)[0].tolist()) in answers


def test_resume_is_exact_and_refused_where_an_item_changed(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    # Read as batches ask for them, by workers too.
    monkeypatch.setattr("hdlif.data.sources.pictures.MOST_KEPT", 0)
    with pytest.raises(StoppedError):
        trained("own_sets:Squares", tmp_path / "run", "data.count=33", callbacks=[AfterEpoch(stop)])
    changed = lambda label, number, side: pixels(label, 99 if number == 7 else number, side)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr("own_sets.pixels", changed)
        with pytest.raises(DataError, match=r"not as it was when the training in .* began: 1 changed \(00000007.ppm\)"):
            trained("own_sets:Squares", tmp_path / "run", "data.count=33", resume=True)
    trained("own_sets:Squares", tmp_path / "run", "data.count=33", resume=True, workers=2)
    files = [(folder / "model.safetensors").read_bytes() for folder in (run_folder, tmp_path / "run")]
    assert files[0] == files[1]


def test_a_module_that_was_edited_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.recipe.runs.own_parts._digest", lambda file: "a" * 64)
    stopped = RuntimeError("stopped")

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise stopped

    with pytest.raises(RuntimeError, match="stopped"):
        trained("own_sets:Squares", tmp_path / "run", callbacks=[AfterEpoch(stop)])
    monkeypatch.setattr("hdlif.recipe.runs.own_parts._digest", lambda file: "b" * 64)
    with pytest.raises(CheckpointError, match=r"own_sets.py \(own_sets\) is another than when this training began"):
        trained("own_sets:Squares", tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("name", "layout", "counts"),
    [
        ("own_sets:Squares", "a data set", (24, 3, 3)),
        ("own_sets:Split", "data sets of train/test", (21, 3, 6)),
        ("own_sets:TrainOrTest", "data sets of train/test", (21, 3, 9)),
        ("own_sets:waves", "a data set", (16, 2, 2)),
    ],
)
def test_parts_are_those_that_the_class_gives(name: str, layout: str, counts: tuple[int, int, int]) -> None:
    result = inspect(name, overrides=["data.split={validation: 0.1, test: 0.1}"])
    assert json.loads(json.dumps(result)) == result
    assert (result["path"], result["layout"]) == (name, layout)
    seen = result["classes"].values()
    assert tuple(sum(parts[part] for parts in seen) for part in ("train", "validation", "test")) == counts
    assert as_text(result).startswith(f"{name}: {layout}, split here (")


def test_floats_and_pictures_of_pil_are_the_same_pictures_as_bytes() -> None:
    shapes = {}
    for name in ("Squares", "Split", "TrainOrTest"):
        found = builders.look(f"own_sets:{name}", f"own_sets:{name}", {})
        train = found.make((), 0).train
        shapes[name] = {entry.sha256 for entry in found.manifest.entries if entry.label == "owl"}
        assert train.read(torch.arange(2)).shape == (2, 1, 8, 8)
    assert shapes["Split"] & shapes["Squares"] == shapes["TrainOrTest"] & shapes["Squares"] != set()


def test_series_train_and_take_their_arguments(tmp_path: Path) -> None:
    small = ["model.widths=[4]", "data.batch_size=8", "time_steps=6", "training.epochs=1", "data.steps=6"]
    trained("own_sets:waves", tmp_path / "run", *small, recipe="sines_hdlif")
    sets = builders.build_data(load_trained(tmp_path / "run").recipe)
    assert (sets.classes, sets.train.sequence(torch.arange(3))[0].shape) == (("5", "10"), (6, 3, 2, 1, 1))
    with pytest.raises(DataError, match="the network takes 6 of 2; give series like those"):
        evaluate(tmp_path / "run", data="own_sets:waves")


def test_a_folder_and_a_data_set_measure_each_other(run_folder: Path, tmp_path: Path) -> None:
    assert evaluate(run_folder, data="own_sets:TrainOrTest").n == 9
    assert evaluate(run_folder.parent / "net.hdlif.safetensors", data="own_sets:TrainOrTest").n == 9
    photos = str(write_pictures(tmp_path / "photos", 10, size=(8, 8), mode="L"))
    assert evaluate(run_folder, data=photos).n == 6
    trained(photos, tmp_path / "run")
    assert evaluate(tmp_path / "run", data="own_sets:TrainOrTest").n == 9


def test_samples_of_another_kind_than_the_network_takes_are_refused(run_folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    write_shard(shards / "a.tar", series_of(range(4)))
    for data in ("own_sets:waves", str(shards)):
        for target in (run_folder, run_folder.parent / "net.hdlif.safetensors"):
            with pytest.raises(DataError, match="is of kind series, and the network takes input of kind image"):
                evaluate(target, data=data)


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("own_sets:Odd", "what=text", "own_sets:Odd, item 0: is a str; give pictures"),
        ("own_sets:Odd", "what=flat", r"is float32 \[2, 2, 2, 2\]; give pictures"),
        ("own_sets:Odd", "what=channels", r"is uint8 \[4, 8, 8\]; pictures have 1 or 3 channels"),
        ("own_sets:Odd", "what=range", r"is float32 with values in .* give pictures of uint8, or of floats in 0..1"),
        ("own_sets:Odd", "what=nan", r"is float32 with values in nan..nan"),
        ("own_sets:Odd", "what=bytes", r"is int8 with values in"),
        ("own_sets:Odd", "what=label", "has the label 0.0; labels are whole numbers of at least 0"),
        ("own_sets:Odd", "what=named", "has the label 'cat'; labels are whole numbers"),
        ("own_sets:Odd", "what='true'", "has the label True; labels are whole numbers"),
        ("own_sets:Odd", "what=negative", "has the label -1; labels are whole numbers of at least 0"),
        ("own_sets:Odd", "what=outside", "has the label 3, and 3 classes: labels are 0..2"),
        ("own_sets:Odd", "what=one class", "all items are of one class, 'cat'; there must be two or more"),
        ("own_sets:Odd", "what=random", "item 0: is another each time that it is read; .* with data.augment"),
        ("own_sets:Odd", "what=triple", r"is a tuple of 3; give \(x, target\)"),
        ("own_sets:Odd", "what=mapping", r"is a dict; give \(x, target\)"),
        ("own_sets:Odd", "what=mixed", "items 1 and 0 are a picture and a series; give one kind"),
        ("own_sets:Odd", "what=fails", "own_sets:Odd, item 3: cannot be read: OSError: the disk"),
        ("own_sets:Odd", "what=empty", "own_sets:Odd: has no items; give some"),
        ("own_sets:Odd", "what=classes", "its classes are 3; give a list of names, or none"),
        ("own_sets:Odd", "what=twice", r"its classes are \['a', 'a', 'b'\]; give each a name of its own"),
        ("own_sets:Odd", "", "data.what is missing; give it a value"),
        ("own_sets:Squares", "cuont=3", 'data.cuont = .* is unknown; .*did you mean "count"'),
        ("own_sets:Squares", "count=many", 'data.count = "many" is refused; it should be a valid integer'),
        ("own_sets:Squares", "split={tests: 0.5}", "split.tests is unknown"),
        ("own_sets:Squares", "fit=middle", 'data.fit = "middle" is unknown; choose one of crop, squash'),
        ("own_sets:Stream", "", r"which is not a map-style data set: it has no __len__; give"),
        ("own_sets:nothing", "", "is None, which is not a map-style data set"),
        ("own_sets:NUMBER", "", 'data.kind = "own_sets:NUMBER" is 3; it must be a class or a function'),
        ("own_sets:Square", "", "own_sets has no Square; it has"),
        ("no_such_module:X", "", "there is no module no_such_module; run where no_such_module.py lies"),
        ("a b:c", "", "is not the name of a part; write package.module:Name"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(tmp_path: Path, name: str, override: str, words: str) -> None:
    with pytest.raises(HdlifError, match=words) as refused:
        trained(name, tmp_path / "run", *([f"data.{override}"] if override else []))
    one_printable_line(refused.value)
    assert not (tmp_path / "run").exists()


def write_arrow(root: Path, *, split: bool = True) -> Path:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets: pip install 'hdlif[arrow]'")

    def part(first: int, count: int) -> Any:
        rows = {
            "image": [Image.fromarray(pixels(n % 3, first + n)) for n in range(count)],
            "label": [n % 3 for n in range(count)],
            "note": ["x"] * count,
        }
        label = datasets.ClassLabel(names=list(CLASSES))
        features = datasets.Features({"image": datasets.Image(), "label": label, "note": datasets.Value("string")})
        return datasets.Dataset.from_dict(rows, features=features)

    saved = datasets.DatasetDict(train=part(0, 24), test=part(100, 6)) if split else part(0, 30)
    saved.save_to_disk(str(root))
    return root


def test_what_the_package_datasets_has_saved_is_trained_on(tmp_path: Path) -> None:
    data = write_arrow(tmp_path / "data")
    assert builders.kind_at(str(data)) == "arrow"
    result = inspect(str(data))
    assert result["classes"] == {name: {"train": 7, "validation": 1, "test": 2} for name in CLASSES}
    trained(str(data), tmp_path / "run", "training.epochs=1")
    assert evaluate(tmp_path / "run").n == 6
    for override, words in (
        (
            "data.column=picture",
            r"has no column 'picture'; it has image \(Image\), label \(ClassLabel\), note \(Value\)",
        ),
        ("data.column=note", "item 0 of train: is a str; give pictures"),
        ("data.label=note", "has the label 'x'; labels are whole numbers"),
    ):
        with pytest.raises(DataError, match=words):
            inspect(str(data), overrides=[override])
    whole = write_arrow(tmp_path / "whole", split=False)
    assert inspect(str(whole))["layout"] == "a data set"
    for file in whole.glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read by the package datasets") as refused:
        inspect(str(whole))
    one_printable_line(refused.value)


def test_lists_of_numbers_in_a_column_are_series(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets: pip install 'hdlif[arrow]'")
    rows = {"x": [np.random.default_rng(n).normal(size=(4, 2)).tolist() for n in range(20)], "label": [0, 1] * 10}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "data"))
    result = inspect(str(tmp_path / "data"))
    assert (result["samples_of"], result["input"]["shape"]) == ("series", [2, 4, 1])


def test_without_the_package_datasets_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(MissingExtraError, match=r"the package datasets is needed for it; pip install 'hdlif\[arrow\]'"):
        inspect(str(tmp_path))
