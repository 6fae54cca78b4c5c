import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hdlif.cli import recipes
from hdlif.deploy import lower
from hdlif.errors import RecipeError
from hdlif.recipe import builders, dump_recipe, load_recipe, shipped_recipes
from hdlif.report.accounting import count_parameters_mb

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
NO_FILES = ("digits", "sines", "wine", "copy", "delayed_xor", "mackey_glass")
"""What recipes so named are trained on is bundled, or made."""
DATA = ("digits", "fashion_mnist", "cifar100_resnet18")


def test_shipped_recipe_is_complete_or_states_only_what_differs_from_a_shipped_base() -> None:
    stated = {name: yaml.safe_load(recipes.show(name)["text"]) for name in shipped_recipes()}
    loaded = {name: load_recipe(name) for name in stated}
    bases = {tree.get("base") for tree in stated.values()}
    for name, tree in stated.items():
        assert loaded[name].name == name
        command = recipes.show(name)["text"].splitlines()[0].split()
        assert command[:4] == ["#", "hdlif", "train", name]
        assert ("--data-root" in command) != name.startswith(NO_FILES)
        if (base := tree.pop("base", None)) is None:
            # A default that changes later must not change a published row.
            assert {"name": name} | tree == yaml.safe_load(dump_recipe(loaded[name]))
            # Another one's base, or like no other: of another set of data.
            kind = loaded[name].data.kind
            assert name in bases or [one for one in loaded if loaded[one].data.kind == kind] == [name]
            continue
        assert base in shipped_recipes(), name
        of_base = loaded[base].model_dump(mode="json")
        for key, value in tree.items():
            assert of_base[key] != value, (name, key)
            if isinstance(value, dict) and "kind" not in value:
                assert [inner for inner in value if of_base[key].get(inner) == value[inner]] == [], (name, key)


def test_names_of_every_shipped_recipe_are_checked_without_torch_or_installed_packages() -> None:
    program = """
import sys
import importlib.metadata
import pydantic, hdlif.config  # pydantic looks for plugins of its own
def refuse(*_, **__): raise AssertionError("looked")
importlib.metadata.distributions = importlib.metadata.entry_points = refuse
from hdlif.recipe import builders, load_recipe, shipped_recipes
for name in shipped_recipes():
    builders.check_names(load_recipe(name))
builders.check_names(load_recipe("digits_hdlif", ["task={kind: classify, metrics: [f1, auroc], best: f1}"]))
heavy = {"torch", "torchvision", "torchmetrics", "lightning_fabric", "sklearn", "timm", "matplotlib"}
print(*sorted(heavy & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert child.stdout == "\n"


def test_networks_on_one_data_set_differ_only_in_what_their_names_say() -> None:
    for data in DATA:
        rows = [load_recipe(f"{data}_{network}") for network in NETWORKS]
        parts = {"name", "neuron", "weights", "spikes"}
        assert all(row.model_dump(exclude=parts) == rows[0].model_dump(exclude=parts) for row in rows)
        neurons = [(row.neuron.kind, row.neuron.arguments.get("parallel")) for row in rows]
        assert neurons == [("lif", None), ("hdlif", "none"), ("hdlif", "none"), ("hdlif", "alternate")]
        assert [row.weights.kind for row in rows] == ["float", "float", "ternary", "ternary"]
        assert [row.spikes.kind for row in rows] == ["exact", "exact", "quantised", "quantised"]


def test_published_figures_are_read_from_the_header(tmp_path: Path) -> None:
    table = recipes.ls()["published"]
    assert table["cifar100_resnet18_lif"] == {"accuracy": 0.7175, "params_mb": 44.84}
    assert table["dvs_cifar10_resnet18_hdlif_w1"] == {"accuracy": 0.817, "params_mb": None}
    assert "digits_lif" not in table
    (tmp_path / "mine.yaml").write_text("# hdlif train mine.yaml\nbase: cifar100_resnet18_lif\n")
    assert recipes.published_figures(tmp_path / "mine.yaml") is None
    page = Path(__file__).parents[2] / "docs" / "reference" / "results" / "published_rows.md"
    assert recipes.published_table() in page.read_text("utf-8")


@pytest.mark.slow
def test_networks_have_the_published_size() -> None:
    for name in [name for name, row in recipes.ls()["published"].items() if row["params_mb"]]:
        recipe = load_recipe(name)
        labels = builders.DATA[recipe.data.kind].labels
        network, record = builders.build_model(recipe), builders.input_record(recipe)
        graph = lower(network, input=record, labels=labels, time_steps=recipe.time_steps)
        assert round(count_parameters_mb(graph), 2) == recipes.published_figures(name)["params_mb"], name


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
    # One without its data does not keep others from being checked.
    with pytest.raises(RecipeError, match=r"1 of 2 recipes are refused: vowels_hdlif: "):
        recipes.check_all(["vowels_hdlif", "digits_hdlif"], build=True, data_root=tmp_path, say=said.append)
    assert said[-1] == "digits_hdlif: good"
