"""The command line: one module per subcommand, with its options, its function and its output."""

from hdlif.cli.output import show
from hdlif.cli.program import cli, main

__all__ = ["cli", "main", "show"]
