"""Record the versions of a recipe's custom modules and installed parts when training begins, and compare them later."""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from hdlif import run_folder
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.recipe import Recipe
from hdlif.recipe.builders.external_parts import GROUPS, PACKAGE, chosen_offer, imported, is_own, offers
from hdlif.recipe.builders.part import KINDS, own_kinds
from hdlif.recipe.runs.files import write_json
from hdlif.whole_files import read_regular

MOST = 2**20
"""Maximum size of parts.json in bytes."""
_PACKAGE = 5
"""`ModuleFinder`'s code for packages."""


def own_parts(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Return the versions of a recipe's custom parts. Raises `RecipeError` if a part cannot be imported.

    The entry for a custom module contains the file's name, the file's SHA-256, and `__version__`, if any. Custom
    modules that are imported indirectly also have entries. The entry for a part of an installed package has the key
    `group:name` and contains `distribution`, `version` and `place`.
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
    """Write OUT/parts.json if the recipe uses custom modules or parts of installed packages."""
    if parts := own_parts(recipe):
        write_json(out / run_folder.PARTS, parts)


def check_parts(recipe: Recipe, out: Path) -> None:
    """Raise `CheckpointError` if a recorded part has changed since the training run in OUT began."""
    if not (out / run_folder.PARTS).exists():
        return
    if (known := _kept(out)) is None:
        raise CheckpointError(
            f"{out / run_folder.PARTS}: is damaged; start again with --overwrite, or in another folder"
        )
    # Check packages first, because a version explains more than file hashes.
    for name, stated in sorted(own_parts(recipe).items(), key=lambda one: ":" not in one[0]):
        was = known.get(name, stated)
        if was != stated:
            what = stated.get("file") or stated.get("distribution") or name
            seen = f"{what} ({name}) has changed since this training began ({_difference(was, stated)})"
            fix = "restore it, or start again with --overwrite"
            raise CheckpointError(f"{out}: {seen}, so the result would differ; {fix}")


def _kept(out: Path) -> dict[str, dict[str, str]] | None:
    """Return the parts recorded in OUT, or None if the file is missing or damaged."""
    try:
        before = json.loads(read_regular(out / run_folder.PARTS, most=MOST))
        return {name: dict(stated) for name, stated in before.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None


@contextmanager
def saying_what_is_gone(out: Path) -> Iterator[None]:
    """Add to a `RecipeError` or `DataError` the name of any missing package that the run in OUT needs."""
    try:
        yield
    except (RecipeError, DataError) as error:
        if gone := gone_parts(out):
            raise type(error)(f"{error}; {gone}") from error
        raise


def gone_parts(out: Path) -> str:
    """Return a message about a part of the run in OUT that is no longer installed, or "" if all parts are installed."""
    for name, stated in (_kept(out) or {}).items():
        group, _, own = name.partition(":")
        if group in GROUPS.values() and own not in offers(group) and "distribution" in stated:
            package, version = stated["distribution"], stated.get("version")
            return f'"{own}" came from {package} {version}, which is not installed: pip install {package}=={version}'
    return ""


def _stated(name: str, file: Path | None) -> dict[str, str]:
    stated = {"file": file.name, "sha256": _digest(file)} if file else {}
    modules = [sys.modules.get(one) for one in (name, name.split(".")[0])]
    version = next(filter(None, (getattr(module, "__version__", None) for module in modules)), None)
    return stated | ({"version": str(version)} if version else {})


class _Finder(ModuleFinder):
    """A finder that lists a module's imports without running code, and that includes folders without __init__.py."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        try:
            return super().find_module(name, path, parent)
        except OSError as error:
            raise ImportError(name) from error
        except (AttributeError, TypeError):
            spec = PathFinder.find_spec(name, path or self.path)
            places = spec.submodule_search_locations if spec else None
            if not places:
                raise ImportError(name) from None
            return None, next(iter(places)), ("", "", _PACKAGE)

    def load_package(self, fqname: str, pathname: str) -> Any:
        with suppress(ImportError):
            return super().load_package(fqname, pathname)
        return self.modules[fqname]


def _with_imported(name: str) -> dict[str, Path | None]:
    """Return the files of an imported module and of the custom modules that it imports, directly or indirectly.

    Custom modules are below the working folder, or below the folder from which the module itself is imported. Installed
    modules are omitted, because their version identifies them. For a module without a file, the value is None.
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
    # After an error, use the files that were read before it.
    with suppress(ImportError, SyntaxError, ValueError, RecursionError):
        finder.import_hook(name)
    found: dict[str, Path | None] = {name: first}
    for one, module in finder.modules.items():
        file = getattr(module, "__file__", None)
        if file and Path(file).is_file() and not _is_installed(Path(file)):
            found[one] = Path(file)
    return found


def _is_installed(file: Path) -> bool:
    """Return whether a file belongs to Python or an installed package."""
    path, standard = file.resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or path.is_relative_to(standard)


def _difference(was: dict[str, str], now: dict[str, str]) -> str:
    """Describe the difference between two recorded versions of a part."""
    if was.get("sha256") != now.get("sha256"):
        return "edited"
    if "distribution" in now and was.get("distribution") != now["distribution"]:
        return f"of {was.get('distribution')} {was.get('version')}, now {now['version']}"
    if was.get("version") == now.get("version"):
        return f"{was.get('place')}, now {now.get('place')}"
    return f"version {was.get('version')}, now {now.get('version')}"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
