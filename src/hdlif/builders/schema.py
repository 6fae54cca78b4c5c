"""A recipe's JSON Schema, for editors: what `check_names` accepts, as far as keys, kinds, types and choices say it.

It is made from the tables of names, and from what their parts take, as the text of the code states it; neither PyTorch
nor a part is imported. What depends on several values at once is left to `hdlif recipes check`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from hdlif.builders import attention, augment, extras, found, model, neuron, optimization, rule, task
from hdlif.builders.activity import PENALTIES
from hdlif.builders.arguments import adapter, takes_list_of_names
from hdlif.builders.data import CONSTANT, FRAMES
from hdlif.builders.installed import GROUPS, offers
from hdlif.builders.meanings import MEANINGS
from hdlif.builders.metrics import METRICS
from hdlif.builders.norm import NORMS
from hdlif.builders.places import At, Parameter, meanings, parameters
from hdlif.builders.shipped import DATA
from hdlif.builders.spikes import SPIKES
from hdlif.builders.spiking import OF
from hdlif.builders.weights import LAYERS, WEIGHTS
from hdlif.config import DataConfig, FoundConfig, MixupConfig, Recipe, TrainingConfig
from hdlif.inputs.events import BINNINGS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OWN = {
    "type": "string",
    "pattern": "^[^:]+:[^:]+$",
    "description": "A part of your own: package.module:Name.",
}
Schema = dict[str, Any]
Table = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Kinds:
    """What a section is, by its `kind`.

    Attributes:
        key: of the section in a recipe, such as "training.optimizer".
        makes: what is made of each kind, whose parameters are keys of the section.
        given: parameters that are no keys.
        tables: what makes that for which names stand, by parameter.
        beside: keys that are no parameters, of all kinds, or as `only` says of some.
        only: the keys of `beside` that each kind takes; all where it is not named.
    """

    key: str
    makes: Mapping[str, Callable[..., Any]]
    given: Collection[str] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    beside: Mapping[str, Schema] = field(default_factory=dict)
    only: Mapping[str, Collection[str]] = field(default_factory=dict)


_NAMES: Schema = {"type": "array", "items": {"type": "string"}}
_SPAN: Schema = {
    "anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}]
}


def _of_neurons() -> Kinds:
    mem_bn = _arguments("neuron.mem_bn", At("hdlif.nn:MemBN"), given=("time_steps", "channels"))
    of_kernel = {"type": "integer", "minimum": 1, "not": {"multipleOf": 2}}
    beside: dict[str, Schema] = {
        "granularity": {"enum": sorted(neuron.GRANULARITIES), "default": "layer"},
        "recurrent": {
            "anyOf": [
                {"type": "boolean"},
                {"type": "object", "properties": {"kernel_size": of_kernel}, "additionalProperties": False},
            ],
            "default": False,
        },
        "time_constants": {
            "anyOf": [*_SPAN["anyOf"], {"type": "object", "minProperties": 1, "additionalProperties": _SPAN}],
            "default": False,
        },
        "parallel": {"anyOf": [{"enum": list(neuron.PARALLEL_PATTERNS)}, _NAMES], "default": "none"},
        "mem_bn": {"anyOf": [{"type": "boolean"}, mem_bn], "default": False},
    }
    only = {
        kind: [
            *("granularity", "recurrent"),
            *(["time_constants"] if neuron.leaks_of(layer) else []),
            *(["parallel", "mem_bn"] if kind == "hdlif" else []),
        ]
        for kind, layer in neuron.CLASSES.items()
    }
    tables = {"surrogate": neuron.SURROGATES, "reset": neuron.RESETS}
    return Kinds("neuron", neuron.CLASSES, ("time_steps", "channels", "quantizer", "norm"), tables, beside, only)


def _of_attention() -> Kinds:
    form = {"form": {"enum": sorted(attention.ATTENTION_FORMS), "default": "I"}}
    return Kinds("attention", attention.ATTENTIONS, ("time_steps",), beside=form, only={"none": ()})


def _of_metrics() -> Schema:
    names: Schema = {"anyOf": [{"enum": sorted({*METRICS, *offers(GROUPS["task.metrics"])})}, OWN]}
    shown = {"type": "string", "minLength": 1, "description": "Of the figure."}
    named = {"type": "object", "properties": {"kind": names, "name": shown}, "required": ["kind"]}
    return {"metrics": {"type": "array", "items": {"anyOf": [*names["anyOf"], named]}, "default": []}}


def _sections() -> list[Kinds]:
    """Every section of a recipe that has a kind, but for `data`."""
    mse_share = _type(Parameter(True, parameters(rule.CRITERION)["mse_share"].annotation)) or {}
    layers = {key: {**_NAMES, "default": []} for key in LAYERS}
    teachers = dict.fromkeys(extras.TEACHERS, extras.Teaching)
    return [
        Kinds("model", model.MODELS, (*model.PARTS, "filled", "block", "attention"), {"stem": model.STEMS}),
        Kinds("norm", NORMS, ("time_steps",)),
        _of_attention(),
        _of_neurons(),
        Kinds("weights", WEIGHTS, beside=layers),
        Kinds("spikes", SPIKES),
        Kinds("rule", rule.RULES, ("criterion",), rule.TABLES, {"mse_share": mse_share}),
        Kinds("task", task.TASKS, task.GIVEN, beside=_of_metrics()),
        Kinds("activity", PENALTIES, ("time_steps",)),
        Kinds("teacher", teachers),
        Kinds("training.optimizer", optimization.OPTIMIZERS, ("params", "lr", "weight_decay", "momentum")),
        Kinds("training.schedule", optimization.SCHEDULES),
    ]


def recipe_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a recipe's file, with the names that packages installed here offer."""
    parts = {kinds.key: _section(kinds) for kinds in _sections()}
    found_here, inner = _fields(FoundConfig, "data.found")
    parts["teacher"]["type"] = ["object", "null"]
    definitions = {**parts, "data": _data(), "training": _training(), "data.augment": _augmentation()}
    definitions |= {"data.mixup": _fields(MixupConfig, "data.mixup")[0], "data.found": found_here, **inner}
    whole, _ = _fields(Recipe, "")
    sections = [name for name in definitions if name in Recipe.model_fields]
    properties = {
        name: _meant(_ref(name), name) if name in sections else plain for name, plain in whole["properties"].items()
    }
    stated = {name: {"required": ["kind"]} for name in sections if name != "training"}
    stated["training"] = {"required": ["epochs", "learning_rate"]}
    return {
        "$schema": DIALECT,
        "title": "A recipe of hdlif",
        "description": MEANINGS[""],
        "type": "object",
        "properties": {"base": _meant({"type": "string", "minLength": 1}, "base"), **properties},
        "additionalProperties": False,
        # A recipe with a base states only what differs.
        "if": {"required": ["base"]},
        "else": {"required": [name for name in whole["required"] if name != "name"], "properties": stated},
        "$defs": definitions,
    }


