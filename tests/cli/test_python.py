"""`import hdlif`: nothing is imported until it is asked for, and the commands are functions with typed results."""

import ast
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hdlif
from hdlif.cli.networks import input_of
from hdlif.errors import ArgumentError, CheckpointError, ExistingRunError, InputError
from hdlif.graph.artefact import InputRecord, load
from hdlif.recipe import load_recipe
from hdlif.training import checkpoint

OVERRIDES = ("model.width=4", "data.train=256", "model.blocks=[1]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hdlif.Run:
    return hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=tmp_path_factory.mktemp("verbs") / "run")


def test_importing_the_package_imports_nothing_else_and_the_runtime_comes_without_pytorch() -> None:
    code = (
        "import sys, hdlif; dir(hdlif); print([m for m in sys.modules if m.startswith(('hdlif.', 'torch', 'numpy'))])\n"
        "hdlif.Session, hdlif.runtime.Session, hdlif.recipe_schema()\n"
        "print('torch' in sys.modules)"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.split() == ["[]", "False"]


def test_every_name_is_there_and_is_said_to_type_checkers() -> None:
    stub = ast.parse(Path(hdlif.__file__).with_suffix(".pyi").read_text("utf-8"))
    imported = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == {*hdlif.__all__} - {"__version__"}
    assert all(getattr(hdlif, name) is not None for name in hdlif.__all__)
    assert {*hdlif.__all__} <= {*dir(hdlif)}
    with pytest.raises(AttributeError, match="trian"):
        hdlif.trian  # noqa: B018


def test_a_run_is_what_its_folder_holds_and_goes_on(run: hdlif.Run) -> None:
    summary = json.loads((run.folder / "summary.json").read_text())
    assert run.summary == summary
    assert (run.accuracy, run.best_epoch) == (summary["accuracy"], summary["best_epoch"])
    assert (len(run.accuracy_per_step), summary["recipe"]["training"]["epochs"]) == (4, 1)
    assert repr(run) == f"Run({str(run.folder)!r}: accuracy {run.accuracy:.4g})"
    assert hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=run.folder, resume=True) == run


def test_what_follows_takes_the_run(run: hdlif.Run, tmp_path: Path) -> None:
    tested = hdlif.evaluate(run)
    assert tested.accuracy == run.accuracy
    assert np.sum(tested.confusion) == tested.n == 360
    path = hdlif.export(run, tmp_path / "net.hdlif.safetensors", check=True)
    assert hdlif.evaluate(path, data="digits").accuracy == pytest.approx(run.accuracy, abs=1 / 360 + 1e-9)
    counted = hdlif.profile(run, counting="honest")
    assert (counted.counting, counted.trained) == ("honest", True)
    assert counted.stored_mb == pytest.approx(1e-6 * path.stat().st_size, abs=1e-4)  # but for the names of the classes
    assert counted.as_dict()["sops"] == counted.sops
    assert "learning" not in counted.as_dict()
    for place, data in ((run, None), (path, "digits")):
        learns = hdlif.profile(place, learn="affine", data=data).as_dict()["learning"]
        assert learns["level"] == "affine"
        assert 0 < learns["step_mj"] < learns["learning_step_mj"]
    assert not hdlif.profile("digits_hdlif").trained
    assert hdlif.profile("digits_hdlif_w1p5_s4", learn="affine").trained
    source = hdlif.export(path, tmp_path / "net.c", to="c", ram=10**5)
    assert "net_step" in source.read_text()
    for error, name, to, ram in ((ArgumentError, "net.onnx", "onnx", 10**5), (InputError, "small.c", "c", 10)):
        with pytest.raises(error, match=r"(?i)ram"):
            hdlif.export(run, tmp_path / name, to=to, ram=ram)
        assert not (tmp_path / name).exists()
    network = hdlif.load(run)
    assert (network.labels, network.input.shape, network.time_steps) == (tuple("0123456789"), (1, 8, 8), 4)
    assert (network.recipe.training.epochs, isinstance(network, torch.nn.Module), network.training) == (1, True, False)
    assert hdlif.export(network, tmp_path / "again.hdlif.safetensors").read_bytes() == path.read_bytes()
    assert hdlif.load(run.folder / "model.safetensors").recipe == network.recipe


