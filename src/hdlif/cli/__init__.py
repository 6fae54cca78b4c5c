"""The command line: one file for each subcommand, with its options, its function and what it prints."""

from hdlif.cli.output import show
from hdlif.cli.program import cli, main

__all__ = ["cli", "main", "show"]
