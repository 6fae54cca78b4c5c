"""What each verb loads: PyTorch where something is computed with it, and of the rest what the work at hand needs.

A verb is run for real, in a process of its own, and what it has imported by then is compared with what is stated here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_tree import LEAVES
from deployed_graphs import residual_network
from hdlif.graph.artefact import save
from hdlif.recipe import dump_recipe, load_recipe
from picture_folders import write_pictures

HEAVY = {"PIL", "jinja2", "lightning_fabric", "matplotlib", "onnx", "onnxruntime", "openvino", "optuna", "pandas"}
HEAVY |= {"pydantic", "rich", "scipy", "sklearn", "tensorboard", "timm", "tonic", "torch", "torch._dynamo"}
HEAVY |= {"torchmetrics", "torchvision", "yaml"}
"""Modules that take a tenth of a second and more; `torch._dynamo` takes as long as the rest of torch."""

RECIPE = {"pydantic", "yaml"}
TORCH = {"torch"} | RECIPE
# A step of SGD imports torch._dynamo.
TRAINING = TORCH | {"rich", "tensorboard", "torch._dynamo"}
PAGE = {"PIL", "jinja2", "matplotlib", "pydantic"}

OVERRIDES = [
    "data={kind: synthetic, batch_size: 64, validation: 40}",
    "model={kind: resnet, blocks: [1], width: 2}",
    "training.epochs=1",
    "training.warmup_epochs=0",
]
TESTS = Path(__file__).parent.parent
MODULE = """
import atexit, json, os, sys
from pathlib import Path
atexit.register(lambda: Path(os.environ["LOADED"]).write_text(json.dumps(list(sys.modules))))
from hdlif.cli import main
main()
"""

VERBS: dict[str, tuple[list[str], set[str]]] = {
    "recipes ls": ([], RECIPE),
    "recipes show": (["digits_hdlif", "--resolved"], RECIPE),
    "recipes check": ([], RECIPE),
    "recipes schema": ([], RECIPE),
    "data inspect": (["photos"], TORCH | {"PIL"}),
    "data ls": ([], {"torch"}),
    "models ls": ([], set()),
    "models get": (["digits_hdlif", "--to", "networks"], set()),
    "neurons ls": ([], RECIPE),
    "neurons show": (["own_neurons:AdaptiveHDLIF"], TORCH),
    "run": (["net.hdlif.safetensors", "image.npy"], {"PIL"}),
    # What it measures with PyTorch is measured in processes of their own.
    "new project": (["begun"], {"PIL"}),
    "doctor": ([], set()),
    "completion": (["bash"], set()),
    "profile": (["synthetic.yaml"], TORCH),
    "coherence": (["synthetic.yaml", "--batches", "1"], TORCH | {"rich"}),
    "export": (["run", "--out", "again.hdlif.safetensors"], TORCH),
    "import": (["net.nir", "--out", "imported"], {"torch", "yaml"}),
    "eval": (["run"], TORCH | {"rich"}),
    "adapt": (["net.hdlif.safetensors", "--data", "digits", "--out", "adapted"], TORCH | {"rich", "scipy", "sklearn"}),
    "bench": (["net.hdlif.safetensors", "--against", "", "--repeats", "1", "--batch", "1"], {"torch"}),
    "report": (["run"], TORCH | PAGE),
    "train": (["synthetic.yaml", "--out", "another", "--memory-repeats", "0"], TRAINING),
    "sweep": (["synthetic.yaml", "--space", "space.yaml", "--trials", "1"], TRAINING | {"optuna"}),
    "ablate": (["table.yaml"], TRAINING | PAGE),
}
"""The arguments of each verb, for its least work, and what it loads for that."""
NOT_RUN = {"demo", "data get", "serve", "tour"}
"""Verbs that call others, for minutes; package registries; and one that ends when it is told to (tests/serve)."""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """The heavy modules in a process that has run `hdlif` with these arguments, in `folder`."""
    record = folder / "loaded.json"
    child = subprocess.run(
        [sys.executable, "-c", MODULE, *arguments],
        cwd=folder,
        env={**os.environ, "LOADED": str(record), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    modules = set(json.loads(record.read_text()))
    if "sklearn" in modules:
        # It imports pandas wherever that is installed.
        modules.discard("pandas")
    return HEAVY & modules


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its finished run, its artefact, and what else verbs take."""
    folder = tmp_path_factory.mktemp("verbs")
    recipe = load_recipe("digits_hdlif", [*OVERRIDES, "name=synthetic"])
    (folder / "synthetic.yaml").write_text(dump_recipe(recipe))
    (folder / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.01, high: 0.3}\n")
    (folder / "table.yaml").write_text(
        "{title: t, base: digits_hdlif, seeds: 1, rows: {a: []}, columns: {b: ["
        + ", ".join(map(json.dumps, OVERRIDES))
        + "]}}"
    )
    np.save(folder / "image.npy", np.zeros((8, 8), np.uint8))
    write_pictures(folder / "photos", 3)
    return folder


@pytest.fixture(scope="module")
def run_folder(folder: Path) -> Path:
    loaded(folder, "train", "synthetic.yaml", "--out", "run", "--memory-repeats", "0")
    loaded(folder, "export", "run", "--out", "net.hdlif.safetensors")
    loaded(folder, "export", "run", "--to", "nir", "--extension", "--out", "net.nir")
    return folder


def test_every_verb_states_what_it_loads() -> None:
    assert set(LEAVES) == set(VERBS) | NOT_RUN


def test_what_computes_little_loads_little(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--help"], ["train", "--help"], ["demo", "--help"], ["completion", "bash"]):
        assert loaded(folder, *arguments) == set(), arguments
    assert loaded(folder, "recipes", "check") == RECIPE
    # Its help is there without the extra that its work needs.
    assert loaded(folder, "sweep", "--help") <= RECIPE
    # A file of numbers needs no reader of images.
    save(residual_network(), folder / "small.hdlif.safetensors")
    np.save(folder / "x.npy", np.zeros((3, 9, 7), np.float32))
    assert loaded(folder, "run", "small.hdlif.safetensors", "x.npy") == set()
    monkeypatch.setenv("_HDLIF_COMPLETE", "bash_complete")
    for words, loads in (("eval x --data ", set()), ("train x --set training.", RECIPE)):
        monkeypatch.setenv("COMP_WORDS", f"hdlif {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(f"hdlif {words}x".split()) - 1))
        assert loaded(folder) == loads, words


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_subcommand_loads_what_its_work_needs(verb: str, run_folder: Path) -> None:
    arguments, loads = VERBS[verb]
    assert loaded(run_folder, *verb.split(), *arguments) == loads


@pytest.mark.slow
def test_what_is_asked_for_is_loaded_and_what_is_not_is_not(run_folder: Path) -> None:
    assert loaded(run_folder, "export", "net.hdlif.safetensors", "--to", "c", "--out", "net.c") == set()
    asked = ["--set", "task={kind: classify, metrics: [f1]}"]
    train = ["train", "synthetic.yaml", "--out", "asked", "--memory-repeats", "0", *asked]
    assert loaded(run_folder, *train) >= TRAINING | {"torchmetrics"}
