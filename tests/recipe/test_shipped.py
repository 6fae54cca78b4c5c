"""Recipes that ship are complete, of the published sizes and trainable; the JSON Schema has every kind and key."""

import inspect
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import torch
import yaml

import cases
from box_files import write_voc
from hdlif.cli import recipes
from hdlif.data.sources.imagenet import imagenet_classes
from hdlif.deploy import lower
from hdlif.errors import RecipeError
from hdlif.inputs.datasets import CIFAR10_CLASSES
from hdlif.inputs.plain_yaml import parse_yaml
from hdlif.nn import step_parameters
from hdlif.recipe import builders, dump_recipe, load_recipe, recipe_text, shipped_recipes
from hdlif.recipe.builders.augment import AUGMENTS
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.metrics import _OF_TASKS
from hdlif.recipe.builders.own_kinds import FOUND
from hdlif.recipe.builders.part import At, Part, takes
from hdlif.recipe.builders.schema import SECTIONS, recipe_schema
from hdlif.report.accounting import count_parameters_mb
from hdlif.training import checkpoint
from hdlif.training.optimization import sgd
from label_maps import write_maps
from recorded_events import write_dvs_cifar10
from series_files import write_public_arrays
from small_sets import write_cifar, write_fashion_mnist, write_imagenet, write_tiny_imagenet
from sound_files import write_public_voices
from trainings import train

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
NO_FILES = ("digits", "sines", "wine", "copy", "delayed_xor", "mackey_glass")
"""What recipes so named are trained on is bundled, or made."""


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
    for data in ("digits", "fashion_mnist", "cifar100_resnet18"):
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
    rows = [line.split() for line in recipes.published_table().splitlines()]
    assert ["dvs_cifar10_resnet18_hdlif_w1", "81.70%", "—"] in rows


@pytest.mark.slow
def test_networks_have_the_published_size() -> None:
    for name in [name for name, row in recipes.ls()["published"].items() if row["params_mb"]]:
        recipe = load_recipe(name)
        labels = builders.DATA[recipe.data.kind].labels
        network, record = builders.build_model(recipe), builders.input_record(recipe)
        graph = lower(network, input=record, labels=labels, time_steps=recipe.time_steps)
        assert round(count_parameters_mb(graph), 2) == recipes.published_figures(name)["params_mb"], name


def test_check_all_names_every_recipe_that_is_refused(tmp_path: Path) -> None:
    for name, neuron in (("good", "lif"), ("bad", "lf"), ("worse", "hd")):
        (tmp_path / f"{name}.yaml").write_text(f"base: digits_hdlif\nneuron: {{kind: {neuron}}}\n")
    said: list[str] = []
    paths = [tmp_path / f"{name}.yaml" for name in ("good", "bad", "worse")]
    with pytest.raises(RecipeError, match=r'2 of 3 recipes have errors: .*bad\.yaml: .*"lf".*worse\.yaml: .*"hd"'):
        recipes.check_all(paths, say=said.append)
    assert [line.split(": ")[0] for line in said] == [str(path) for path in paths]
    assert recipes.check_all(paths[:1]) == {"recipes": ["good"]}
    # One without its data does not keep others from being checked.
    with pytest.raises(RecipeError, match=r"1 of 2 recipes have errors: vowels_hdlif: "):
        recipes.check_all(["vowels_hdlif", "digits_hdlif"], build=True, data_root=tmp_path, say=said.append)
    assert said[-1] == "digits_hdlif: good"


SMALL = ("digits", "fashion_mnist", "sines", "wine", "copy", "delayed_xor", "mackey_glass")
"""What the networks of recipes so named take no second for, but for a ResNet-18."""


def drawn(count: int, *, of: Iterable[str], others: int | None = None) -> list[Any]:
    """As many of these in the default tier; in the slow one the rest of them, and of other recipes as many, or all."""
    draw, of = random.Random(cases.seed()), sorted(of)
    chosen = draw.sample(of, count)
    rest = sorted(set(shipped_recipes()) - set(of))
    rest = rest if others is None else draw.sample(rest, others)
    return [*chosen, *(pytest.param(name, marks=pytest.mark.slow) for name in (*of, *rest) if name not in chosen)]


QUICK = {name for name in shipped_recipes() if name.startswith(SMALL) and not re.search("resnet18|pixels", name)}


