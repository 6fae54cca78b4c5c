"""`hdlif import`: a folder from a NIR file, which runs, trains on, and is exported again; or nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import hdlif
from deployed_graphs import residual_network
from hdlif.cli.export import export_file as export
from hdlif.cli.import_nir import import_nir
from hdlif.cli.predict import predict_files as run
from hdlif.errors import ConversionError, InputError, RecipeError
from hdlif.graph.artefact import dumps, load, save
from trainings import train

nir = pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")


def digits_network() -> object:
    rng = np.random.default_rng(0)
    conv = nir.Conv2d((8, 8), rng.normal(size=(4, 1, 3, 3)).astype(np.float32), 2, 1, 1, 1, np.zeros(4, np.float32))
    neurons = nir.LIF(*(np.full((4, 4, 4), v) for v in (2e-4, 2.0, 0.0, 0.5)))
    flat = nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1)
    linear = nir.Affine(rng.normal(size=(10, 64)).astype(np.float32), np.ones(10, np.float32))
    return nir.NIRGraph.from_list(nir.Input({"input": np.array([1, 8, 8])}), conv, neurons, flat, linear)


def test_a_file_becomes_a_folder_that_runs_and_trains_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nir.write("net.nir", digits_network())
    result = hdlif("import", "net.nir", "--out", "mine", "--time-steps", "3", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    written = {"net.hdlif.safetensors", "recipe.yaml", "weights.safetensors"}
    assert {path.name for path in Path("mine").iterdir()} == written
    graph = load(found["artefact"])
    assert (graph.time_steps, graph.input.kind, len(graph.nodes)) == (3, "image", found["nodes"])
    np.save("x.npy", np.full((1, 8, 8), 128, np.uint8))
    assert run(Path(found["artefact"]), [Path("x.npy")]).inputs[0].answer["class"] in range(10)
    few = ["training.epochs=1", "data={kind: digits, batch_size: 16, validation: 20, train: 64}"]
    trained = train(found["recipe"], overrides=few, out=Path("further"), memory_repeats=0)
    assert trained is not None
    exported = export(Path("further"), out=Path("further.nir"), to="nir")
    node = nir.read(exported.path).nodes["network_lif"]
    assert isinstance(node, nir.LIF)
    np.testing.assert_allclose(node.tau, 2e-4)


def test_weights_are_those_of_the_file_where_training_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdlif.recipe import builders, load_recipe

    monkeypatch.chdir(tmp_path)
    graph = digits_network()
    nir.write("net.nir", graph)
    import_nir(Path("net.nir"), out=Path("mine"))
    recipe = load_recipe("mine/recipe.yaml", ["data={kind: digits, batch_size: 16, validation: 20}"])
    weights = dict(builders.build_model(recipe, pretrained=True).named_parameters())
    np.testing.assert_array_equal(weights["network.affine.weight"].detach(), graph.nodes["affine"].weight)
    (tmp_path / "mine/weights.safetensors").unlink()
    # A checkpoint brings its own.
    builders.build_model(recipe)
    with pytest.raises(RecipeError, match=r"model.structure takes \[1, 8, 8\] and gives 10 outputs; the data have"):
        builders.build_model(
            load_recipe("mine/recipe.yaml", ["data={kind: fashion_mnist, batch_size: 16, validation: 20}"])
        )


def test_an_extension_comes_back_as_its_artefact(tmp_path: Path) -> None:
    graph = residual_network()
    save(graph, tmp_path / "a.hdlif.safetensors")
    command = ["export", tmp_path / "a.hdlif.safetensors", "--to", "nir", "--out", tmp_path / "a.nir"]
    assert hdlif(*command).returncode != 0
    assert not (tmp_path / "a.nir").exists()
    assert hdlif(*command, "--extension").returncode == 0
    found = import_nir(tmp_path / "a.nir", out=tmp_path / "back")
    assert found.artefact.read_bytes() == dumps(graph)
    assert found.recipe is None


def test_nothing_is_left_of_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nir").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not an HDF5 file"):
        import_nir(tmp_path / "x.nir", out=tmp_path / "out")
    graph = digits_network()
    graph.nodes["lif"].tau = -graph.nodes["lif"].tau
    nir.write(tmp_path / "y.nir", graph)
    with pytest.raises(ConversionError, match=r"y.nir: lif: a time constant of -0.0002"):
        import_nir(tmp_path / "y.nir", out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.nir", "y.nir"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    nir.write(tmp_path / "z.nir", digits_network())
    with pytest.raises(InputError, match="out: already exists"):
        import_nir(tmp_path / "z.nir", out=tmp_path / "out")
