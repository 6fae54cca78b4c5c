"""Modules of the user and parts of installed packages: how they are found, and that a run is resumed with no others."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from cases import naming
from distributions import WAVE, install
from hdlif.cli import doctor, neurons
from hdlif.errors import CheckpointError, RecipeError
from hdlif.nn import LIF
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe
from hdlif.recipe.builders.external_parts import offers
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.own_parts import check_parts, keep_parts, own_parts
from hostile import one_printable_line
from small_recipes import built
from small_recipes import neurons as layers
from small_recipes import recipe as small
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
        stated = json.loads((folder / "parts.json").read_text())
        file = folder.joinpath(*helper.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        file.write_text(file.read_text() + "# edited\n")
        with pytest.raises(CheckpointError, match=rf"{file.name} \({helper}\) has changed since .* \(edited\)"):
            check_parts(recipe(), folder)
        # A list from before helpers were kept is taken.
        (folder / "parts.json").write_text(json.dumps({name: stated[name] for name in stated if name != helper}))
        check_parts(recipe(), folder)


def test_a_part_of_an_installed_package_is_kept_by_its_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    words = r"spiking-waves \(hdlif.neurons:wave\) has changed since .* \(version 1.2, now 1.3\)"
    with pytest.raises(CheckpointError, match=words):
        train(chosen, out=run, resume=True, memory_repeats=0)
    assert load_trained(run).recipe == chosen
    install(folder, monkeypatch, groups=waves)
    assert train(chosen, out=run, resume=True, memory_repeats=0).accuracy == trained.accuracy
    install(folder, monkeypatch, groups={})
    gone = r'"wave" is unknown; .*; "wave" came from spiking-waves 1.2, which is not installed: pip install'
    with pytest.raises(CheckpointError, match=gone):
        load_trained(run)
    with pytest.raises(RecipeError, match=gone):
        train(chosen, out=run, resume=True, memory_repeats=0)
    (run / "parts.json").write_text("[")
    with pytest.raises(CheckpointError, match='"wave" is unknown; '):
        load_trained(run)


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package with a neuron, and whatever else may be wrong with one."""
    names = {"wave": "waves:Wave", "number": "waves:NUMBER", "gone": "waves:Gone"}
    names |= {"module": "waves", "failing": "failing_waves:Wave", "lif": "waves:Wave", "extra": "waves:Wave [more]"}
    install(tmp_path, monkeypatch, groups={"hdlif.neurons": names}, waves=WAVE, failing_waves="1 / 0\n")
    return tmp_path


def test_a_neuron_of_an_installed_package_is_named_plainly(waves: Path, tmp_path: Path) -> None:
    chosen = small("neuron={kind: wave, leak: 0.25}")
    builders.check_names(chosen)
    network, named = (built(f"neuron={{kind: {kind}, leak: 0.25}}") for kind in ("wave", '"waves:Wave"'))
    assert str(network) == str(named)
    (tmp_path / "kept.yaml").write_text(dump_recipe(chosen))
    assert load_recipe(tmp_path / "kept.yaml").neuron == chosen.neuron


def test_every_other_section_takes_such_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "hdlif.rules": {"last": "own_parts:LastStep"},
        "hdlif.optimizers": {"sign": "own_parts:SignSGD"},
        "hdlif.schedules": {"halving": "own_parts:halving"},
        "hdlif.norms": {"quiet": "own_parts:quiet_norm"},
        "hdlif.models": {"tiny": "own_models:tiny"},
        "hdlif.metrics": {"sure": "own_metrics:Sure"},
        "hdlif.augmentations": {"noise": "own_parts:noise", "flip": "own_parts:Dim"},
    }
    install(tmp_path, monkeypatch, groups=groups)
    chosen = [
        "rule={kind: last, weight: 0.5}",
        "training.optimizer={kind: sign}",
        "training.schedule={kind: halving, every: 1}",
        "norm={kind: quiet}",
        "task={kind: classify, metrics: [{kind: sure, power: 2.0}], best: sure}",
    ]
    builders.check(small(*chosen))
    assert builders.build_training_rule(small(*chosen)).weight == 0.5  # type: ignore[attr-defined]
    assert builders.build_optimization(small(*chosen).training).schedule(2, 10) == 0.25
    builders.check(load_recipe("digits_hdlif", ["model={kind: tiny, width: 2}"]))
    augmented = small("data.augment=[flip, {kind: noise, strength: 3}]")
    builders.check(augmented)
    assert list(own_parts(augmented)) == ["hdlif.augmentations:noise", "own_parts"]
    (line,) = builders.hidden_kinds(augmented)
    assert line.startswith('data.augment = "flip" of spiking-waves 1.2 is not used: ')


def test_what_is_wrong_with_an_entry_point_is_said_in_one_line(waves: Path) -> None:
    for kind, words in (
        ("wavy", '(did you mean "wave"?)'),
        ("number", "is 3; it must be a class derived from hdlif.nn.EquationNeuron"),
        ("gone", '"gone" comes from spiking-waves 1.2, which is broken: '),
        ("module", '"waves" is not the name of a part'),
        ("failing", "importing failing_waves failed: division by zero"),
    ):
        with pytest.raises(RecipeError) as caught:
            builders.check(small(f"neuron={{kind: {kind}}}"))
        assert words in one_printable_line(caught.value)


def test_names_that_ship_or_clash_are_not_taken(waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {type(neuron) for neuron in layers(built("neuron={kind: lif}"))} == {LIF}
    (line,) = builders.hidden_kinds(small("neuron={kind: lif}"))
    assert line.startswith('neuron.kind = "lif" of spiking-waves 1.2 is not used: ')
    assert builders.hidden_kinds(small("neuron={kind: wave}")) == []
    install(tmp_path, monkeypatch, name="other", version="3", groups={"hdlif.neurons": {"wave": "others:Wave"}})
    with pytest.raises(RecipeError, match=r'"wave" is offered by other 3 and by spiking-waves 1.2; uninstall all but'):
        builders.check_names(small("neuron={kind: wave}"))
    (found,) = [check for check in doctor.part_checks() if check.name == "parts hdlif.neurons"]
    assert found.status == "warning"
    assert '"wave" comes from other 3 and from spiking-waves 1.2' in found.detail


def test_what_is_installed_is_listed_without_importing_it(waves: Path) -> None:
    found = neurons.ls()
    names = {offer["name"]: f"{offer['distribution']} {offer['version']}" for offer in found["installed"]}
    assert names["wave"] == "spiking-waves 1.2"
    assert "lif" not in names
    assert "wave  (spiking-waves 1.2)" in neurons.names(found).splitlines()
    assert [line for line in neurons.names(found).splitlines() if "is not used" in line] == found["hidden"]
    (check,) = doctor.part_checks()
    assert check.status == "warning"
    assert not {"waves", "failing_waves"} & sys.modules.keys()
    assert neurons.show("wave")["states"] == ["potential"]
    # Damaged metadata of another package are passed over.
    broken = waves / "site-packages" / "broken.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_bytes(b"\xff\xfe\x00")
    (broken / "entry_points.txt").write_bytes(b"\xff[hdlif.neurons\nwave")
    assert offers("hdlif.neurons").keys() >= {"wave"}
