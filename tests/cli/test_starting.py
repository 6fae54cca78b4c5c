"""`hdlif train --from`: a training that starts from the weights of a trained network."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

import hdlif
from command_line import hdlif as command
from hdlif.errors import CheckpointError, InputError
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.recipe_data import load_recipe_to_train, load_with_data
from hdlif.training import checkpoint
from picture_folders import write_pictures

SMALL = ("model.width=4", "data.train=128", "model.blocks=[1]", "training.epochs=1")
MODEL = "model.safetensors"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hdlif.Run:
    return hdlif.train("digits_hdlif", overrides=SMALL, out=tmp_path_factory.mktemp("start") / "run")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("start") / "pets", 12)


def starting(run: hdlif.Run, *overrides: str, data: Path | str | None = None) -> Recipe:
    lines: list[str] = []
    changes = ["data.batch_size=8", *overrides] if data is not None else overrides
    given = None if data is None else str(data)
    recipe, _ = load_recipe_to_train(None, overrides=changes, data=given, start=str(run.folder), say=lines.append)
    assert any("training.learning_rate" in line for line in lines) != ("training.learning_rate=0.5" in overrides)
    return recipe


def built(recipe: Recipe, lines: list[str]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return builders.build_started(recipe, say=lines.append).state_dict()


def fresh(recipe: Recipe) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return builders.build_model(recipe).state_dict()


def test_other_classes_have_a_new_last_layer_and_the_other_weights(run: hdlif.Run, pictures: Path) -> None:
    recipe, lines = starting(run, data=pictures), []
    trained, own, new = checkpoint.load(run.folder / MODEL)[0], built(recipe, lines), fresh(recipe)
    assert own.keys() == trained.keys()
    last = {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(own[name], trained[name]) for name in own.keys() - last)
    assert all(torch.equal(own[name], new[name]) for name in last)
    assert own["classifier.bias"].shape == (3,)
    assert lines[0].endswith("these layers are new: classifier")


def test_as_many_other_classes_have_a_new_last_layer_too(run: hdlif.Run, tmp_path: Path) -> None:
    ten = tuple("abcdefghij")
    recipe, lines = starting(run, data=write_pictures(tmp_path / "ten", 6, classes=ten)), []
    assert torch.equal(built(recipe, lines)["classifier.weight"], fresh(recipe)["classifier.weight"])
    assert lines


def test_the_same_classes_have_all_weights(run: hdlif.Run) -> None:
    recipe, lines = starting(run), []
    own, trained = built(recipe, lines), checkpoint.load(run.folder / MODEL)[0]
    assert all(torch.equal(own[name], trained[name]) for name in trained)
    assert lines == []


def test_every_head_of_a_detector_is_new() -> None:
    from hdlif.recipe.builders.start import _of_outputs

    recipe = load_recipe("digits_hdlif", ["model={kind: detector, width: 4, strides: [4, 8], head_width: 4}"])
    found = _of_outputs(recipe, builders.build_model(recipe))
    assert {name.split(".")[1] for name in found} == {"level4", "level8"}
    assert len(found) == 4


def test_the_recipe_repeats_the_training(run: hdlif.Run, pictures: Path, tmp_path: Path) -> None:
    """It states the weights by their SHA-256, and the smaller learning rate as a number."""
    first = hdlif.train(data=pictures, start=run, overrides=["data.batch_size=8"], out=tmp_path / "first")
    recipe = load_recipe(first.folder / "recipe.yaml")
    content = (run.folder / MODEL).read_bytes()
    assert recipe.start is not None
    assert (recipe.start.network, recipe.start.sha256) == (str(run.folder), hashlib.sha256(content).hexdigest())
    assert (recipe.name, recipe.training.learning_rate) == ("pets", 0.1 / 3)
    assert (recipe.data.arguments["channels"], recipe.model.arguments["width"]) == (1, 4)
    again = hdlif.train(first.folder / "recipe.yaml", out=tmp_path / "again")
    assert (again.folder / MODEL).read_bytes() == (first.folder / MODEL).read_bytes()
    # It is complete without the weights that it began with.
    assert hdlif.load(first).recipe.start == recipe.start


def test_a_recipe_and_a_learning_rate_of_ones_own_are_taken(run: hdlif.Run) -> None:
    assert starting(run, "training.learning_rate=0.5").training.learning_rate == 0.5
    recipe, _ = load_recipe_to_train("digits_hdlif", overrides=[*SMALL, "seed=7"], start=str(run.folder))
    assert (recipe.seed, recipe.name, recipe.training.learning_rate) == (7, "digits_hdlif", 0.1 / 3)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.width=8", r"of another shape: body\.\S+ \[4.*but the model has \[8"),
        ("data.channels=3", r"of another shape: stem\S* \[4, 1, 3, 3\], but the model has \[4, 3, 3, 3\]"),
        ("neuron={kind: lif}", r"missing: body\.\S+\.act1\.leak"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_layer(
    run: hdlif.Run, pictures: Path, override: str, words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        built(starting(run, override, data=pictures), [])


def test_weights_that_changed_or_are_gone_are_refused(run: hdlif.Run, tmp_path: Path) -> None:
    copy = hdlif.Run(shutil.copytree(run.folder, tmp_path / "copy"), run.result)
    recipe = starting(copy)
    tensors, record = checkpoint.load(copy.folder / MODEL)
    checkpoint.save(copy.folder / MODEL, tensors=tensors, record={**record, "epoch": 9})
    with pytest.raises(CheckpointError, match=r"start\.sha256"):
        built(recipe, [])
    (copy.folder / MODEL).unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        built(recipe, [])
    with pytest.raises(InputError, match="no trained network of that name"):
        load_recipe_to_train(None, start="nobody")


def test_the_command_starts_from_a_run(run: hdlif.Run, pictures: Path, tmp_path: Path) -> None:
    options = ("--set", "data.batch_size=8", "--out", tmp_path / "run", "--memory-repeats", 0)
    done = command("train", "--data", pictures, "--from", run.folder, *options)
    assert done.returncode == 0, done.stderr
    assert "these layers are new: classifier" in done.stderr
    assert "training.learning_rate = 0.0333333" in done.stderr
    again = command("train", "--data", pictures, "--from", run.folder, "--resume", *options)
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_other_data_are_taken_with_a_recipe_in_memory() -> None:
    recipe, _ = load_with_data(load_recipe("digits_hdlif"), data="synthetic")
    assert recipe.data.kind == "synthetic"
