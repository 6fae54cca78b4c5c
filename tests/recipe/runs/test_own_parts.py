"""A run folder says which modules of the user's it was begun with, and is not resumed with others."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from cases import naming
from distributions import WAVE, install
from hdlif.errors import CheckpointError, RecipeError
from hdlif.recipe import Recipe, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.own_parts import check_parts, keep_parts, own_parts
from trainings import train

MODULE = """
from torch import nn


def net(*, in_channels, classes, neuron):
    return nn.Sequential(nn.Conv2d(in_channels, 2, 3), neuron(2), nn.Flatten(), nn.Linear(72, classes))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, MODULE)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "edited_models.py").write_text(text)
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("edited_")]:
        del sys.modules[name]


def recipe(*overrides: str) -> Recipe:
    return load_recipe("digits_hdlif", ['model={kind: "edited_models:net"}', "training.epochs=2", *overrides])


def test_every_kind_is_looked_at_and_a_version_is_kept(folder: Path) -> None:
    plain = load_recipe("digits_hdlif")
    assert own_parts(plain) == {}
    keep_parts(plain, folder)
    assert not (folder / "parts.json").exists()
    check_parts(plain, folder)
    chosen = recipe('rule={kind: "own_parts:LastStep"}', 'training.optimizer={kind: "torch.optim:RMSprop"}')
    found = own_parts(chosen)
    assert list(found) == ["edited_models", "own_parts", "torch.optim"]
    assert found["torch.optim"]["version"] == sys.modules["torch"].__version__
    assert len(found["edited_models"]["sha256"]) == 64


def test_a_list_that_is_damaged_or_of_another_version_is_refused(folder: Path) -> None:
    write(folder, MODULE + '__version__ = "1.2"\n')
    keep_parts(recipe(), folder)
    stated = json.loads((folder / "parts.json").read_text())
    stated["edited_models"]["version"] = "1.1"
    for text, words in (
        *((text, r"parts.json: is damaged") for text in ("", "[]", "{", '{"edited_models": 3}', "[" * 10_000)),
        (json.dumps(stated), r"\(version 1.1, now 1.2\)"),
    ):
        (folder / "parts.json").write_text(text)
        with naming(text[:20]), pytest.raises(CheckpointError, match=words):
            check_parts(recipe(), folder)


def test_a_module_that_the_named_one_imports_is_looked_at_too(folder: Path) -> None:
    (folder / "edited_helper.py").write_text("WIDTH = 2\n")
    (folder / "edited_between.py").write_text("import json, numpy, edited_helper, edited_models\n")
    deep = folder / "edited_package" / "deep"
    deep.mkdir(parents=True)
    for place in (deep.parent / "__init__.py", deep / "__init__.py", deep / "helper.py"):
        place.write_text("from . import *\n")
    (folder / "edited_space").mkdir()
    (folder / "edited_space" / "inner.py").write_text("WIDTH = 2\n")
    for imports, helper in (
        ("import edited_helper", "edited_helper"),
        ("from edited_helper import WIDTH", "edited_helper"),
        ("def late():\n    import edited_helper", "edited_helper"),
        ("from edited_package.deep import helper", "edited_package.deep.helper"),
        ("from edited_package import deep", "edited_package"),
        ("from edited_space import inner", "edited_space.inner"),
        ("import edited_between", "edited_helper"),
    ):
        write(folder, f"import os, torch\n{imports}\n{MODULE}")
        parts = own_parts(recipe())
        assert {name.split(".")[0] for name in parts} <= {"edited_models", "edited_between", helper.split(".")[0]}
        keep_parts(recipe(), folder)
        check_parts(recipe(), folder)
        file = folder.joinpath(*helper.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        file.write_text(file.read_text() + "# edited\n")
        with pytest.raises(CheckpointError, match=rf"{file.name} \({helper}\) is another than .* \(edited\)"):
            check_parts(recipe(), folder)


def test_a_list_from_before_helpers_were_kept_is_taken(folder: Path) -> None:
    (folder / "edited_helper.py").write_text("")
    write(folder, "import edited_helper\n" + MODULE)
    keep_parts(recipe(), folder)
    stated = json.loads((folder / "parts.json").read_text())
    del stated["edited_helper"]
    (folder / "parts.json").write_text(json.dumps(stated))
    check_parts(recipe(), folder)


def test_a_part_of_an_installed_package_is_kept_with_its_version_and_found_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = {"hdlif.neurons": {"wave": "kept_waves:Wave"}}
    install(folder, monkeypatch, groups=waves, kept_waves=WAVE)
    small = ["model={kind: resnet, width: 2, blocks: [1]}", "data.train=64", "training.epochs=1"]
    chosen = load_recipe("digits_hdlif", ["neuron={kind: wave}", "training.warmup_epochs=0", *small])
    run = folder / "run"
    trained = train(chosen, out=run, memory_repeats=0)
    parts = json.loads((run / "parts.json").read_text())
    assert list(parts) == ["hdlif.neurons:wave", "kept_waves"]
    stated = {"distribution": "spiking-waves", "version": "1.2", "place": "kept_waves:Wave"}
    assert parts["hdlif.neurons:wave"] == stated
    # A finished run is a result, whatever is installed; one that is to go on is of its version alone.
    (run / "summary.json").unlink()
    install(folder, monkeypatch, version="1.3", groups=waves)
    words = r"spiking-waves \(hdlif.neurons:wave\) is another than .* \(version 1.2, now 1.3\)"
    with pytest.raises(CheckpointError, match=words):
        train(chosen, out=run, resume=True, memory_repeats=0)
    assert load_trained(run).recipe == chosen
    install(folder, monkeypatch, groups=waves)
    assert train(chosen, out=run, resume=True, memory_repeats=0).accuracy == trained.accuracy
    install(folder, monkeypatch, groups={})
    gone = r'"wave" is unknown; .*; "wave" was of spiking-waves 1.2, which is not installed: pip install'
    with pytest.raises(CheckpointError, match=gone):
        load_trained(run)
    with pytest.raises(RecipeError, match=gone):
        train(chosen, out=run, resume=True, memory_repeats=0)
    (run / "parts.json").write_text("[")
    with pytest.raises(CheckpointError, match='"wave" is unknown; '):
        load_trained(run)
