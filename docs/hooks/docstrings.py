"""Docstrings as griffe and Markdown read them.

`a, b: meaning` in a list of arguments, attributes or errors becomes an entry for each name, an empty line stands above
each list, and equations and examples become code.
"""

import re
from collections.abc import Collection
from itertools import groupby
from typing import Any

import griffe

_SECTION = re.compile(r"^(Args|Attributes|Raises):$")
_HEADING = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
_ENTRY = re.compile(r"^ {4}\S")
_NAMED = re.compile(r"^ {4}(?P<name>\w+): ")
_EQUATION = re.compile(r"^[^\s:.`]+(?:\([^()]*\))? = .*[^.]$")
_SHARED = re.compile(r"^ {4}(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)+): (?P<meaning>.*)$")


class AsMarkdown(griffe.Extension):
    """Changes what is read of the sources, not these."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = one_a_line(obj.docstring.value)
            if isinstance(obj, griffe.Class) and (taken := _seen(obj)) is not None:
                text = others_apart(text, taken)
            obj.docstring.value = fenced(text)


def one_a_line(docstring: str) -> str:
    """Give every name that shares its meaning with others an entry of its own."""
    inside, entries = False, list[list[str]]()
    for line in docstring.splitlines():
        inside = bool(_SECTION.match(line)) or (inside and (not line or line.startswith(" ")))
        if inside and entries and line.startswith(" ") and not _ENTRY.match(line):
            entries[-1].append(line)
        else:
            entries.append([line])
    found = list[str]()
    for first, *rest in entries:
        shared = _SHARED.match(first)
        names = shared["names"].split(", ") if shared else []
        if _HEADING.match(first) and found and found[-1].strip():
            found.append("")
        for one in [f"    {name}: {shared['meaning']}" for name in names if shared] or [first]:
            found += [one, *rest]
    return "\n".join(found)


def _seen(of: griffe.Class) -> set[str] | None:
    """The parameters that griffe sees of a class that takes more: those of its equation, or by `**`; None of others."""
    declared = any(str(getattr(one, "value", "")).startswith("Parameter(") for one in of.members.values())
    by_name = any(one.kind is griffe.ParameterKind.var_keyword for one in of.parameters)
    return {one.name for one in of.parameters} if declared or by_name else None


def others_apart(docstring: str, seen: Collection[str]) -> str:
    """Make arguments that are not `seen` in the signature a plain list behind the others; griffe asks nothing of it."""
    kept, others, inside, target = list[str](), list[str](), False, list[str]()
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside = line == "Args:"
        if entry := _NAMED.match(line) if inside else None:
            target = kept if entry["name"] in seen else others
        (target if inside and line.startswith(" ") else kept).append(line)
    if not others:
        return docstring
    listed = [f"- `{one['name']}`: {line[one.end() :]}" if (one := _NAMED.match(line)) else line for line in others]
    place = kept.index("Args:")
    is_empty = not kept[place + 1 : place + 2] or not kept[place + 1].startswith(" ")
    end = next((n for n in range(place + 1, len(kept)) if not kept[n].startswith(" ")), len(kept))
    block = ["", "**Other arguments**", "", *listed, ""]
    return "\n".join([*kept[: place if is_empty else end], *block, *kept[end:]])


def _without_tags(line: str) -> str:
    """`line` with what would begin a tag escaped, but for code."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"<(?=[A-Za-z/!])", "&lt;", part) for part in parts[::2]]
    return "`".join(parts)


def fenced(docstring: str) -> str:
    """Put examples, from their first >>> to the next empty line, and paragraphs of equations alone between fences."""
    found = list[str]()
    for is_empty, lines in groupby(docstring.splitlines(), lambda line: not line.strip()):
        paragraph = list(lines)
        starts = next((n for n, line in enumerate(paragraph) if line.startswith(">>> ")), None)
        if not is_empty and all(_EQUATION.match(line) for line in paragraph):
            found += ["```text", *paragraph, "```"]
        elif is_empty or starts is None:
            found += map(_without_tags, paragraph)
        else:
            found += [*paragraph[:starts], *[""] * (starts > 0), "```pycon", *paragraph[starts:], "```"]
    return "\n".join(found)
