"""Build the JSON Schema of recipes for text editors, without importing any part of a recipe.

The schema does not describe dependencies between values; `hdlif recipes check` tests these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from hdlif.config import DataConfig, Recipe, TrainingConfig
from hdlif.inputs.events import BINNINGS
from hdlif.recipe.builders.augment import AUGMENTS
from hdlif.recipe.builders.data import FRAMES
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.external_parts import GROUPS, offers
from hdlif.recipe.builders.layers import ATTENTIONS, NORMS, SPIKES, WEIGHTS
from hdlif.recipe.builders.model import MODELS
from hdlif.recipe.builders.neuron import NEURONS
from hdlif.recipe.builders.own_kinds import FOUND
from hdlif.recipe.builders.part import Part, Section
from hdlif.recipe.builders.rule import RULES
from hdlif.recipe.builders.task import TASKS
from hdlif.recipe.builders.training import OPTIMIZERS, PENALTIES, SCHEDULES, TEACHERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OWN = {
    "type": "string",
    "pattern": "^[^:]+:[^:]+$",
    "description": "A part of your own: package.module:Name.",
}
Schema = dict[str, Any]
SECTIONS: Mapping[str, Section[Any]] = {
    section.key: section
    for section in (
        *(MODELS, NORMS, ATTENTIONS, NEURONS, WEIGHTS, SPIKES, RULES, TASKS, PENALTIES, TEACHERS),
        *(OPTIMIZERS, SCHEDULES),
    )
}
"""Sections that consist of a kind and its arguments."""
KEYS = frozenset(
    {f"{name}.{key}" for name, section in SECTIONS.items() for part in section.values() for key in part.key_names()}
    | {f"data.{key}" for key in DataConfig.model_fields}
    | {f"training.{key}" for key in TrainingConfig.model_fields}
)
"""Keys of all sections, such as "neuron.leak"."""


def recipe_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a recipe file, including names that installed packages offer."""
    whole = _of(Recipe)
    definitions = whole.pop("$defs")
    definitions = {name: one for name, one in definitions.items() if name not in ("Component", "DataConfig")}
    for name, section in SECTIONS.items():
        definitions[name] = _section(section.name, [_kind(part) for part in section.values()], definitions)
    definitions["data"] = _section("data.kind", list(_data(definitions)), definitions)
    definitions["data.augment"] = _entry("data.augment", [_kind(part) for part in AUGMENTS.values()], definitions)
    training = definitions.pop("TrainingConfig")
    for name in ("optimizer", "schedule"):
        stated_kind = [{"$ref": f"#/$defs/training.{name}"}, {"required": ["kind"]}]
        training["properties"][name] = {
            "allOf": stated_kind,
            "description": training["properties"][name]["description"],
        }
    definitions["training"] = training | {"required": []}
    for name, one in whole["properties"].items():
        if name in definitions:
            ref = {"$ref": f"#/$defs/{name}"}
            shown = {"anyOf": [ref, {"type": "null"}]} if name == "teacher" else ref
            whole["properties"][name] = {**shown, "description": one["description"]}
    stated: Schema = {name: {"required": ["kind"]} for name in definitions if name in Recipe.model_fields}
    base = "A shipped recipe, or a file at or below this one's folder; this file then states only what differs."
    return {
        "$schema": DIALECT,
        "title": "A recipe of hdlif",
        "description": whole["description"],
        "type": "object",
        "properties": {"base": {"type": "string", "minLength": 1, "description": base}, **whole["properties"]},
        "additionalProperties": False,
        # A recipe with a base contains only the differences.
        "if": {"required": ["base"]},
        "else": {
            "required": [name for name in whole["required"] if name != "name"],
            "properties": stated | {"training": {"required": ["epochs", "learning_rate"]}},
        },
        "$defs": definitions,
    }


def _of(model: type[BaseModel]) -> Schema:
    """Return the Pydantic schema for a class, without generated titles."""
    schema: Schema = _untitled(model.model_json_schema(by_alias=True))
    return schema


def _untitled(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_untitled(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: _untitled(one) for key, one in tree.items() if key != "title" or not isinstance(one, str)}


def _kind(part: type[Part]) -> Schema:
    schema = _of(part)
    kind = {"const": part.KIND, "description": schema["description"]}
    properties = schema["properties"] | {"kind": kind}
    return schema | {"properties": properties, "required": ["kind", *schema.get("required", ())]}


def _section(key: str, kinds: Iterable[Schema], definitions: Schema) -> Schema:
    """Return the schema for a section that accepts several built-in kinds, or a custom kind.

    A section without a kind is merged with the base recipe's section and may have the keys of any kind.
    """
    every: Schema = {}
    refs = []
    for one in kinds:
        definitions |= one.pop("$defs", {})
        every |= {name: {} for name in one["properties"] if name != "kind"}
        name = f"{key.removesuffix('.kind')}.{one['properties']['kind']['const']}"
        definitions[name] = one
        refs.append({"$ref": f"#/$defs/{name}"})
    partial = {"type": "object", "not": {"required": ["kind"]}, "properties": every, "additionalProperties": False}
    own = []
    if key in GROUPS:
        names = [{"enum": sorted(found)}] if (found := offers(GROUPS[key])) else []
        own.append({"type": "object", "properties": {"kind": {"anyOf": [OWN, *names]}}, "required": ["kind"]})
    return {"anyOf": [*refs, *own, partial]}


def _entry(key: str, kinds: list[Schema], definitions: Schema) -> Schema:
    """Return the schema for a list entry: a name, or a section with a kind and its arguments."""
    names = [one["properties"]["kind"]["const"] for one in kinds]
    *sections, _ = _section(key, kinds, definitions)["anyOf"]
    return {"anyOf": [{"enum": sorted({*names, *offers(GROUPS[key])})}, OWN, *sections]}


def _data(definitions: Schema) -> Iterable[Schema]:
    """Yield the schema for the `data` section of each kind, with the common fields and the kind's own fields."""
    plain = _of(DataConfig)
    definitions |= plain["$defs"]
    fields = plain["properties"]
    fields["augment"] |= {"items": {"$ref": "#/$defs/data.augment"}}
    fields["frames"] = {
        "enum": sorted({*FRAMES, *BINNINGS}),
        **{key: fields["frames"][key] for key in ("default", "description")},
    }
    definitions.pop("Component", None)
    number = fields["validation"]["anyOf"][0]
    fields["validation"] = number | {"description": fields["validation"]["description"]}
    for name, ships in DATA.items():
        one = _kind(ships.part)
        kind = {"const": name, "description": ships.meaning or one["description"]}
        properties = {key: value for key, value in fields.items() if key != "found"} | one["properties"]
        required = ["kind", "batch_size", "validation"]
        yield one | {
            "properties": properties | {"kind": kind},
            "required": required,
            "description": kind["description"],
        }
    for part in FOUND.values():
        one = _kind(part)
        properties = {key: value for key, value in fields.items() if key != "validation"} | one["properties"]
        yield one | {"properties": properties, "required": [*one["required"], "batch_size"]}
