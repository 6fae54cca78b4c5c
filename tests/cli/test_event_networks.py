"""A network of events from checkpoint to artefact: evaluated, profiled and run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hdlif.cli.bench import bench
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.deploy import export as write_artefact
from hdlif.errors import DataError, InputError
from hdlif.graph.artefact.io import load
from hdlif.models import vgg_snn
from hdlif.nn import HDLIF, QuantConv2d, Ternary
from hdlif.recipe import builders, load_recipe
from hdlif.report.recording_page import recording_page
from hdlif.runtime import Session
from hdlif.training.checkpoint import save_model

RECIPE = load_recipe("digits_events_hdlif", ["model.width=4", "time_steps=4"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network as a checkpoint, and its artefact."""
    folder = tmp_path_factory.mktemp("events")
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", builders.build_model(RECIPE), {"recipe": RECIPE.model_dump(mode="json")})
    export(folder, out=folder / "net.hdlif.safetensors")
    return folder


def test_artefact_takes_counts_and_agrees_with_the_checkpoint(folder: Path) -> None:
    artefact = folder / "net.hdlif.safetensors"
    assert load(artefact).input == builders.input_record(RECIPE)
    deployed = evaluate(artefact, data="digits_events")
    trained = evaluate(folder)
    assert deployed.n == trained.n == 360
    assert evaluate(folder, data="digits_events") == trained
    assert profile(str(folder), data="digits_events") == profile(str(folder))
    # One image in 360 may fall on the other side of a tie.
    np.testing.assert_allclose(deployed.accuracy_per_step, trained.accuracy_per_step, atol=1 / 360 + 1e-9)
    test = builders.build_data(RECIPE).test
    torch.manual_seed(0)
    network = builders.build_model(RECIPE).eval()
    with torch.no_grad():
        expected, _ = network(test.sequence(torch.arange(50))[0], steps=range(4))
    x = test.first(50).sequence(torch.arange(50))[0].contiguous().numpy()
    np.testing.assert_allclose(Session(artefact).run(x), expected, atol=1e-4)


def test_checkpoint_bins_a_named_set_as_its_recipe_says(tmp_path: Path) -> None:
    chosen = load_recipe("digits_events_hdlif", ["model.width=4", "time_steps=4", "data.frames=by_time"])
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", builders.build_model(chosen), {"recipe": chosen.model_dump(mode="json")})
    trained, counted = evaluate(tmp_path), profile(str(tmp_path))
    assert evaluate(tmp_path, data="digits_events") == trained
    assert profile(str(tmp_path), data="digits_events") == counted
    record, indices = builders.input_record(chosen), torch.arange(4)
    by_time = builders.build_data(chosen).test.sequence(indices)[0]
    # A record says how recordings are binned; of an older file, which does not, they are by number.
    for known, same in ((record, True), (replace(record, binning="none", sensor=None), False)):
        named = builders.named_data("digits_events", None, record=known, time_steps=4).test.sequence(indices)[0]
        assert torch.equal(named, by_time) == same


def test_counts_of_any_size_are_run_as_they_are(folder: Path, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 256, (4, 2, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "bytes.npy", counts)
    np.save(tmp_path / "floats.npy", counts.astype(np.float32))
    np.save(tmp_path / "many.npy", 1000 * counts.astype(np.float32))
    artefact = folder / "net.hdlif.safetensors"
    one, two, many = run(artefact, [tmp_path / f"{n}.npy" for n in ("bytes", "floats", "many")]).as_dict()["inputs"]
    assert one["logits"] == two["logits"]
    expected = Session(artefact).run(1000 * counts[:, None].astype(np.float32)).mean(axis=0)[0]
    np.testing.assert_allclose(many["logits"], expected, rtol=1e-6)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(
        InputError, match=r"recordings end in .aedat, .* and it in .\.png.\); the network takes recordings of"
    ):
        run(artefact, [tmp_path / "a.png"])


@pytest.mark.slow
def test_a_recording_is_drawn_as_its_events_a_step(folder: Path, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 3, (4, *load(folder / "net.hdlif.safetensors").input.shape))
    np.save(tmp_path / "counts.npy", counts.astype(np.float32))
    text = recording_page(folder / "net.hdlif.safetensors", tmp_path / "counts.npy")
    assert "a frame of events a step" in text
    assert all(f"<span>{polarity}</span>" in text for polarity in ("off", "on"))


def test_artefact_is_profiled_on_events(folder: Path) -> None:
    of_file = profile(str(folder / "net.hdlif.safetensors"), data="digits_events")
    of_checkpoint = profile(str(folder))
    assert of_file.sops == pytest.approx(of_checkpoint.sops, rel=1e-3)


def test_low_bit_first_convolution_takes_counts(tmp_path: Path) -> None:
    # Published networks of event cameras quantise the first convolution too.
    def conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0) -> nn.Module:
        return QuantConv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, quantizer=Ternary())

    torch.manual_seed(0)
    network = vgg_snn(
        neuron=lambda place: HDLIF(4), classes=10, plan=[8, "P", 8], final_size=None, conv=conv, first_conv=conv
    ).eval()
    write_artefact(
        network, tmp_path / "n", input=builders.input_record(RECIPE), labels=tuple("0123456789"), time_steps=4
    )
    x, _ = builders.build_data(RECIPE).test.sequence(torch.arange(20))
    with torch.no_grad():
        expected, _ = network(x, steps=range(4))
    np.testing.assert_allclose(Session(tmp_path / "n").run(x.contiguous().numpy()), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["net.hdlif.safetensors", "model.safetensors"])
def test_images_are_refused(name: str, folder: Path) -> None:
    with pytest.raises(DataError, match=r"the network takes input of kind events .* digits has input of kind image"):
        evaluate(folder / name, data="digits")


def test_bench_of_events_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"the network takes input of kind events; images are what"):
        bench(folder / "net.hdlif.safetensors", against="")


def test_unrolled_onnx_of_events_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--form step"):
        export(folder / "net.hdlif.safetensors", out=tmp_path / "net.onnx", to="onnx")
