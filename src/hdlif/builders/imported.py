"""Parts of a recipe that are the user's own: `package.module:Name`, imported, with the working folder searched too."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hdlif.errors import RecipeError, cut, did_you_mean


def is_own(name: object) -> bool:
    """Whether a recipe names something of the user's."""
    return isinstance(name, str) and ":" in name


def own_or_one_of(name: object, accepted: Collection[str]) -> str:
    """The tail of an error about an unknown name: one of the user's own with a dot for its colon, or a likely one.

    >>> own_or_one_of("my_models.TinyNet", ["dense"]), own_or_one_of("dens", ["dense"])
    ('write my_models:TinyNet', 'choose one of dense (did you mean "dense"?)')
    """
    seen = cut(str(name))
    module, dot, attribute = seen.rpartition(".")
    if dot and all(part.isidentifier() for part in (*module.split("."), attribute)):
        return f"write {module}:{attribute}"
    return did_you_mean(seen, accepted)


def imported(name: str, key: str) -> Any:
    """What `package.module:Name` names.

    The working folder is searched last, so that a file there hides no installed package.

    Raises:
        RecipeError: there is no such module, it fails, or it has no such name; `key` is where the recipe has it.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise RecipeError(f'{key} = "{cut(name)}" is not the name of a part; write package.module:Name')
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise RecipeError(f'{key} = "{name}": importing {module_name} failed: {error}') from error
        raise RecipeError(
            f'{key} = "{name}": there is no module {error.name}; run where {module_name.split(".")[0]}.py lies '
            f"(this is {folder}), or install it{_likely_module(error.name)}"
        ) from error
    except Exception as error:
        raise RecipeError(f'{key} = "{name}": importing {module_name} failed: {cut(str(error), 300)}') from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RecipeError(f'{key} = "{name}": {module_name} has no {part}; {_defined(found, module_name, part)}')
        found = getattr(found, part)
    return found


def _likely_module(missing: str) -> str:
    """The installed module whose name is nearest, in words; nothing where none is near."""
    # imported here, as did_you_mean does it
    import difflib

    package, dot, last = missing.rpartition(".")
    places = getattr(sys.modules[package], "__path__", ()) if package else None
    likely = difflib.get_close_matches(last, [one.name for one in pkgutil.iter_modules(places)], n=1)
    return f' (did you mean "{package}{dot}{likely[0]}"?)' if likely else ""


def _defined(place: Any, module: str, missing: str) -> str:
    """What a module or package defines (what it imports is not said), or what a class in it has; to choose from."""
    names = [name for name in vars(place) if not name.startswith("_")]
    if inspect.ismodule(place):
        own = f"{place.__name__}."
        names = [name for name in names if f"{getattr(vars(place)[name], '__module__', None)}.".startswith(own)]
    if not names:
        return f"{module} defines no class or function; write one there"
    return f"it has {did_you_mean(missing, names).removeprefix('choose one of ')}"
