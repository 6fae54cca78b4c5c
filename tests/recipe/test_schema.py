"""The JSON Schema of a recipe says what `hdlif recipes check` says, as far as single values go."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml

from hdlif.errors import RecipeError
from hdlif.recipe import builders, load_recipe, recipe_text, shipped_recipes
from hdlif.recipe.builders.schema import KEYS as MEANINGS
from hdlif.recipe.builders.schema import recipe_schema
from hdlif.recipe.plain_yaml import parse_yaml

SECTIONS = (
    *("model", "norm", "attention", "neuron", "weights", "spikes", "rule", "task", "activity", "teacher"),
    *("training.optimizer", "training.schedule", "data"),
)
VALUES: tuple[Any, ...] = (True, 3, 1.5, "x", "x, y", [], [1], ["x"], {}, {"x": 1}, {"x": "y"}, None)


SCHEMA = recipe_schema()


@cache
def schema(section: str = "") -> jsonschema.Draft202012Validator:
    """What checks a recipe, or one of its sections."""
    of_section = {"$ref": f"#/$defs/{section}", "$defs": SCHEMA["$defs"]}
    return jsonschema.Draft202012Validator(of_section if section else SCHEMA)


def written(name: str) -> Any:
    return parse_yaml(recipe_text(name)[1], source=name)


def whole(**sections: Any) -> dict[str, Any]:
    """A good recipe, as its file states it, with other sections."""
    return {**written("digits_hdlif"), "name": "digits_hdlif", **sections}


def with_section(section: str, value: Any) -> dict[str, Any]:
    tree = whole()
    *outer, last = section.split(".")
    place = tree
    for key in outer:
        place[key] = dict(place[key])
        place = place[key]
    place[last] = value
    return tree


def kinds() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each section, each of its kinds, and the keys of that kind."""
    for section in SECTIONS:
        for rule in SCHEMA["$defs"][section]["allOf"]:
            if "properties" in rule["if"]:
                then = rule["then"]["properties"]
                yield section, then["kind"]["const"], then


KINDS = list(kinds())
NEEDED: dict[str, Any] = {"of": "collections:Counter", "batch_size": 4, "validation": 4, "path": "x"}
"""What check misses before it looks at another key."""


def stated(section: str, kind: str, **arguments: Any) -> dict[str, Any]:
    """A section of that kind, with these arguments and those without which check looks at none."""
    ((_, _, keys),) = (one for one in KINDS if one[:2] == (section, kind))
    needed = {key: value for key, value in NEEDED.items() if key in keys and (section, key) != ("neuron", "path")}
    channels = {"granularity": "channel"} if "time_constants" in arguments else {}
    return {"kind": kind, **arguments} | {key: one for key, one in needed.items() if key not in arguments} | channels


def said_by_check(section: str, value: dict[str, Any]) -> str:
    """What `hdlif recipes check` says of a recipe that is good but for a section; "" if nothing."""
    name = "digits_hdlif"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hdlif.recipe.recipe_text", lambda _: (name, yaml.dump(with_section(section, value))))
        try:
            builders.check_names(load_recipe(name))
        except RecipeError as error:
            return str(error).removeprefix(f"{name}: ")
    return ""


def errors_at(section: str, value: dict[str, Any], key: str) -> list[str]:
    """What the schema says of a key of a section, or of its value."""
    return [
        error.message
        for error in schema(section).iter_errors(value)
        if (error.absolute_path and error.absolute_path[0] == key)
        or (error.validator == "additionalProperties" and not error.absolute_path and f"'{key}'" in error.message)
    ]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_is_good_as_it_is_written_and_with_every_value_stated(name: str) -> None:
    schema().validate(written(name))
    schema().validate(load_recipe(name).model_dump(mode="json"))


def test_every_kind_of_every_table_is_one_of_the_schema() -> None:
    tables = {
        "model": builders.MODELS,
        "neuron": builders.NEURONS,
        "rule": builders.RULES,
        "norm": builders.NORMS,
        "attention": builders.ATTENTIONS,
        "weights": builders.WEIGHTS,
        "spikes": builders.SPIKES,
        "activity": builders.PENALTIES,
        "task": builders.TASKS,
        "teacher": builders.TEACHERS,
        "training.optimizer": builders.OPTIMIZERS,
        "training.schedule": builders.SCHEDULES,
        "data": {**builders.DATA, **builders.FOUND},
    }
    assert {(section, kind) for section, kind, _ in KINDS} == {
        (section, kind) for section, table in tables.items() for kind in table
    }


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_its_keys_are_those_that_check_knows(section: str) -> None:
    every = {key for of, _, keys in KINDS if of == section for key in keys} - {"kind", "found", "validation"}
    differing = []
    for of, kind, keys in KINDS:
        for key in sorted(every | {"nonsense", "criterion", "weight", "mean", "kernel"}) if of == section else ():
            said = said_by_check(section, stated(section, kind, **{key: "x"}))
            place = re.escape(f"{section}.{key}")
            unknown = re.match(rf"{place}( = [^ ]+)? (is unknown|is not set there)", said) and '"x" is' not in said
            if bool(unknown) == (key in keys):
                differing.append((kind, key, said))
    assert differing == []


