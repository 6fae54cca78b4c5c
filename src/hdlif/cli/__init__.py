"""The command line: one module per subcommand, with its options, function and output."""

from hdlif.cli.output import show
from hdlif.cli.program import cli, main

__all__ = ["cli", "main", "show"]
