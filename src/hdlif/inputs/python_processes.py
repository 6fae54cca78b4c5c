"""Commands that start another Python process."""

import sys
from pathlib import Path


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module in a process of its own; a file in the working folder hides no module.

    >>> module_command("hdlif", "doctor")[1:]
    ['-P', '-m', 'hdlif', 'doctor']
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def this_command() -> list[str]:
    """Return the command that runs this program with its arguments."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        return module_command(spec.name, *sys.argv[1:])
    return [sys.executable, str(Path(sys.argv[0]).absolute()), *sys.argv[1:]]
