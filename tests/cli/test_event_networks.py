"""A network of events from checkpoint to model file: evaluated, profiled and run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdlif.cli.bench import bench
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.errors import InputError
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.report.recording_page import recording_page
from hdlif.runtime import Session
from hdlif.training.checkpoint import save_model
from recorded_events import fields, recording


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


def test_a_model_file_takes_counts_and_agrees_with_the_checkpoint(folder: Path) -> None:
    network = folder / "net.hdlif.safetensors"
    deployed, trained = evaluate(network, data="digits_events"), evaluate(folder)
    assert deployed.n == trained.n == 360
    # One image in 360 may fall on the other side of a tie.
    np.testing.assert_allclose(deployed.accuracy_per_step, trained.accuracy_per_step, atol=1 / 360 + 1e-9)
    assert profile(str(network), data="digits_events").sops == pytest.approx(profile(str(folder)).sops, rel=1e-3)
    test = builders.build_data(RECIPE).test
    torch.manual_seed(0)
    with torch.no_grad():
        expected, _ = builders.build_model(RECIPE).eval()(test.sequence(torch.arange(50))[0], steps=range(4))
    x = test.first(50).sequence(torch.arange(50))[0].contiguous().numpy()
    np.testing.assert_allclose(Session(network).run(x), expected, atol=1e-4)


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
    assert "a frame of events a step" in text
    assert all(f"<span>{polarity}</span>" in text for polarity in ("off", "on"))


def test_what_is_of_images_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    network = folder / "net.hdlif.safetensors"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for use, words in (
        (lambda: run(network, [tmp_path / "a.png"]), "recordings end in"),
        (lambda: bench(network, against=""), "input of kind events"),
        (lambda: export_file(network, out=tmp_path / "net.onnx", to="onnx"), "--form step"),
    ):
        with pytest.raises(InputError, match=words):
            use()
