"""The page on the keys of a recipe, from the schema that editors take."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import hdlif

PAGE = "reference/recipe_keys.md"
_HEAD = ["| key | what it may be | default | meaning |", "| --- | --- | --- | --- |"]
_KINDS = ["| kind | what it is |", "| --- | --- |"]
_BY_HAND = ("data.found", "InputConfig", "SoundConfig")
"""What only a training writes."""

Schema = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, PAGE, content="\n".join(page(hdlif.recipe_schema()))))
    return files


def page(schema: Schema) -> Iterator[str]:
    parts = schema["$defs"]
    yield from ("# Recipe keys", "")
    yield "Every key of a [recipe](recipes.md), made from the code; an [editor](../how_to/editor.md) shows the same."
    yield "Where there is no default, its meaning says what stands for it."
    yield from ("", "## The file itself", "", *_HEAD)
    required = schema["else"]["required"]
    for name, one in schema["properties"].items():
        key = f"[`{name}`](#{name})" if name in parts else f"`{name}`"
        yield _row(key, one, required=name in required)
    yield ""
    order = [name for name in schema["properties"] if name in parts]
    for section in order:
        for name in [section, *(part for part in parts if part.startswith(f"{section}.") and part not in _BY_HAND)]:
            yield from _section(name, parts[name])


def _section(name: str, one: Schema) -> Iterator[str]:
    yield from (f"{'##' if '.' not in name else '###'} {name}", "")
    if name == "data.augment":
        yield from ("An entry of the list is a name, or a section of a `kind` and its arguments.", "")
        one = one["anyOf"][-1]
    kinds = {
        rule["then"]["properties"]["kind"]["const"]: rule["then"] for rule in one.get("allOf", ()) if _is_kind(rule)
    }
    if not kinds:
        yield from _keys(one["properties"], one.get("required", ()))
        return
    yield from _KINDS
    yield from (f"| `{kind}` | {kinds[kind]['description']} |" for kind in kinds)
    if "anyOf" in one["properties"]["kind"] and name != "teacher":
        yield "| `package.module:Name` | A part of your own; the keys beside `kind` are its arguments. |"
    yield ""
    shared = _shared(kinds) if len(kinds) > 1 else {}
    if shared:
        yield from ("Of every kind:", "")
        some = next(iter(kinds.values()))
        yield from _keys(shared, some["required"])
    for keys, of_them in _alike(kinds, shared):
        yield from (f"Of {', '.join(f'`{kind}`' for kind in of_them)}:", "")
        yield from _keys(keys, kinds[of_them[0]]["required"])


def _is_kind(rule: Schema) -> bool:
    return "kind" in rule.get("then", {}).get("properties", {})


def _shared(kinds: Mapping[str, Schema]) -> dict[str, Schema]:
    first, *others = (one["properties"] for one in kinds.values())
    return {
        name: one for name, one in first.items() if name != "kind" and all(other.get(name) == one for other in others)
    }


def _alike(kinds: Mapping[str, Schema], shared: Mapping[str, Schema]) -> Iterator[tuple[Schema, list[str]]]:
    """Keys that kinds have of their own, and the kinds that have just these."""
    found: dict[str, list[str]] = {}
    for kind, one in kinds.items():
        own = {name: schema for name, schema in one["properties"].items() if name != "kind" and name not in shared}
        if own:
            found.setdefault(json.dumps([own, sorted(set(one["required"]) & own.keys())]), []).append(kind)
    for text, of_them in found.items():
        yield json.loads(text)[0], of_them


def _keys(properties: Schema, required: list[str]) -> Iterator[str]:
    yield from _HEAD
    for name, one in properties.items():
        # What may be nothing else is not worth a line.
        if one.get("type") != "null" and one.get("enum") != [one.get("default")]:
            yield _row(f"`{name}`", one, required=name in (*required, "batch_size"))
    yield ""


def _row(key: str, one: Schema, *, required: bool) -> str:
    default = f"`{_yaml(one['default'])}`" if "default" in one and one["default"] is not None else ""
    meaning = one.get("description", "").replace("|", "\\|").replace("*", "\\*")
    return f"| {key} | {accepted(one)} | {'required' if required else default} | {meaning} |"


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def accepted(one: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in one:
        name = one["$ref"].removeprefix("#/$defs/")
        return "a section" if name in _BY_HAND else f"a [section](#{name.replace('.', '')})"
    if "enum" in one:
        return ", ".join(f"`{_yaml(value)}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    if "anyOf" in one or "allOf" in one:
        parts = one.get("anyOf") or one["allOf"][:1]
        return " or ".join(dict.fromkeys(filter(None, map(accepted, parts))))
    match one.get("type"):
        case "array":
            inner = accepted(one["items"]) if "items" in one else ""
            return "a list" if not inner or "prefixItems" in one else f"a list of: {inner}"
        case "object":
            return "a mapping"
        case "string":
            return "`package.module:Name`" if ":" in one.get("pattern", "") else "text"
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case "integer" | "number" as kind:
            return f"{'an integer' if kind == 'integer' else 'a number'}{_range(one)}"
    return "anything"


def _range(one: Schema) -> str:
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {one[name]:,}" for name, sign in bounds.items() if name in one and one[name] < 2**31 - 1]
    return f" {', '.join(said)}" if said else ""
