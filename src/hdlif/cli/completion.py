"""Implement `hdlif completion`, which prints a shell completion script."""

from typing import Annotated

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class

from hdlif.cli.names import VARIABLE
from hdlif.cli.options import argument, subcommand
from hdlif.cli.output import put

SHELLS = ("bash", "zsh", "fish")


class _Bash(BashComplete):
    """Click's bash completion, but without a space after `KEY=`."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
    )


add_completion_class(_Bash)


def completion(
    shell: Annotated[str, argument(type=click.Choice(SHELLS))],
) -> str:
    """Print a script that lets SHELL complete subcommands, options, and the names of recipes and other items."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(click.get_current_context().find_root().command, {}, "hdlif", VARIABLE).source().strip()


COMMAND = subcommand(
    completion,
    ('eval "$(hdlif completion bash)"', "in ~/.bashrc; for zsh the same with zsh in ~/.zshrc"),
    ("hdlif completion fish > ~/.config/fish/completions/hdlif.fish", "once, for fish"),
    shown=lambda script, as_json, given: put(script),
    json=False,
)
