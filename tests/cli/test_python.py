"""`import hdlif`: nothing is imported until it is asked for, and the commands are functions with typed results."""

import ast
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hdlif
from hdlif.cli.networks import input_of
from hdlif.errors import ArgumentError, CheckpointError, ExistingRunError, InputError
from hdlif.graph.artefact import InputRecord
from hdlif.graph.artefact import load as load_graph
from hdlif.training import checkpoint

OVERRIDES = ("model.width=4", "data.train=256", "model.blocks=[1]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hdlif.Run:
    return hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=tmp_path_factory.mktemp("verbs") / "run")


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, hdlif; dir(hdlif); print([m for m in sys.modules if m.startswith(('hdlif.', 'torch', 'numpy'))])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == "[]"


def test_the_runtime_comes_without_pytorch() -> None:
    code = "import sys, hdlif; hdlif.Session, hdlif.runtime.Session; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_every_name_is_there_and_is_said_to_type_checkers() -> None:
    stub = ast.parse(Path(hdlif.__file__).with_suffix(".pyi").read_text("utf-8"))
    imported = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == {*hdlif.__all__} - {"__version__"}
    assert all(getattr(hdlif, name) is not None for name in hdlif.__all__)
    assert {*hdlif.__all__} <= {*dir(hdlif)}
    with pytest.raises(AttributeError, match="module 'hdlif' has no attribute 'trian'"):
        hdlif.trian  # noqa: B018


def test_a_run_is_what_its_folder_holds(run: hdlif.Run) -> None:
    summary = json.loads((run.folder / "summary.json").read_text())
    assert run.summary == summary
    assert (run.accuracy, run.best_epoch) == (summary["accuracy"], summary["best_epoch"])
    assert len(run.accuracy_per_step) == 4
    assert summary["recipe"]["training"]["epochs"] == 1


def test_what_follows_takes_the_run(run: hdlif.Run, tmp_path: Path) -> None:
    tested = hdlif.evaluate(run)
    assert tested.accuracy == run.accuracy
    assert np.sum(tested.confusion) == tested.n == 360
    path = hdlif.export(run, tmp_path / "net.hdlif.safetensors")
    assert hdlif.evaluate(path, data="digits").accuracy == pytest.approx(run.accuracy, abs=1 / 360 + 1e-9)
    counted = hdlif.profile(run, counting="honest")
    assert (counted.counting, counted.trained) == ("honest", True)
    assert counted.stored_mb == pytest.approx(1e-6 * path.stat().st_size, abs=1e-4)  # but for the names of the classes
    assert counted.as_dict()["sops"] == counted.sops
    logits = hdlif.Session(path).run(np.zeros((1, 2, 1, 8, 8), np.float32))
    assert logits.shape == (4, 2, 10)


def test_every_target_is_written_and_checked(run: hdlif.Run, tmp_path: Path) -> None:
    assert hdlif.export(run, tmp_path / "net.hdlif.safetensors", check=True).exists()
    source = hdlif.export(tmp_path / "net.hdlif.safetensors", tmp_path / "net.c", to="c", ram=10**5)
    assert "net_step" in source.read_text()
    with pytest.raises(ArgumentError, match="ram"):
        hdlif.export(run, tmp_path / "net.onnx", to="onnx", ram=10**5)
    with pytest.raises(InputError, match="RAM"):
        hdlif.export(run, tmp_path / "small.c", to="c", ram=10)
    assert not (tmp_path / "small.c").exists()


def test_a_loaded_network_knows_what_it_was_trained_for_and_is_exported_to_the_same_bytes(
    run: hdlif.Run, tmp_path: Path
) -> None:
    network = hdlif.load(run)
    assert (network.labels, network.input.shape, network.time_steps) == (tuple("0123456789"), (1, 8, 8), 4)
    assert network.recipe.training.epochs == 1
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    logits, _ = network(torch.zeros(1, 2, 1, 8, 8), steps=range(4))
    assert logits.shape == (4, 2, 10)
    of_network, of_run = (hdlif.export(one, tmp_path / f"{type(one).__name__}") for one in (network, run))
    assert of_network.read_bytes() == of_run.read_bytes()
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
    graph = load_graph(path)
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
    assert load_graph(hdlif.export(model, tmp_path / "other", **known)).labels == ("a", "b")