@pytest.mark.slow
@pytest.mark.parametrize(("section", "kind", "keys"), KINDS, ids=[f"{section}-{kind}" for section, kind, _ in KINDS])
def test_it_accepts_of_each_argument_the_values_that_check_accepts(
    section: str, kind: str, keys: dict[str, Any]
) -> None:
    differing = []
    for key in keys.keys() - {"kind", "found"}:
        for value in VALUES:
            section_stated = stated(section, kind, **{key: value})
            said = said_by_check(section, section_stated)
            refused = bool(re.match(rf"{re.escape(f'{section}.{key}')}\b", said))
            if refused != bool(errors_at(section, section_stated, key)):
                differing.append((key, value, said, errors_at(section, section_stated, key)))
    assert differing == []


@pytest.mark.parametrize(
    "tree",
    [
        whole(neurons={"kind": "lif"}),
        whole(neuron={"kind": "hdlf"}),
        whole(neuron={"kind": "lif", "mem_bn": True}),
        whole(neuron={"leak": 0.5}),
        whole(neuron="lif"),
        whole(rule={"kind": "stochastic_step", "k": "1"}),
        whole(rule={"kind": "stochastic_window"}),
        whole(rule={"kind": "sltt", "update": "sometimes"}),
        whole(training={"epochs": 0, "learning_rate": 0.1}),
        whole(training={"epochs": 2}),
        whole(training={"epochs": 2, "learning_rate": 0.1, "optimiser": {"kind": "adam"}}),
        whole(training={"epochs": 2, "learning_rate": 0.1, "optimizer": {"beta1": 0.9}}),
        whole(data={"kind": "digits", "batch_size": 32}),
        whole(data={"kind": "digits", "batch_size": 32, "validation": 200, "path": "photos"}),
        whole(data={"kind": "folder", "batch_size": 32}),
        whole(data={"kind": "digits", "batch_size": 32, "validation": 200, "augment": ["shfit"]}),
        whole(data={"kind": "digits", "batch_size": 32, "validation": 200, "augment": [{"kind": "flip", "by": 2}]}),
        whole(time_steps=4.5),
        {key: value for key, value in whole().items() if key != "rule"},
        {"base": "digits_hdlif", "neuron": {"kind": "lif", "leek": 0.5}},
        {"base": "digits_hdlif", "training": {"epoch": 3}},
    ],
)
def test_a_typical_mistake_is_refused(tree: dict[str, Any]) -> None:
    assert not schema().is_valid(tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"base": "digits_hdlif"},
        {"base": "digits_hdlif", "training": {"epochs": 3}, "neuron": {"granularity": "channel"}},
        whole(neuron={"kind": "my_neurons:Wave", "pitch": 3}),
        whole(data={"kind": "my_data:Sets", "batch_size": 32, "year": 2024}),
        whole(data={"kind": "digits", "batch_size": 8, "validation": 8, "augment": ["shift", "mine:Blur"]}),
        whole(task={"kind": "classify", "metrics": ["f1", {"kind": "top_k", "k": 3}, "mine:Own"]}),
        whole(weights={"kind": "ternary", "keep_float": ["stages.*"]}),
        whole(neuron={"kind": "hdlif", "granularity": "channel", "time_constants": [2, 128]}),
        whole(teacher={"kind": "timm", "name": "resnet50", "checkpoint": "resnet50.pth"}),
    ],
)
def test_what_is_partial_or_of_ones_own_is_good(tree: dict[str, Any]) -> None:
    schema().validate(tree)


def test_every_key_says_what_it_means() -> None:
    silent = [
        (section, kind, key) for section, kind, keys in KINDS for key, one in keys.items() if not one["description"]
    ]
    assert silent == []
    assert [key for key, one in SCHEMA["properties"].items() if not one["description"]] == []


def test_every_meaning_is_one_of_the_schema() -> None:
    said = set(_descriptions(SCHEMA))
    assert [place for place, meaning in MEANINGS.items() if meaning not in said] == []


def _descriptions(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("description"), str):
            yield tree["description"]
        tree = list(tree.values())
    for inner in tree if isinstance(tree, list) else ():
        yield from _descriptions(inner)


def test_what_stands_as_a_default_is_accepted() -> None:
    refused = []
    for section, kind, keys in KINDS:
        for key, one in keys.items():
            value = {"kind": kind, key: one.get("default")}
            if one.get("default") is not None and errors_at(section, value, key):
                refused.append((section, kind, key, one["default"]))
    assert refused == []
