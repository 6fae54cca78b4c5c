"""The page on the keys of a recipe, from the schema that editors take."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import hdlif

PAGE = "reference/recipe_keys.md"
_HEAD = ["| key | accepted values | default | meaning |", "| --- | --- | --- | --- |"]
_KINDS = ["| kind | description |", "| --- | --- |"]
_INSIDE = ("training.optimizer", "training.schedule", "data.augment")

Schema = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, PAGE, content="\n".join(page(hdlif.recipe_schema()))))
    return files


def page(schema: Schema) -> Iterator[str]:
    parts = schema["$defs"]
    yield from ("# Recipe keys", "")
    yield "Every key of a [recipe](recipes.md), generated from the code; see also [editors](../how_to/experiments.md)."
    yield "For a key without a default, the meaning states what happens without the key."
    yield from ("", "## Top-level keys", "", *_HEAD)
    required = schema["else"]["required"]
    for name, one in schema["properties"].items():
        key = f"[`{name}`](#{name})" if name in parts else f"`{name}`"
        yield _row(key, one, parts, required=name in required)
    yield ""
    for section in [name for name in schema["properties"] if name in parts]:
        for name in [section, *(inside for inside in _INSIDE if inside.startswith(f"{section}."))]:
            yield from _section(name, parts)
    yield from ("### data.mixup", "", *_keys(parts["MixupConfig"], parts))


def _section(name: str, parts: Schema) -> Iterator[str]:
    yield from (f"{'##' if '.' not in name else '###'} {name}", "")
    if name == "data.augment":
        yield from ("Each entry of the list is a name, or a section with a `kind` and its arguments.", "")
    kinds = {key.removeprefix(f"{name}."): one for key, one in parts.items() if _is_kind(key, name, one)}
    if not kinds:
        yield from _keys(parts[name], parts)
        return
    yield from _KINDS
    yield from (f"| `{kind}` | {one['description']} |" for kind, one in kinds.items())
    if name != "teacher":
        yield "| `package.module:Name` | Your own part; the keys other than `kind` are its arguments. |"
    yield ""
    first, *others = kinds.values()
    shared = {
        key: one
        for key, one in first["properties"].items()
        if key != "kind" and others and all(other["properties"].get(key) == one for other in others)
    }
    if shared:
        yield from ("Keys of every kind:", "")
        yield from _keys({**first, "properties": shared}, parts)
    alike: dict[str, list[str]] = {}
    for kind, one in kinds.items():
        own = {key: value for key, value in one["properties"].items() if key != "kind" and key not in shared}
        if own:
            alike.setdefault(json.dumps({"properties": own, "required": one["required"]}), []).append(kind)
    for text, of_them in alike.items():
        yield from (f"Keys of {', '.join(f'`{kind}`' for kind in of_them)}:", "")
        yield from _keys(json.loads(text), parts)


def _is_kind(key: str, section: str, one: Schema) -> bool:
    _, _, kind = key.partition(f"{section}.")
    return bool(kind) and "." not in kind and key not in _INSIDE and "const" in one["properties"].get("kind", {})


def _keys(section: Schema, parts: Schema) -> Iterator[str]:
    yield from _HEAD
    for name, one in section["properties"].items():
        yield _row(f"`{name}`", one, parts, required=name in section.get("required", ()))
    yield ""


def _row(key: str, one: Schema, parts: Schema, *, required: bool) -> str:
    value = one.get("default")
    default = "" if value is None or isinstance(value, dict) else f"`{_yaml(value)}`"
    meaning = one.get("description", "").replace("|", "\\|").replace("*", "\\*")
    return f"| {key} | {accepted(one, parts)} | {'required' if required else default} | {meaning} |"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def accepted(one: Schema, parts: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in one:
        name = one["$ref"].removeprefix("#/$defs/")
        return f"a [section](#{name.replace('.', '')})" if name[:1].islower() else "a mapping"
    if "enum" in one:
        return ", ".join(f"`{_yaml(value)}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    if "anyOf" in one or "allOf" in one:
        branches = one.get("anyOf") or one["allOf"][:1]
        return " or ".join(dict.fromkeys(filter(None, (accepted(branch, parts) for branch in branches))))
    match one.get("type"):
        case "array":
            inner = accepted(one["items"], parts) if "items" in one else ""
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
