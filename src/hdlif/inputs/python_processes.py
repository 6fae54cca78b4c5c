"""Create commands that start another Python process."""

import sys
from pathlib import Path


def module_command(module: str, *arguments: object) -> list[str]:
    """Return a command that runs a module in a new process without importing modules from the working folder.

    >>> module_command("hdlif", "doctor")[1:]
    ['-P', '-m', 'hdlif', 'doctor']
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def this_command() -> list[str]:
    """Return the command that restarts this program with the same arguments, including Python's option -P if set."""
    spec = sys.modules["__main__"].__spec__
    program = [str(Path(sys.argv[0]).absolute())] if spec is None else ["-m", spec.name]
    return [sys.executable, *(["-P"] if sys.flags.safe_path else []), *program, *sys.argv[1:]]
