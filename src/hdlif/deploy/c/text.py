"""Format numbers, names and tables as C99, and indent code."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 112
_KEYWORDS = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern"),
        *("float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed"),
        *("sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while"),
    )
)


def real(value: float) -> str:
    """Format a float32 as a C constant that compiles to the same bits, with a leading sign if negative."""
    text = f"{np.float32(value):.9g}"
    text += "f" if any(mark in text for mark in ".e") else ".0f"
    return text


def literal(value: Any) -> str:
    """Format a number for use within a C expression."""
    text = str(value) if isinstance(value, int) else real(value)
    return f"({text})" if text.startswith("-") else text


def identifier(name: str) -> str:
    """Convert a name to a C identifier without double underscores. Different names may yield the same identifier."""
    found = re.sub(r"(\W|_)+", "_", name, flags=re.ASCII).strip("_").lower() or "value"
    return f"v_{found}" if found[0].isdigit() or found in _KEYWORDS else found


def distinct(names: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Map each name to a unique C identifier that is not in `taken`."""
    found: dict[str, str] = {}
    used = set(taken)
    # The next number to try for each identifier; lower numbers are taken.
    numbers: dict[str, int] = {}
    for name in names:
        base = own = identifier(name)
        while own in used:
            numbers[base] = numbers.get(base, 1) + 1
            own = f"{base}_{numbers[base]}"
        used.add(own)
        found[name] = own
    return found


def comment(text: str) -> str:
    """Sanitise text for a C comment, so that the text cannot end the comment or the line."""
    safe = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)
    return safe.replace("*", "?").replace("\\", "?").replace("??", "? ?").replace("??", "? ?")


def quoted(text: str) -> str:
    """Return text as a C string literal in UTF-8, with special bytes escaped."""
    plain = frozenset(b" !#$%&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def table(declaration: str, values: NDArray[Any]) -> str:
    """Return `static const DECLARATION = {...};` for an array with one or two axes."""
    return f"static const {declaration} = {braced(values)};\n"


def braced(values: NDArray[Any]) -> str:
    """Format an array as a C initialiser."""
    if values.ndim > 1:
        return "{\n" + ",\n".join(braced(row) for row in values) + "}"
    written = [real(v) for v in values] if values.dtype == np.float32 else [str(int(v)) for v in values]
    return "{" + _wrapped(written) + "}"


def _wrapped(entries: Sequence[str]) -> str:
    lines, line = [], ""
    for entry in entries:
        if line and len(line) + len(entry) + 2 > WIDTH:
            lines.append(line)
            line = ""
        line += f"{entry},"
    lines.append(line.rstrip(","))
    return "\n".join(lines)


INDENT = 4
_HEADS = ("for (", "if (", "else")


def indented(text: str) -> str:
    """Indent the lines of a C file, preserving the additional indentation within multi-line comments."""
    depth, heads, found = 0, 0, []
    in_comment = in_extern = continued = False
    for line in text.split("\n"):
        begins_comment = line.startswith("/*")
        if in_comment:
            found.append(" " * (INDENT * depth) + line)
        elif line.startswith("#") or in_extern or not line:
            found.append(line)
            in_extern = line == "#ifdef __cplusplus" or (in_extern and line != "#endif")
        else:
            closing = len(line) - len(line.lstrip("}"))
            depth -= closing
            found.append(" " * (INDENT * (depth + heads) + 8 * continued) + line)
            if not begins_comment:
                depth += line.count("{") - line.count("}") + closing
                heads = heads + 1 if line.startswith(_HEADS) and not line.endswith(("{", ";")) else 0
                continued = depth == 0 and line.endswith(",")
        in_comment = (begins_comment or in_comment) and "*/" not in line
    return "\n".join(found)