def test_a_trainer_of_values_is_exported_with_their_names_and_scale(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    y = np.stack([x.sum(1), x[:, 0]], 1)
    model = hdlif.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 8), hdlif.nn.HDLIF(4), torch.nn.Linear(8, 2))
    task = hdlif.Regress(("sum", "first"), 4, mean=(5.0, 0.0), std=(2.0, 1.0))
    config = hdlif.TrainingConfig(epochs=1, learning_rate=0.01)
    trainer = hdlif.Trainer(model, rule=hdlif.STBP(), task=task, config=config, batch_size=16)
    with pytest.raises(InputError, match="input"):
        hdlif.export(trainer, tmp_path / "none")
    trainer.fit((x, y), (x, y))
    path = hdlif.export(trainer, tmp_path / "net.hdlif.safetensors")
    graph = load(path)
    assert (graph.labels, graph.time_steps, graph.input.kind) == (("sum", "first"), 4, "table")
    assert (graph.task.kind, graph.task.mean, graph.task.std) == ("regress", (5.0, 0.0), (2.0, 1.0))
    np.save(tmp_path / "x.npy", x[:2])
    answers = hdlif.predict(path, tmp_path / "x.npy")
    assert [list(one["prediction"]) for one in answers] == [["sum", "first"]] * 2
    # Any other module needs what it does not know.
    with pytest.raises(InputError, match="labels"):
        hdlif.export(model, tmp_path / "none")
    record = InputRecord((3, 1, 1), (0.0,) * 3, (1.0,) * 3, kind="table", resize="none")
    known = {"input": record, "labels": ("a", "b"), "time_steps": 4}
    assert load(hdlif.export(model, tmp_path / "other", **known)).labels == ("a", "b")


def test_what_a_trainer_was_shown_is_the_input_of_its_file() -> None:
    images = hdlif.data.digits(validation=200).train
    assert input_of(images) == InputRecord((1, 8, 8), images.mean, images.std)
    record = input_of(hdlif.data.sines(validation=10).shown_as(hdlif.data.rows).train)
    assert record is not None
    assert (record.kind, record.frames, record.shape) == ("series", "rows", (2, 1, 1))
    moving = np.zeros((4, 3, 1, 8, 8), np.float32)
    assert input_of(hdlif.data.TensorSamples(moving, np.array([0, 1, 0, 1]), frames=hdlif.data.over_time)) is None


def test_a_run_is_exported_whatever_became_of_its_data_and_its_training(run: hdlif.Run, tmp_path: Path) -> None:
    folder, network = shutil.copytree(run.folder, tmp_path / "run"), hdlif.load(run)
    _, record = checkpoint.load(folder / "model.safetensors")
    recipe: dict[str, Any] = record["recipe"]
    recipe["data"]["augment"] = ["nobodys:Augmentation"]
    recipe["rule"] = {"kind": "nobodys:Rule"}
    recipe["training"]["optimizer"] = {"kind": "nobodys:Optimizer"}
    checkpoint.save_model(folder / "model.safetensors", network, {**record, "recipe": recipe})
    path = hdlif.export(folder, tmp_path / "net.hdlif.safetensors")
    assert path.read_bytes() == hdlif.export(run, tmp_path / "other.hdlif.safetensors").read_bytes()
    recipe["model"]["width"] = "wide"
    checkpoint.save_model(folder / "model.safetensors", network, {**record, "recipe": recipe})
    with pytest.raises(CheckpointError, match="width"):
        hdlif.export(folder, tmp_path / "none")


def test_what_does_not_fit_is_refused_in_words_of_python(run: hdlif.Run, tmp_path: Path) -> None:
    train, out, absent = hdlif.train, tmp_path / "x", Path("nothing.safetensors")
    for call, error, words in (
        (lambda: train(load_recipe("digits_hdlif"), epochs=1, out=out), InputError, "Recipe"),
        (lambda: train("digits_hdlif", epochs=2, out=run.folder), ExistingRunError, r"resume=True.*overwrite=True"),
        (lambda: train("digits_hdlif", out=out, resume=True, overwrite=True), InputError, "resume=True"),
        (lambda: train(epoch=2, out=out), ArgumentError, 'did you mean "epochs"'),
        (lambda: hdlif.evaluate("x", date="digits"), TypeError, 'did you mean "data"'),
        (lambda: hdlif.export(run, out, to="tflite"), InputError, "to = 'tflite'"),
        (lambda: hdlif.profile(run, counting="none"), InputError, "counting = 'none'"),
        (lambda: hdlif.evaluate(run, part="tset"), InputError, '"test"'),
        (lambda: train("digits_hdlif", overrides="seed=1", out=out), InputError, r"\['seed=1'\]"),
        (lambda: train("digits_hdlif", threads=0, out=out), InputError, "threads = 0"),
        (lambda: hdlif.evaluate(absent), InputError, "no such file or folder"),
        (lambda: hdlif.profile(absent), InputError, "no such file or folder"),
        (lambda: hdlif.evaluate("x" * 300), InputError, "no such file or folder"),
    ):
        with pytest.raises(error, match=words) as refused:
            call()
        assert "--" not in str(refused.value)
    assert "epochs" in inspect.signature(hdlif.train).parameters
