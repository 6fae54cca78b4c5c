"""Which modules of the user's own a module imports, as its text says, so that nothing more is imported to know it."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from hdlif.recipe.builders.installed import PACKAGE

_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()


def with_imported(name: str) -> dict[str, Path | None]:
    """The files of an imported module, and of the modules of the user's own that it imports, and these, and so on.

    The user's own lie below the working folder, or the folder that the module itself is imported from; what is
    installed has a version. None stands for a module without a file.
    """
    first = _file(name)
    found = {name: first}
    if first is None or is_installed(first):
        return found
    above = first.resolve().parents
    depth = len(name.split(".")) - (first.name != "__init__.py")
    roots = Path.cwd().resolve(), above[min(depth, len(above) - 1)]
    waiting = [name]
    while waiting:
        one = waiting.pop()
        for other in _imports(one, found[one]):
            if other in found or other.split(".")[0] == PACKAGE or (file := _file(other)) is None:
                continue
            if any(file.resolve().is_relative_to(root) for root in roots) and not is_installed(file):
                found[other] = file
                waiting.append(other)
    return found


def is_installed(file: Path) -> bool:
    """Whether it is Python's or an installed package's."""
    path = file.resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or path.is_relative_to(_STANDARD)


def _file(name: str) -> Path | None:
    """Of a module, imported or not."""
    if (module := sys.modules.get(name)) is not None:
        file = getattr(module, "__file__", None)
        return Path(file) if isinstance(file, str) else None
    top, *rest = name.split(".")
    if not rest:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    above = _file(top)
    if above is None or above.name != "__init__.py":
        return None
    inside = above.parent.joinpath(*rest)
    places = (inside.with_name(f"{inside.name}.py"), inside / "__init__.py")
    return next((place for place in places if place.is_file()), None)


def _imports(name: str, file: Path | None) -> Iterator[str]:
    """The names that its import statements may mean, wherever they stand, and the packages that these are in."""
    try:
        tree = ast.parse(file.read_bytes()) if file is not None and file.suffix == ".py" else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    package = name.split(".") if file is not None and file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = [*above, *(node.module or "").split(".")] if node.module else above
            dotted = [".".join([*base, *part]) for part in ([], *([alias.name] for alias in node.names))]
        else:
            continue
        for one in dotted:
            parts = one.split(".")
            yield from (
                ".".join(parts[:count]) for count in range(1, len(parts) + 1) if parts[count - 1] not in ("", "*")
            )
