"""All subcommands of `hdlif`, as click has them."""

from collections.abc import Iterator

import click

from hdlif.cli import cli


def walk(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Each group and subcommand, by the words after `hdlif`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


COMMANDS = dict(walk())
LEAVES = {name: command for name, command in COMMANDS.items() if not isinstance(command, click.Group)}
