"""The command line, with one module per subcommand."""

from hdlif.cli.output import show
from hdlif.cli.program import cli, main

__all__ = ["cli", "main", "show"]
