"""Commands that start another Python process."""

import sys


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module in a process of its own; a file in the working folder hides no module.

    >>> module_command("hdlif", "doctor")[1:]
    ['-P', '-m', 'hdlif', 'doctor']
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]
