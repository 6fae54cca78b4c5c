import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hdlif import builders
from hdlif.accounting import count_parameters_mb
from hdlif.cli import recipes
from hdlif.config import Recipe, dump_recipe, load_recipe, shipped_recipes
from hdlif.datasets import SHIPPED, WITHOUT_DOWNLOAD
from hdlif.deploy import lower
from hdlif.errors import RecipeError

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
NO_FILES = ("digits", "sines", "wine", "copy", "delayed_xor", "mackey_glass")
"""What recipes so named are trained on is bundled, or made."""
DATA = ("digits", "fashion_mnist", "cifar100_resnet18")

every_recipe = pytest.mark.parametrize("name", shipped_recipes())


def test_every_network_ships_for_every_data_set() -> None:
    assert {f"{data}_{network}" for data in DATA for network in NETWORKS} <= set(shipped_recipes())


@every_recipe
def test_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


@every_recipe
def test_shipped_recipe_is_complete_or_has_a_shipped_base(name: str) -> None:
    # A default that changes later must not change a published row.
    stated = yaml.safe_load(recipes.show(name)["text"])
    if "base" in stated:
        assert stated["base"] in shipped_recipes()
    else:
        assert {"name": name} | stated == yaml.safe_load(dump_recipe(load_recipe(name)))


@every_recipe
def test_shipped_recipe_states_only_what_differs_from_its_base(name: str) -> None:
    stated = yaml.safe_load(recipes.show(name)["text"])
    if (base := stated.pop("base", None)) is None:
        # Another one's base, or like no other: of another set of data.
        bases = {yaml.safe_load(recipes.show(other)["text"]).get("base") for other in shipped_recipes()}
        kind = load_recipe(name).data.kind
        assert name in bases or [other for other in shipped_recipes() if load_recipe(other).data.kind == kind] == [name]
        return
    of_base = load_recipe(base).model_dump(mode="json")
    for key, value in stated.items():
        assert of_base[key] != value
        if isinstance(value, dict) and "kind" not in value:
            assert [inner for inner in value if of_base[key].get(inner) == value[inner]] == []


@every_recipe
def test_shipped_recipe_begins_with_its_command(name: str) -> None:
    command = recipes.show(name)["text"].splitlines()[0].split()
    assert command[:4] == ["#", "hdlif", "train", name]
    assert ("--data-root" in command) != name.startswith(NO_FILES)


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


def test_recipes_that_need_no_download_come_first() -> None:
    names = recipes.ls()["recipes"]
    without = [load_recipe(name).data.kind in WITHOUT_DOWNLOAD for name in names]
    assert without == sorted(without, reverse=True)
    assert without[names.index("digits_hdlif")]
    assert not without[names.index("hapt_hdlif")]
    assert {*WITHOUT_DOWNLOAD} <= {*SHIPPED}


def test_published_figures_are_read_from_the_header(tmp_path: Path) -> None:
    table = recipes.ls()["published"]
    assert table["cifar100_resnet18_lif"] == {"accuracy": 0.7175, "params_mb": 44.84}
    assert table["dvs_cifar10_resnet18_hdlif_w1"] == {"accuracy": 0.817, "params_mb": None}
    assert "digits_lif" not in table
    (tmp_path / "mine.yaml").write_text("# hdlif train mine.yaml\nbase: cifar100_resnet18_lif\n")
    assert recipes.published_figures(tmp_path / "mine.yaml") is None


def test_reproduction_lists_the_published_figure_of_every_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "results" / "published_rows.md").read_text("utf-8")
    assert recipes.published_table() in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in recipes.ls()["published"].items() if row["params_mb"]])
def test_network_has_the_published_size(name: str) -> None:
    recipe = load_recipe(name)
    labels = builders.DATA[recipe.data.kind].labels
    network, record = builders.build_model(recipe), builders.input_record(recipe)
    graph = lower(network, input=record, labels=labels, time_steps=recipe.time_steps)
    assert round(count_parameters_mb(graph), 2) == recipes.published_figures(name)["params_mb"]


def test_resolved_recipe_states_what_its_base_gave() -> None:
    shown = recipes.show("cifar100_resnet18_hdlif_w1", resolved=True)
    assert shown["name"] == "cifar100_resnet18_hdlif_w1"
    assert yaml.safe_load(shown["text"])["training"]["epochs"] == 300


def test_check_all_names_every_recipe_that_is_refused(tmp_path: Path) -> None:
    for name, neuron in (("good", "lif"), ("bad", "lf"), ("worse", "hd")):
        (tmp_path / f"{name}.yaml").write_text(f"base: digits_hdlif\nneuron: {{kind: {neuron}}}\n")
    said: list[str] = []
    paths = [tmp_path / f"{name}.yaml" for name in ("good", "bad", "worse")]
    with pytest.raises(RecipeError, match=r'2 of 3 recipes are refused: .*bad\.yaml: .*"lf".*worse\.yaml: .*"hd"'):
        recipes.check_all(paths, say=said.append)
    assert [line.split(": ")[0] for line in said] == [str(path) for path in paths]
    assert recipes.check_all(paths[:1]) == {"recipes": ["good"]}


def test_a_recipe_without_its_data_does_not_keep_others_from_being_checked(tmp_path: Path) -> None:
    said: list[str] = []
    names = ["vowels_hdlif", "digits_hdlif"]
    with pytest.raises(RecipeError, match=r"1 of 2 recipes are refused: vowels_hdlif: "):
        recipes.check_all(names, build=True, data_root=tmp_path, say=said.append)
    assert said[1] == "digits_hdlif: good"


def test_check_of_nothing_checks_all_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Recipe] = []
    monkeypatch.setattr(builders, "check_names", checked.append)
    assert recipes.check_all(overrides=["seed=7"])["recipes"] == shipped_recipes()
    assert [recipe.name for recipe in checked] == shipped_recipes()
    assert {recipe.seed for recipe in checked} == {7}


def test_show_gives_name_and_text() -> None:
    shown = recipes.show("digits_lif")
    assert shown["name"] == "digits_lif"
    assert shown["text"] == (
        "# hdlif train digits_lif\n# digits_hdlif with LIF neurons, whose spikes are binary.\nbase: digits_hdlif\n"
        "neuron: {kind: lif}\n"
    )


def test_check_hands_the_overridden_recipe_to_the_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr(builders, "check_names", checked.append)
    result = recipes.check("digits_lif", ["seed=7"])
    assert checked == [load_recipe("digits_lif", ["seed=7"])]
    assert result["name"] == "digits_lif"
    assert result["recipe"]["seed"] == 7


def test_check_refuses_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdlif.builders", SimpleNamespace(check=lambda recipe: None))
    with pytest.raises(RecipeError, match=r"training\.epoch = 3 is unknown"):
        recipes.check("digits_lif", ["training.epoch=3"])
