import sys
from importlib.resources import files
from types import SimpleNamespace

import pytest
import yaml

from hdlif.commands import recipes
from hdlif.config import dump_recipe, load_recipe, shipped_recipes
from hdlif.errors import RecipeError

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
DATA = ("digits", "fashion_mnist")

every_recipe = pytest.mark.parametrize("name", shipped_recipes())


def test_every_network_ships_for_every_data_set() -> None:
    assert {f"{data}_{network}" for data in DATA for network in NETWORKS} <= set(shipped_recipes())


@every_recipe
def test_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


@every_recipe
def test_shipped_recipe_is_complete(name: str) -> None:
    # A default that changes later must not change a published row.
    stated = yaml.safe_load(recipes.show(name)["text"])
    assert {"name": name} | stated == yaml.safe_load(dump_recipe(load_recipe(name)))


@every_recipe
def test_shipped_recipe_begins_with_its_command(name: str) -> None:
    command = recipes.show(name)["text"].splitlines()[0].split()
    assert command[:4] == ["#", "hdlif", "train", name]
    assert ("--data-root" in command) == name.startswith("fashion_mnist")


@pytest.mark.parametrize("data", DATA)
def test_networks_on_one_data_set_differ_only_in_what_their_names_say(data: str) -> None:
    rows = [load_recipe(f"{data}_{network}") for network in NETWORKS]
    parts = {"name", "neuron", "weights", "spikes"}
    assert all(row.model_dump(exclude=parts) == rows[0].model_dump(exclude=parts) for row in rows)
    assert [(row.neuron.kind, row.neuron.arguments.get("parallel")) for row in rows] == [
        ("lif", None),
        ("hdlif", "none"),
        ("hdlif", "none"),
        ("hdlif", "alternate"),
    ]
    assert [row.weights.kind for row in rows] == ["float", "float", "ternary", "ternary"]
    assert [row.spikes.kind for row in rows] == ["exact", "exact", "quantised", "quantised"]


def test_ls_names_every_file() -> None:
    names = {f.name for f in files("hdlif").joinpath("recipes").iterdir()}
    assert {f"{name}.yaml" for name in recipes.ls()["recipes"]} == names


def test_show_gives_name_and_text() -> None:
    shown = recipes.show("digits_lif")
    assert shown["name"] == "digits_lif"
    assert shown["text"].startswith("# hdlif train digits_lif\nseed: 42\n")


def test_check_hands_the_overridden_recipe_to_the_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setitem(sys.modules, "hdlif.builders", SimpleNamespace(check=checked.append))
    result = recipes.check("digits_lif", ["seed=7"])
    assert checked == [load_recipe("digits_lif", ["seed=7"])]
    assert result["name"] == "digits_lif"
    assert result["recipe"]["seed"] == 7


def test_check_refuses_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdlif.builders", SimpleNamespace(check=lambda recipe: None))
    with pytest.raises(RecipeError, match=r"training\.epoch = 3 is unknown"):
        recipes.check("digits_lif", ["training.epoch=3"])
