"""Parts of a recipe that are the user's own: `package.module:Name`, imported, with the working folder searched too."""

import importlib
import sys
from pathlib import Path
from typing import Any

from hdlif.errors import RecipeError, cut


def is_own(name: object) -> bool:
    """Whether a recipe names something of the user's."""
    return isinstance(name, str) and ":" in name


def imported(name: str, key: str) -> Any:
    """What `package.module:Name` names.

    The working folder is searched last, so that a file there hides no installed package.

    Raises:
        RecipeError: there is no such module, it fails, or it has no such name; `key` is where the recipe has it.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise RecipeError(f'{key} = "{cut(name)}" is no name of a part; write package.module:Name')
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
            f"(this is {folder}), or install it"
        ) from error
    except Exception as error:
        raise RecipeError(f'{key} = "{name}": importing {module_name} failed: {cut(str(error), 300)}') from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = sorted(one for one in vars(found) if not one.startswith("_"))
            raise RecipeError(f'{key} = "{name}": {module_name} has no {part}; it has {cut(", ".join(public), 200)}')
        found = getattr(found, part)
    return found
