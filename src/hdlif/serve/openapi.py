"""The OpenAPI description of a server."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from hdlif.serve.reading import TYPES
from hdlif.serve.refusals import JSON, KINDS

_ALWAYS = ("too_slow", "too_many_requests", "internal", "overloaded", "draining")
"""Codes that every route can return."""


def describe(models: Sequence[str], *, streams: bool) -> dict[str, Any]:
    """Return the description: openapi.json with the refusals of each route, content types and names of models."""
    document: dict[str, Any] = json.loads(files("hdlif.serve").joinpath("openapi.json").read_bytes())
    components = document["components"]
    components["parameters"]["model"]["schema"]["enum"] = list(models)
    components["schemas"]["Error"]["properties"]["code"]["enum"] = sorted(KINDS)
    binary = {"schema": {"type": "string", "format": "binary"}}
    components["requestBodies"]["Input"]["content"].update(dict.fromkeys(TYPES, binary))
    document["paths"] = {path: one for path, one in document["paths"].items() if streams or "stream" not in path}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].update(_describe_refusals((*operation.pop("refusals"), *_ALWAYS)))
    return document


def _describe_refusals(codes: Sequence[str]) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(KINDS[code][0]), []).append(f"`{code}`")
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {status: {"description": ", ".join(names), "content": {JSON: schema}} for status, names in by_status.items()}