def _section(kinds: Kinds) -> Schema:
    """A section that is a kind and its arguments."""
    return _by_kind(kinds.key, {kind: _of_kind(kinds, kind, make) for kind, make in kinds.makes.items()})


def _by_kind(key: str, of_kind: Mapping[str, Schema]) -> Schema:
    """A section of one of several kinds, each an object that takes no other keys; or of a kind of the user's own.

    Without a kind it is merged with that of the base, and may have the keys of any.
    """
    group = GROUPS.get(f"{key}.kind")
    names: Schema = {"enum": sorted({*of_kind, *(offers(group) if group else ())})}
    every: dict[str, list[Schema]] = {}
    for one in of_kind.values():
        for name, schema in one["properties"].items():
            if name != "kind" and all(_plain(schema) != _plain(known) for known in every.setdefault(name, [])):
                every[name].append(schema)
    merged = {name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for name, schemas in every.items()}
    return {
        "type": "object",
        "properties": {"kind": _meant({"anyOf": [names, OWN]} if group else names, f"{key}.kind")},
        "if": {"not": {"required": ["kind"]}},
        "then": {"properties": merged, "additionalProperties": False},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": one}
            for kind, one in of_kind.items()
        ],
    }


def _of_kind(kinds: Kinds, kind: str, make: Callable[..., Any]) -> Schema:
    # The reset of GLIF is a number.
    tables = {name: table for name, table in kinds.tables.items() if (kind, name) != ("glif", "reset")}
    one = _arguments(kinds.key, make, kind=kind, given=kinds.given, tables=tables)
    only = kinds.only.get(kind, kinds.beside)
    beside = {name: _meant(schema, f"{kinds.key}.{name}") for name, schema in kinds.beside.items() if name in only}
    return _as_kind(f"{kinds.key}.kind.{kind}", one["properties"] | beside, one["required"])