def test_what_a_trainer_was_shown_is_the_input_of_its_file(tmp_path: Path) -> None:
    images = hdlif.data.digits(validation=200).train
    assert input_of(images) == InputRecord((1, 8, 8), images.mean, images.std)
    series = hdlif.data.sines(validation=10).shown_as(hdlif.data.rows).train
    record = input_of(series)
    assert record is not None
    assert (record.kind, record.frames, record.shape) == ("series", "rows", (2, 1, 1))
    moving = hdlif.data.TensorSamples(
        np.zeros((4, 3, 1, 8, 8), np.float32), np.array([0, 1, 0, 1]), frames=hdlif.data.over_time
    )
    assert input_of(moving) is None


def test_a_run_is_exported_whatever_became_of_its_data_and_its_training(run: hdlif.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    _, record = checkpoint.load(folder / "model.safetensors")
    recipe = record["recipe"]
    recipe["data"]["augment"] = ["nobodys:Augmentation"]
    recipe["rule"] = {"kind": "nobodys:Rule"}
    recipe["training"]["optimizer"] = {"kind": "nobodys:Optimizer"}
    network = hdlif.load(run)
    checkpoint.save_model(folder / "model.safetensors", network, {**record, "recipe": recipe})
    path = hdlif.export(folder, tmp_path / "net.hdlif.safetensors")
    assert path.read_bytes() == hdlif.export(run, tmp_path / "other.hdlif.safetensors").read_bytes()
    recipe["model"]["width"] = "wide"
    checkpoint.save_model(folder / "model.safetensors", network, {**record, "recipe": recipe})
    with pytest.raises(CheckpointError, match="width"):
        hdlif.export(folder, tmp_path / "none")


def test_a_run_goes_on(run: hdlif.Run) -> None:
    again = hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=run.folder, resume=True)
    assert again == run


def test_a_recipe_s_own_counts_need_no_training() -> None:
    counted = hdlif.profile("digits_hdlif")
    assert not counted.trained
    assert counted.params_mb > 0


def test_a_run_is_shown_in_one_line(run: hdlif.Run) -> None:
    assert repr(run) == f"Run({str(run.folder)!r}: accuracy {run.accuracy:.4g})"


def test_what_is_to_be_done_is_said_in_words_of_python(run: hdlif.Run, tmp_path: Path) -> None:
    with pytest.raises(ExistingRunError) as caught:
        hdlif.train("digits_hdlif", epochs=2, out=run.folder)
    assert "go on with it (resume=True), replace it (overwrite=True), or choose another" in str(caught.value)
    assert "--" not in str(caught.value)
    with pytest.raises(InputError, match="resume=True goes on with a run and overwrite=True replaces it"):
        hdlif.train("digits_hdlif", out=run.folder, resume=True, overwrite=True)


def test_an_argument_that_a_verb_does_not_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r'hdlif.train has no argument epoch; .*\(did you mean "epochs"\?\)'):
        hdlif.train(epoch=2, out=tmp_path / "x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match='did you mean "data"'):
        hdlif.evaluate("x", date="digits")  # type: ignore[call-arg]
    assert "epochs" in inspect.signature(hdlif.train).parameters


def test_what_does_not_fit_is_refused(run: hdlif.Run, tmp_path: Path) -> None:
    from hdlif.recipe import load_recipe

    for call, words in (
        (lambda: hdlif.train(load_recipe("digits_hdlif"), epochs=1, out=tmp_path), "Recipe"),
        (lambda: hdlif.export(run, tmp_path / "x", to="tflite"), "to = 'tflite'"),
        (lambda: hdlif.profile(run, counting="none"), "counting = 'none'"),
        (lambda: hdlif.evaluate(run, part="tset"), '"test"'),
        (lambda: hdlif.train("digits_hdlif", overrides="seed=1", out=tmp_path / "x"), r"\['seed=1'\]"),
        (lambda: hdlif.train("digits_hdlif", threads=0, out=tmp_path / "x"), "threads = 0"),
        *(
            (lambda verb=verb, path=path: verb(path), "no such file or folder")
            for path in (tmp_path / "nothing", Path("runs/nothing/model.safetensors"), Path("nothing.safetensors"))
            for verb in (hdlif.evaluate, hdlif.profile)
        ),
    ):
        with pytest.raises(InputError, match=words):
            call()
