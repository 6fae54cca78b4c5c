"""C lines with the spaces in front of them by which they are read: by braces, and behind a loop's head without any."""

INDENT = 4
_HEADS = ("for (", "if (", "else")


def indented(text: str) -> str:
    """The lines of a file, which come without spaces in front; further lines of comments keep theirs."""
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
