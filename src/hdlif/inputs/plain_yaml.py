"""Read YAML files into plain trees of text, numbers, lists and mappings.

Values follow the core schema of YAML 1.2: `1e-3` is a number, and `yes`, `off` and `010` are text. Tags, aliases,
repeated keys, integers of more than 64 bits and unpaired surrogates raise an error. Text with more than `MOST_DEPTH`
levels of nesting or `MOST_BYTES` bytes also raises an error.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hdlif.errors import RecipeError, cut, printable, reason
from hdlif.whole_files import read_regular

MOST_BYTES = 2**16
"""Maximum size of a YAML file in bytes."""
MOST_DEPTH = 16
"""Maximum nesting depth of lists and mappings."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


def text_of(path: Path, what: str) -> str:
    """Return the text of a YAML file.

    Args:
        what: noun for the file in errors.
    Raises:
        FileNotFoundError: the file does not exist.
        RecipeError: the file is not UTF-8 text of at most `MOST_BYTES`.
    """
    try:
        text = read_regular(path, most=MOST_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        said = f"byte {error.start} is not UTF-8; {what} is a YAML text file saved as UTF-8"
        raise RecipeError(f"{path}: {said}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({reason(error)}); give the path of a YAML file") from None
    if (found := _CONTROL.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise RecipeError(f"{path}: line {line}: a control character is not YAML; delete it")
    return text


def parse_yaml(text: str, *, source: str) -> Any:
    """Return the parsed value of YAML text. Raises `RecipeError` with the position of the error."""
    # JSON, a subset of YAML, encodes characters beyond U+FFFF as two escapes, which libyaml rejects.
    text = _PAIR.sub(lambda pair: bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be"), text)
    try:
        _check_events(text)
        tree = yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = cut(str(error.problem or error.context), 160)
        raise RecipeError(f"{source}: {where}{said}; fix the YAML there") from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise RecipeError(f"{source}: line {line}: a control character is not YAML; delete it") from None
    except (ValueError, OverflowError):
        # Escapes beyond Unicode, half surrogate pairs, and integers with thousands of digits raise these errors.
        raise RecipeError(f"{source}: a number or an escape is beyond 64 bits or Unicode; delete it") from None
    if (fault := not_plain(tree)) is not None:
        raise RecipeError(f"{source}: {fault}")
    return tree


def _check_events(text: str) -> None:
    """Raise an error on tags, aliases or excessive nesting before any value is constructed."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("an alias is not accepted, write the value", event)
        if (tag := getattr(event, "tag", None)) is not None:
            raise _refusal(f"the tag {cut(tag)} is not accepted, leave it out", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise _refusal(f"more than {MOST_DEPTH} levels of lists and mappings are not accepted", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refusal(problem: str, at: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


# Use libyaml's loader if PyYAML was built with it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_SafeLoader):  # type: ignore[misc]
    """A loader for the YAML 1.2 core schema that requires unique text keys."""

    # PyYAML defines this attribute.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != f"{_TAG}str":
                shown = cut(key.value) if isinstance(key, yaml.ScalarNode) else "[...]"
                raise _refusal(f"the key {shown} is not text", key)
            if key.value in seen:
                raise _refusal(f"the key {cut(key.value)} is repeated", key)
            seen.add(key.value)
        tree: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return tree


class Dumper(yaml.SafeDumper):
    """A dumper that writes each list on one line, and quotes text that any YAML version would read as a number."""


_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", rf"{_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"^({_pattern})$"), _first)
Dumper.add_representer(list, lambda d, items: d.represent_sequence(f"{_TAG}seq", items, True))


def not_plain(value: object, levels: int = MOST_DEPTH) -> str | None:
    """Return why other programs may read the tree's JSON differently, or None if no reason is found.

    The check does not cover NaN and infinity.
    """
    for number, level in enumerate(_levels(value)):
        if number > levels + 1:
            return f"more than {levels} nested levels of lists and mappings are refused"
        for item in level:
            if isinstance(item, int) and not -(2**63) <= item < 2**63:
                return f"an integer of more than 64 bits is refused; the largest is {2**63 - 1}"
            if isinstance(item, str) and _SURROGATE.search(item):
                return f"{shown(item)} is refused; half a surrogate pair is not text"
    return None


def recipe_fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one dict with dotted keys.

    >>> recipe_fields({"seed": 1, "neuron": {"kind": "lif"}})
    {'seed': 1, 'neuron.kind': 'lif'}
    """
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields |= recipe_fields(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return fields


def is_deeper(value: object, levels: int) -> bool:
    """Return whether lists and mappings are nested deeper than `levels`, without using recursion."""
    return any(number > levels for number, _ in enumerate(_levels(value)))


def _levels(value: object) -> Iterator[list[object]]:
    level = [value]
    while level:
        yield level
        deeper: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                deeper += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple):
                deeper += item
        level = deeper


def shown(value: object) -> str:
    """Format `value` as one printable line of at most about 80 characters."""
    try:
        return printable(cut(json.dumps(value, ensure_ascii=False, default=repr)))
    # The value is too deep, an integer is too long to format, or a key is invalid in JSON.
    except (RecursionError, ValueError, TypeError):
        return "a value"
