"""The user's own modules and the installed packages' parts that a recipe names, as they were when training began."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.recipe import Recipe
from hdlif.recipe.builders.installed import GROUPS, PACKAGE, chosen_offer, imported, is_own, offers
from hdlif.recipe.builders.registry import KINDS, own_kinds
from hdlif.recipe.runs.files import write_json
from hdlif.whole_files import read_regular

PARTS = "parts.json"
MOST = 2**20
"""Bytes of parts.json."""


def own_parts(recipe: Recipe) -> dict[str, dict[str, str]]:
    """What the recipe's own parts are made of.

    By module, and so too those of the user's own that it imports: its file's name and SHA-256, and its `__version__`,
    as far as it has them. By `group:name` of an installed package's part: `distribution`, `version` and `place`.

    Raises:
        RecipeError: one cannot be imported.
    """
    found: dict[str, dict[str, str]] = {}
    for key, kind in own_kinds(recipe):
        place = kind
        if not is_own(kind):
            offer = chosen_offer(kind, key, KINDS[key])
            place = offer.place
            stated = {"distribution": offer.distribution, "version": offer.version, "place": place}
            found[f"{offer.group}:{offer.name}"] = stated
        imported(place, key)
        for name, file in _with_imported(place.partition(":")[0]).items():
            found[name] = _stated(name, file)
    return dict(sorted(found.items()))


def keep_parts(recipe: Recipe, out: Path) -> None:
    """Write OUT/parts.json where the recipe names modules of the user's."""
    if parts := own_parts(recipe):
        write_json(out / PARTS, parts)


def check_parts(recipe: Recipe, out: Path) -> None:
    """Raise `CheckpointError`, which names the part, where one is another than when the training in OUT began."""
    if not (out / PARTS).exists():
        return
    try:
        before = json.loads(read_regular(out / PARTS, most=MOST))
        known = {name: dict(stated) for name, stated in before.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        raise CheckpointError(f"{out / PARTS}: is damaged; start anew with --overwrite, or in another folder") from None
    # Packages first: that theirs is another version says more than that its files are.
    for name, stated in sorted(own_parts(recipe).items(), key=lambda one: ":" not in one[0]):
        was = known.get(name, stated)
        if was != stated:
            what = stated.get("file") or stated.get("distribution") or name
            seen = _difference(was, stated)
            raise CheckpointError(
                f"{out}: {what} ({name}) is another than when this training began ({seen}), so that it would end with "
                "other bytes; put it back, or start anew with --overwrite"
            )


@contextmanager
def saying_what_is_gone(out: Path) -> Iterator[None]:
    """Let a `RecipeError` or `DataError` say which package is gone that the run in OUT was begun with, if one is."""
    try:
        yield
    except (RecipeError, DataError) as error:
        if gone := gone_parts(out):
            raise type(error)(f"{error}; {gone}") from error
        raise


def gone_parts(out: Path) -> str:
    """What is no longer installed of that which the run in OUT was begun with, and how to have it again; "" if all is.

    Where the run does not say, that is nothing.
    """
    try:
        before = json.loads(read_regular(out / PARTS, most=MOST))
        parts = {name: dict(stated) for name, stated in before.items() if ":" in name}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ""
    for name, stated in parts.items():
        group, _, own = name.partition(":")
        if group in GROUPS.values() and own not in offers(group) and "distribution" in stated:
            package, version = stated["distribution"], stated.get("version")
            return f'"{own}" was of {package} {version}, which is not installed: pip install {package}=={version}'
    return ""


def _stated(name: str, file: Path | None) -> dict[str, str]:
    stated = {"file": file.name, "sha256": _digest(file)} if file else {}
    modules = [sys.modules.get(one) for one in (name, name.split(".")[0])]
    version = next(filter(None, (getattr(module, "__version__", None) for module in modules)), None)
    return stated | ({"version": str(version)} if version else {})


class _Finder(ModuleFinder):
    """Finds the modules that a module imports, without running them."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        try:
            return super().find_module(name, path, parent)
        except (AttributeError, OSError) as error:
            # A folder without __init__.py, or a file that cannot be read.
            raise ImportError(name) from error


def _with_imported(name: str) -> dict[str, Path | None]:
    """Return the files of an imported module and of the user's own modules that it imports, directly or not.

    The user's own are below the working folder, or the folder that the module itself is imported from; what is
    installed has a version. None stands for a module without a file.
    """
    file = getattr(sys.modules[name], "__file__", None)
    first = Path(file) if isinstance(file, str) else None
    if first is None or _is_installed(first):
        return {name: first}
    depth = len(name.split(".")) - (first.name != "__init__.py")
    above = first.resolve().parents
    roots = Path.cwd().resolve(), above[min(depth, len(above) - 1)]
    places = [Path(one).resolve() for one in sys.path]
    places = [one for one in places if any(one.is_relative_to(root) for root in roots) and not _is_installed(one)]
    finder = _Finder([str(one) for one in (*places, roots[1])], excludes=[PACKAGE])
    # After an error, what was read before it is known.
    with suppress(ImportError, SyntaxError, ValueError, RecursionError):
        finder.import_hook(name)
    files = {one: Path(module.__file__) for one, module in finder.modules.items() if module.__file__}
    return {name: first} | {one: file for one, file in files.items() if not _is_installed(file)}


def _is_installed(file: Path) -> bool:
    """Return whether a file is Python's or an installed package's."""
    path, standard = file.resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or path.is_relative_to(standard)


def _difference(was: dict[str, str], now: dict[str, str]) -> str:
    """In words."""
    if was.get("sha256") != now.get("sha256"):
        return "edited"
    if "distribution" in now and was.get("distribution") != now["distribution"]:
        return f"of {was.get('distribution')} {was.get('version')}, now {now['version']}"
    if was.get("version") == now.get("version"):
        return f"{was.get('place')}, now {now.get('place')}"
    return f"version {was.get('version')}, now {now.get('version')}"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