@pytest.mark.parametrize("name", drawn(3, of=QUICK, others=8))
def test_two_updates_bring_a_gradient_to_every_parameter_and_stay_finite(name, root):
    recipe = load_recipe(name)
    recipe, _ = builders.with_data_found(recipe, root)
    builders.check(recipe)
    torch.manual_seed(recipe.seed)
    model, rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
    # A neuron's first leak multiplies a potential of zero, and later steps may not have been drawn.
    reached = set(map(id, step_parameters(model)))
    optimizer = sgd(model, learning_rate=recipe.training.learning_rate, momentum=0.9, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    batch = min(recipe.data.batch_size, 16 if name.startswith(SMALL) else 2)
    for _ in range(2):
        x, target = builders.random_batch(recipe, generator, batch)
        plan = rule.schedule(recipe.time_steps, generator)
        for step in rule(model, x, target, plan):
            assert step.loss.isfinite()
            step.loss.backward()
            reached |= {id(each) for each in model.parameters() if each.grad is not None and each.grad.any()}
            if step.update:
                optimizer.step()
                optimizer.zero_grad()
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all(), key
        assert id(parameter) in reached, key


FEW: dict[str, dict[str, Any]] = {
    "fashion_mnist": {"per_class": (2, 2)},
    "fashion_mnist_events": {"per_class": (2, 2)},
    "cifar10": {"per_class": (5, 1)},
    "cifar100": {"per_class": (2, 1)},
    "imagenet": {"classes": imagenet_classes()[:3], "counts": (12, 6)},
    "tiny_imagenet": {"classes": 3, "per_class": (4, 2)},
    "dvs_cifar10": {"per_class": (4, 1)},
}
"""How many samples the files below have, where a loader counts them."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every data set of the recipes in the form that it has on disk, a few samples each."""
    root = tmp_path_factory.mktemp("data")
    for name in ("cifar10", "cifar100"):
        write_cifar(root, name)
    write_imagenet(root, counts=(4, 2))
    write_tiny_imagenet(root, counts=(4, 2))
    write_fashion_mnist(root, counts=(20, 20))
    write_dvs_cifar10(root, CIFAR10_CLASSES)
    write_public_arrays(root / "hapt", classes=12, steps=128, channels=6)
    write_public_arrays(root / "vowels", classes=9, steps=29, channels=12)
    write_public_voices(root / "voices")
    write_voc(root / "bccd", 40)
    write_maps(root / "nuclei", 40, instances=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, few in FEW.items():
            patch.setitem(DATA, name, replace(DATA[name], load=partial(DATA[name].load, **few)))
        yield root


def small(name: str) -> list[str]:
    """Overrides that make a recipe take no second: few channels, small maps, two batches of four."""
    recipe = load_recipe(name)
    overrides = ["data.batch_size=4", "data.train=8", "training.epochs=1", "training.warmup_epochs=0"]
    # The digits and wines are split so that every class is on either side.
    if recipe.data.kind not in builders.FOUND:
        overrides.append(f"data.validation={10 if recipe.data.kind.startswith('digits') else 3}")
    if recipe.data.kind in DATA and "test" in DATA[recipe.data.kind].defaults:
        overrides += ["data.samples=16", "data.test=8"]
    if recipe.model.kind == "vgg_snn":
        plan: Any = recipe.model.arguments["plan"]
        overrides.append(f"model.plan=[{', '.join('P' if entry == 'P' else '4' for entry in plan)}]")
    else:
        series = recipe.model.kind in ("conv1d", "dense", "recurrent")
        overrides.append("model.widths=[4, 4]" if series else "model.width=4")
    sides = {"imagenet": 32, "tiny_imagenet": 32, "dvs_cifar10": 16, "cifar10": 16, "cifar100": 16}
    side = (sides | {"boxes": 48, "masks": 16}).get(recipe.data.kind)
    if side is not None:
        overrides.append(f"data.size={side}")
    if recipe.model.arguments.get("final_size"):
        overrides.append("model.final_size=1")
    return overrides


def of_each_kind() -> set[str]:
    """The first recipe of each kind of data set, and of each kind of network."""
    first: dict[str, str] = {}
    for name in shipped_recipes():
        recipe = load_recipe(name)
        first.setdefault(recipe.data.kind, name)
        first.setdefault(f"a {recipe.model.kind}", name)
    return set(first.values())


@pytest.mark.parametrize("name", drawn(3, of=of_each_kind()))
def test_two_updates_by_the_command_on_files_of_the_data_set(name: str, root: Path, tmp_path: Path) -> None:
    summary = train(name, overrides=small(name), data_root=root, out=tmp_path, workers=0, memory_repeats=0)
    assert summary.name == name
    answers = summary.accuracy_per_step if summary.per_step is None else summary.per_step
    recipe = load_recipe(name)
    assert len(answers) + recipe.task.arguments.get("delay", 0) == summary.recipe["time_steps"] == recipe.time_steps
    tensors, record = checkpoint.load(tmp_path / "last.safetensors")
    assert record["counters"]["step"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())


SCHEMA = recipe_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)
OF_DATA = {kind: one.part for kind, one in builders.DATA.items()}
PARTS: list[type[Part]] = [
    part for section in (*SECTIONS.values(), *_OF_TASKS.values(), AUGMENTS, FOUND, OF_DATA) for part in section.values()
]


def whole(**sections: Any) -> dict[str, Any]:
    """A good recipe, as its file states it, with other sections."""
    return {**parse_yaml(recipe_text("digits_hdlif")[1], source=""), "name": "digits_hdlif", **sections}


def test_shipped_recipes_are_good_as_they_are_written_and_with_every_value_stated() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name in shipped_recipes():
        for tree in (parse_yaml(recipe_text(name)[1], source=name), load_recipe(name).model_dump(mode="json")):
            assert [error.message for error in CHECK.iter_errors(tree)] == [], name


def test_every_kind_is_in_the_schema_and_every_key_has_a_meaning() -> None:
    kinds = {f"{name}.{kind}" for name, section in SECTIONS.items() for kind in section}
    kinds |= {f"data.{kind}" for kind in (*builders.DATA, *FOUND)} | {f"data.augment.{kind}" for kind in AUGMENTS}
    assert kinds <= SCHEMA["$defs"].keys()
    silent = [
        (kind, key)
        for kind in kinds
        for key, one in SCHEMA["$defs"][kind]["properties"].items()
        if not one.get("description")
    ]
    assert silent == []


def test_every_key_and_default_is_that_of_what_it_makes() -> None:
    """A class states again what the function or class takes that it stands for, which it does not import."""
    wrong = []
    for part in PARTS:
        if not isinstance(part.MAKES, At):
            continue
        taken = takes(part.MAKES.get())
        for name, field in part.model_fields.items():
            if name == "kind" or name in part.BESIDE:
                continue
            if name not in taken:
                wrong.append((part.KIND, name, "is not taken"))
                continue
            start, default = taken[name].default, None if field.is_required() else field.default
            if field.is_required() != (start is inspect.Parameter.empty):
                wrong.append((part.KIND, name, "is required by one alone"))
            elif not field.is_required() and (list(start) if isinstance(start, tuple) else start) != default:
                wrong.append((part.KIND, name, start, default))
    assert wrong == []


def test_names_are_those_of_their_tables() -> None:
    for part in PARTS:
        for name, table in (("surrogate", builders.SURROGATES), ("stem", builders.STEMS), ("draw", builders.DRAWS)):
            names = get_args(part.model_fields[name].annotation) if name in part.model_fields else ()
            assert set(names) in ({*table}, set()), part.KIND


DIGITS = {"kind": "digits", "batch_size": 32, "validation": 200}


def test_a_typical_mistake_is_refused_and_what_is_partial_or_of_ones_own_is_good() -> None:
    for tree in (
        whole(neurons={"kind": "lif"}),
        whole(neuron={"kind": "hdlf"}),
        whole(neuron={"kind": "lif", "mem_bn": True}),
        whole(neuron={"leak": 0.5}),
        whole(rule={"kind": "stochastic_step", "k": "1"}),
        whole(rule={"kind": "stochastic_window"}),
        whole(training={"epochs": 2, "learning_rate": 0.1, "optimizer": {"beta1": 0.9}}),
        whole(data={"kind": "digits", "batch_size": 32}),
        whole(data={**DIGITS, "path": "photos"}),
        whole(data={"kind": "folder", "batch_size": 32}),
        whole(data={**DIGITS, "augment": ["shfit"]}),
        whole(data={**DIGITS, "augment": [{"kind": "flip", "by": 2}]}),
        {key: value for key, value in whole().items() if key != "rule"},
        {"base": "digits_hdlif", "training": {"epoch": 3}},
    ):
        assert not CHECK.is_valid(tree), tree
    for tree in (
        {"base": "digits_hdlif"},
        {"base": "digits_hdlif", "training": {"epochs": 3}, "neuron": {"granularity": "channel"}},
        whole(neuron={"kind": "my_neurons:Wave", "pitch": 3}),
        whole(data={"kind": "my_data:Sets", "batch_size": 32, "year": 2024}),
        whole(data={**DIGITS, "augment": ["shift", "mine:Blur", {"kind": "jitter", "deviation": 0.1}]}),
        whole(task={"kind": "classify", "metrics": ["f1", {"kind": "top_k", "k": 3}, "mine:Own"]}),
        whole(neuron={"kind": "hdlif", "granularity": "channel", "time_constants": [2, 128]}),
        whole(teacher={"kind": "timm", "name": "resnet50", "checkpoint": "resnet50.pth"}),
    ):
        CHECK.validate(tree)
