"""Parts of installed packages, by plain names from their entry points."""

import sys
from pathlib import Path

import pytest
import torch

from distributions import WAVE, install
from hdlif.cli import doctor, neurons
from hdlif.errors import RecipeError
from hdlif.nn import LIF
from hdlif.recipe import builders, dump_recipe, load_recipe
from hdlif.recipe.builders.installed import offers
from hostile import one_printable_line
from small_recipes import built, recipe
from small_recipes import neurons as neurons_of

RULE = """
from own_parts import LastStep, NoPlan, SignSGD, halving, quiet_norm
"""


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package with a neuron, and whatever else may be wrong with one."""
    names = {"wave": "waves:Wave", "number": "waves:NUMBER", "gone": "waves:Gone", "absent": "no_such_waves:Wave"}
    names |= {"module": "waves", "failing": "failing_waves:Wave", "lif": "waves:Wave", "extra": "waves:Wave [more]"}
    install(tmp_path, monkeypatch, groups={"hdlif.neurons": names}, waves=WAVE, failing_waves="1 / 0\n")
    return tmp_path


def test_a_neuron_of_an_installed_package_is_named_plainly(waves: Path, tmp_path: Path) -> None:
    chosen = recipe("neuron={kind: wave, leak: 0.25}")
    builders.check_names(chosen)
    network = built("neuron={kind: wave, leak: 0.25}")
    named = built('neuron={kind: "waves:Wave", leak: 0.25}')
    x = torch.rand(1, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x, steps=range(4))[0], named(x, steps=range(4))[0])
    (tmp_path / "kept.yaml").write_text(dump_recipe(chosen))
    assert load_recipe(tmp_path / "kept.yaml").neuron == chosen.neuron


def test_every_other_section_takes_such_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "hdlif.rules": {"last": "parts_of_mine:LastStep", "planless": "parts_of_mine:NoPlan"},
        "hdlif.optimizers": {"sign": "parts_of_mine:SignSGD"},
        "hdlif.schedules": {"halving": "parts_of_mine:halving"},
        "hdlif.norms": {"quiet": "parts_of_mine:quiet_norm"},
        "hdlif.models": {"tiny": "own_models:tiny"},
        "hdlif.metrics": {"sure": "own_metrics:Sure"},
    }
    install(tmp_path, monkeypatch, groups=groups, parts_of_mine=RULE)
    chosen = [
        "rule={kind: last, weight: 0.5}",
        "training.optimizer={kind: sign}",
        "training.schedule={kind: halving, every: 1}",
        "norm={kind: quiet}",
        "task={kind: classify, metrics: [{kind: sure, power: 2.0}], best: sure}",
    ]
    builders.check(recipe(*chosen))
    assert builders.build_training_rule(recipe(*chosen)).weight == 0.5  # type: ignore[attr-defined]
    assert builders.build_optimization(recipe(*chosen).training).schedule(2, 10) == 0.25
    builders.check(load_recipe("digits_hdlif", ["model={kind: tiny, width: 2}"]))
    with pytest.raises(RecipeError, match="its schedule gives a int"):
        builders.check(recipe("rule={kind: planless}"))


def test_what_is_wrong_with_an_entry_point_is_said_in_one_line(waves: Path) -> None:
    for kind, words in (
        ("wavy", '(did you mean "wave"?)'),
        ("number", "is 3; it must be a class derived from hdlif.nn.EquationNeuron"),
        ("gone", '"gone" is of spiking-waves 1.2, which is broken: '),
        ("absent", "there is no module no_such_waves"),
        ("module", '"waves" is not the name of a part'),
        ("failing", "importing failing_waves failed: division by zero"),
    ):
        with pytest.raises(RecipeError) as caught:
            builders.check(recipe(f"neuron={{kind: {kind}}}"))
        assert words in one_printable_line(caught.value)


def test_a_name_that_ships_or_is_of_two_packages_is_not_taken_from_one(
    waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {type(neuron) for neuron in neurons_of(built("neuron={kind: lif}"))} == {LIF}
    (line,) = builders.hidden_kinds(recipe("neuron={kind: lif}"))
    assert line.startswith('neuron.kind = "lif" of spiking-waves 1.2 is not used: ')
    assert builders.hidden_kinds(recipe("neuron={kind: wave}")) == []
    install(tmp_path, monkeypatch, name="other", version="3", groups={"hdlif.neurons": {"wave": "others:Wave"}})
    with pytest.raises(RecipeError, match=r'"wave" is offered by other 3 and by spiking-waves 1.2; uninstall all but'):
        builders.check_names(recipe("neuron={kind: wave}"))
    (found,) = [check for check in doctor.part_checks() if check.name == "parts hdlif.neurons"]
    assert found.status == "warning"
    assert '"wave" is of other 3 and of spiking-waves 1.2' in found.detail


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
