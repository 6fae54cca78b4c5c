"""The JSON Schema of a recipe, and the classes that it is made of."""

import inspect
from typing import Any, get_args

import jsonschema

from hdlif.inputs.plain_yaml import parse_yaml
from hdlif.recipe import builders, load_recipe, recipe_text, shipped_recipes
from hdlif.recipe.builders.augment import AUGMENTS
from hdlif.recipe.builders.metrics import _OF_TASKS
from hdlif.recipe.builders.own_kinds import FOUND
from hdlif.recipe.builders.part import At, Part, takes
from hdlif.recipe.builders.schema import SECTIONS, recipe_schema

SCHEMA = recipe_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)
PARTS: list[type[Part]] = [
    part
    for section in (
        *SECTIONS.values(),
        *_OF_TASKS.values(),
        AUGMENTS,
        FOUND,
        {k: v.part for k, v in builders.DATA.items()},
    )
    for part in section.values()
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
        whole(neuron="lif"),
        whole(rule={"kind": "stochastic_step", "k": "1"}),
        whole(rule={"kind": "stochastic_window"}),
        whole(training={"epochs": 0, "learning_rate": 0.1}),
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
