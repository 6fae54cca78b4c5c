"""The command line: parses, prints, sets the exit code. Each command is imported when it is called.

`program` puts the verbs together, which stand in a module for each group of them.
"""

from hdlif.cli.output import show
from hdlif.cli.program import cli, main

__all__ = ["cli", "main", "show"]