def _as_kind(place: str, properties: Mapping[str, Schema], required: Collection[str] = ()) -> Schema:
    """What a section of the kind at "section.kind.KIND" is."""
    kind = {"const": place.rpartition(".")[2], "description": MEANINGS[place]}
    taken = {"kind": kind, **properties}
    return {
        "type": "object",
        "description": MEANINGS[place],
        "properties": taken,
        "required": list(required),
        "additionalProperties": False,
    }


def _arguments(
    key: str,
    make: Callable[..., Any],
    *,
    kind: str = "",
    given: Collection[str] = (),
    tables: Mapping[str, Table] = MappingProxyType({}),
) -> Schema:
    """The arguments of a part as an object."""
    said, properties = meanings(make), {}
    taken = {name: parameter for name, parameter in parameters(make).items() if name not in given}
    for name, parameter in taken.items():
        schema = _named(tables[name], parameter) if name in tables else _type(parameter)
        if schema is not None:
            places = (f"{key}.{kind}.{name}", f"{key}.{name}")
            schema = OWN if places[1] == OF else schema
            text = next((MEANINGS[place] for place in places if place in MEANINGS), _sentence(said.get(name, "")))
            properties[name] = {**schema, "description": text}
    required = [name for name in properties if taken[name].required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _type(parameter: Parameter) -> Schema | None:
    """What a recipe may set a parameter to; None where that is nothing."""
    check = adapter(parameter.annotation)
    if check is None:
        return None
    schema = check.json_schema()
    if takes_list_of_names(check):
        # A plain name stands for a list of one.
        schema = {"anyOf": [schema, {"type": "string", "pattern": r"^[^,]*[^,\s][^,]*$"}]}
    return schema | _default(parameter)


def _named(table: Table, parameter: Parameter) -> Schema:
    """The names of a table, and the one whose place is that of the default."""
    made = str(parameter.default).partition("(")[0]
    places = {name: getattr(getattr(make, "__self__", make), "place", "") for name, make in table.items()}
    default = next((name for name, place in places.items() if place.endswith(f":{made}")), None)
    # Nothing is a name of its own where nothing is the default.
    names: Schema = {"enum": list(table)}
    return names | ({} if default is None else {"default": default})


def _default(parameter: Parameter) -> Schema:
    """A default that a recipe could state; what one that is made otherwise is stands in the meaning."""
    value = parameter.default
    if isinstance(value, tuple):
        value = list(value)
    is_word = isinstance(value, str) and value.isidentifier() and not value.isupper()
    return {"default": value} if not parameter.required and (isinstance(value, int | float | list) or is_word) else {}


def _data() -> Schema:
    """The section `data`: the fields of every kind beside its own arguments."""
    plain = _fields(DataConfig, "data")[0]["properties"]
    plain["augment"] = _meant({"type": "array", "items": _ref("data.augment")}, "data.augment")
    plain["mixup"] = _meant(_or_null(_ref("data.mixup")), "data.mixup")
    of_found = {"found": _meant(_or_null(_ref("data.found")), "data.found")}
    held_out = plain.pop("validation")
    validation = {"validation": {**held_out["anyOf"][0], "description": held_out["description"]}}
    del plain["kind"], plain["found"]
    kinds = {}
    for kind, ships in DATA.items():
        own = {} if ships.content is None else _arguments("data", ships.content, kind=kind)["properties"]
        shown = _shown(plain, (ships.input.kind,))
        required = ["validation"] if "default" in shown["frames"] else ["validation", "frames"]
        kinds[kind] = _as_kind(f"data.kind.{kind}", shown | validation | own, required)
    for kind, looked_at in found.FOUND.items():
        one = _arguments("data", looked_at.find, kind=kind, given=found.GIVEN)
        shown = _shown(plain, (looked_at.samples,) if looked_at.samples else ("image", "events"))
        required = one["required"] if "default" in shown["frames"] else [*one["required"], "frames"]
        kinds[kind] = _as_kind(f"data.kind.{kind}", shown | of_found | one["properties"], required)
    section = _by_kind("data", kinds)
    stated = {"if": {"required": ["kind"]}, "then": {"required": ["batch_size"]}}
    return section | {"allOf": [stated, *section["allOf"]], "properties": plain | section["properties"]}


def _shown(plain: Mapping[str, Schema], samples: Collection[str]) -> dict[str, Schema]:
    """The fields of every kind as samples of these kinds of input have them."""
    names = {"image": sorted(FRAMES), "events": sorted(BINNINGS)}
    frames = [name for one in samples for name in names.get(one, [CONSTANT])]
    none = {} if names.keys() & set(samples) else {key: {"type": "null"} for key in ("size", "mixup")}
    shown = {name: {**none.get(name, schema), "description": schema["description"]} for name, schema in plain.items()}
    has_default = plain["frames"]["default"] in frames
    named = {key: value for key, value in plain["frames"].items() if key != "default" or has_default}
    return shown | {"frames": {**named, "type": "string", "enum": frames}}


def _training() -> Schema:
    schema, _ = _fields(TrainingConfig, "training")
    parts = {name: _stating_kind(f"training.{name}") for name in ("optimizer", "schedule")}
    # What has to be stated is said where the recipe has no base.
    return {**schema, "properties": schema["properties"] | parts, "required": []}


def _stating_kind(place: str) -> Schema:
    return _meant({"allOf": [_ref(place), {"required": ["kind"]}]}, place)


def _augmentation() -> Schema:
    """An entry of `data.augment`: a name, or a section of a kind and its arguments."""
    kinds = Kinds("data.augment", augment.AUGMENTS)
    section = _section(kinds)
    names = {"anyOf": [{"enum": sorted({*augment.AUGMENTS, *offers(GROUPS[augment.KEY])})}, OWN]}
    kind = {"kind": _meant(names, "data.augment.kind")}
    whole = {"type": "object", "required": ["kind"], "properties": kind, "allOf": section["allOf"]}
    return {"anyOf": [*names["anyOf"], whole]}


def _fields(section: type[BaseModel], key: str) -> tuple[Schema, dict[str, Schema]]:
    """The fields of a section that is no part, and the definitions of sections inside it."""
    schema: Schema = section.model_json_schema()
    inner = schema.pop("$defs", {})
    said = meanings(At(f"hdlif.config:{section.__name__}"))
    for name, one in schema["properties"].items():
        place = f"{key}.{name}" if key else name
        one["description"] = MEANINGS.get(place) or _sentence(said.get(name, ""))
    for one in (schema, *inner.values(), *schema["properties"].values()):
        one.pop("title", None)
    for one in inner.values():
        for field_of_one in one.get("properties", {}).values():
            field_of_one.pop("title", None)
    return {**schema, "additionalProperties": False}, inner


def _plain(schema: Schema) -> Schema:
    """What it accepts, without what it says."""
    return {key: value for key, value in schema.items() if key not in ("description", "default")}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _meant(schema: Schema, place: str) -> Schema:
    return {**schema, "description": MEANINGS[place]}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
