"""YAML as recipes, tables and search spaces are written in it: a plain tree of text, numbers, lists and mappings.

YAML is read by the core schema of YAML 1.2: `1e-3` is a number and `yes`, `off`, `010` are text (PyYAML's
YAML 1.1 has it the other way round). Repeated keys, aliases, other tags, integers of more than 64 bits, half surrogate
pairs, more than `MOST_DEPTH` levels and more than `MOST_BYTES` are refused, before anything is built from them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from hdlif.errors import RecipeError, cut, printable, reason
from hdlif.whole_files import read_regular

MOST_BYTES = 2**16
"""Of a YAML file, which is read slowly."""
MOST_DEPTH = 16
"""Of lists and mappings in each other."""


def text_of(path: Path, what: str) -> str:
    """The text of a YAML file.

    Args:
        what: the file is meant to be, for the error.
    Raises:
        FileNotFoundError: there is none.
        RecipeError: it is no UTF-8 text of at most `MOST_BYTES`.
    """
    try:
        text = read_regular(path, most=MOST_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}: byte {error.start} is not UTF-8; {what} is a YAML text file saved as UTF-8"
        ) from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({reason(error)}); give the path of a YAML file") from None
    if (found := _CONTROL.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise RecipeError(f"{path}: line {line}: a control character is not YAML; delete it")
    return text


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


def not_plain(value: object, levels: int = MOST_DEPTH) -> str | None:
    """What keeps a tree from being written as JSON and read by every program alike, as an error says it; or None.

    Lists and mappings in each other are at most `levels` deep, integers have 64 bits, text is Unicode. NaN and infinity
    are left to the types.
    """
    for number, level in enumerate(_levels(value)):
        if number > levels + 1:
            return f"more than {levels} levels of lists and mappings in each other are refused"
        for item in level:
            if isinstance(item, int) and not -(2**63) <= item < 2**63:
                return f"an integer of more than 64 bits is refused; the largest is {2**63 - 1}"
            if isinstance(item, str) and _SURROGATE.search(item):
                return f"{shown(item)} is refused; half a surrogate pair is not text"
    return None


def is_deeper(value: object, levels: int) -> bool:
    """Whether lists and mappings in each other have more than so many levels, for those who recur."""
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


_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(value: object) -> str:
    """`value` on one printable line of at most about 80 characters."""
    try:
        return printable(cut(json.dumps(value, ensure_ascii=False, default=repr)))
    # Deeper than a recipe can be; an integer too long to be written; keys that JSON has not.
    except (RecursionError, ValueError, TypeError):
        return "a value"


def parse_yaml(text: str, *, source: str) -> Any:
    """The value that `text` states in YAML. Raises RecipeError with the line at fault."""
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(
            f"{source}: {where}{cut(str(error.problem or error.context), 160)}; fix the YAML there"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"{source}: line {line}: a control character is not YAML; delete it") from None


class Loader(yaml.SafeLoader):
    """YAML 1.2 core schema, text keys given once, no aliases, no other tags; nothing deeper than `MOST_DEPTH`."""

    # PyYAML's own attributes.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    yaml_constructors: ClassVar[dict[str | None, Callable[..., Any]]] = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._refusal("an alias is not accepted, write the value", self.peek_event())  # type: ignore[no-untyped-call]
        if self._depth > MOST_DEPTH:
            problem = f"more than {MOST_DEPTH} levels of lists and mappings in each other are not accepted"
            raise self._refusal(problem, self.peek_event())  # type: ignore[no-untyped-call]
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def scan_flow_scalar_non_spaces(self, double: bool, start_mark: Any) -> list[str]:
        try:
            chunks: list[str] = super().scan_flow_scalar_non_spaces(double, start_mark)
        except (ValueError, OverflowError):
            problem = "an escape beyond \\U0010ffff is not a character"
            raise yaml.scanner.ScannerError(None, None, problem, self.get_mark()) from None
        return chunks

    def _refusal(self, problem: str, at: Any) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)

    def _scalar(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refusal(f"a list or mapping is not valid as {what}", node)
        value: str = node.value
        if what != "text" and not re.fullmatch(_PATTERNS[what], value):
            raise self._refusal(f"{shown(value)} is not valid as {what}", node)
        return value

    def _null(self, node: yaml.Node) -> None:
        self._scalar(node, "null")

    def _bool(self, node: yaml.Node) -> bool:
        return self._scalar(node, "bool").lower() == "true"

    def _int(self, node: yaml.Node) -> int:
        value = self._scalar(node, "int")
        # 64 bits have 19 digits.
        if len(value) > 20 or not -(2**63) <= (number := int(value)) < 2**63:
            raise self._refusal(f"an integer of more than 64 bits is not accepted, and {cut(value, 24)} is one", node)
        return number

    def _float(self, node: yaml.Node) -> float:
        value = self._scalar(node, "float").lower()
        return float(value.replace(".", "") if value.endswith((".inf", ".nan")) else value)

    def _text(self, node: yaml.Node) -> str:
        # JSON, which is YAML, writes a character beyond the first 65,536 as two.
        value = self._scalar(node, "text")
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._refusal("half a surrogate pair is not text", node) from None

    def _list(self, node: yaml.Node) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._refusal("this is not a list", node)
        return [self.construct_object(item, deep=True) for item in node.value]

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise self._refusal("this is not a mapping", node)
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != _TAG + "str":
                shown = cut(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "[...]"
                raise self._refusal(f"the key {shown} is not text", key_node)
            key = self._text(key_node)
            if key in tree:
                raise self._refusal(f"the key {cut(key)} is repeated", key_node)
            tree[key] = self.construct_object(value_node, deep=True)
        return tree

    def _other(self, node: yaml.Node) -> None:
        raise self._refusal(f"the tag {cut(node.tag)} is not accepted, leave it out", node)


class Dumper(yaml.SafeDumper):
    """Sections in block style, lists on one line; text that any YAML version takes for a number is quoted."""


_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", rf"{_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
)
_PATTERNS = {name: pattern for name, pattern, _ in _CORE_SCHEMA}
for _name, _pattern, _first in _CORE_SCHEMA:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"^({_pattern})$"), _first)
for _name, _construct in (
    ("null", Loader._null),
    ("bool", Loader._bool),
    ("int", Loader._int),
    ("float", Loader._float),
    ("str", Loader._text),
    ("seq", Loader._list),
    ("map", Loader._mapping),
):
    Loader.add_constructor(_TAG + _name, _construct)
Loader.add_constructor(None, Loader._other)
Dumper.add_representer(list, lambda d, items: d.represent_sequence(_TAG + "seq", items, True))
