"""Verbs to begin with."""

import sys
from pathlib import Path
from typing import Any

import click

from hdlif.cli.completion import SHELLS, script
from hdlif.cli.examples import examples
from hdlif.cli.options import FILE, data_root_option, json_option
from hdlif.cli.output import put, show


@examples(
    ("hdlif new project mine", "the folder mine/"),
    ("hdlif new project --help", "what is in it"),
)
@click.group()
def new() -> None:
    """Begin something of your own."""


@examples(
    ("hdlif new project mine", "its README.md says what to run"),
    ("hdlif new project mine && cd mine && hdlif train recipe.yaml --out runs/first", "and train on its pictures"),
)
@new.command("project", short_help="Write a folder to begin a project from.")
@click.argument("folder", type=FILE)
def new_project(folder: Path) -> None:
    """Write FOLDER: a recipe, pictures, a neuron, a network, a test that passes, and a page on what to run."""
    from hdlif.commands.new import new_project as command

    found = command(folder)
    put(f"{folder}: {len(found)} files; {folder / 'README.md'} says what to run")


@examples(
    ("hdlif doctor", "a line for each check"),
    ("hdlif doctor --json", "for a program, or to put into a report of a fault"),
)
@click.command(short_help="Check this machine: versions, kernels, gradients.")
@json_option
def doctor(as_json: bool) -> None:
    """Is this machine sound: versions, instruction sets, convolution gradients, the compiled runtime, extras.

    Works without PyTorch, and says what is missing. Exit code 1 where something is wrong that hdlif cannot guard
    against.
    """
    from hdlif.commands.doctor import as_text
    from hdlif.commands.doctor import doctor as command

    result = command()
    show(result, as_json, lambda: as_text(result))
    if result["faults"]:
        sys.exit(1)


@examples(
    ("hdlif demo", "on the bundled digits, into runs/demo"),
    ("hdlif demo --page", "and a page that runs the network in a browser"),
    ("hdlif demo --data fashion_mnist --data-root data", "on data/FashionMNIST/raw; about 40 minutes on two cores"),
)
@click.command(short_help="Train four networks, compare them, deploy one, report.")
@click.option("--data", default="digits", show_default=True, help="digits (bundled) or fashion_mnist.")
@data_root_option
@click.option("--out", type=FILE, default=Path("runs/demo"), show_default=True)
@click.option("--page", is_flag=True, help="Also write OUT/live.html, which runs the network in a browser.")
@json_option
def demo(as_json: bool, **options: Any) -> None:
    """Train four networks online, compare them, deploy the smallest, run it without PyTorch, write a report."""
    from hdlif.commands import tables
    from hdlif.commands.demo import LIVE_PAGE
    from hdlif.commands.demo import demo as command

    result = command(progress=not as_json, **options)
    artefact = result.artefact
    show(
        result.as_dict(),
        as_json,
        lambda: (
            f"{tables.networks_table(result.networks)}\n\n"
            f"{artefact['path']}: {artefact['bytes']:,} bytes, {artefact['latency_ms']:.2f} ms an image\n"
            f"runtime and PyTorch agree on {artefact['argmax_agreement']:.2%} of {artefact['images']:,} test images; "
            f"largest logit difference {artefact['max_logit_difference']:.1e}\n"
            f"{options['out'] / 'report.html'}" + (f"\n{options['out'] / LIVE_PAGE}" if options["page"] else "")
        ),
    )


@examples(
    ("hdlif tour", "Enter runs a step, s skips it, q quits"),
    ("hdlif tour --yes --out tour", "all of it, into tour/, without asking"),
)
@click.command(short_help="Five minutes with a small network, step by step.")
@click.option("--yes", is_flag=True, help="Run each step without asking.")
@click.option("--out", type=FILE, default=Path("runs/tour"), show_default=True, help="Folder that all is written to.")
def tour(yes: bool, out: Path) -> None:
    """Five minutes with a small network: train it, look at its answers, export it, run it, count what it costs.

    Each step says what it does and shows a command, which runs when you press Enter. Needs the extra hdlif[train].
    """
    from hdlif.cli.touring import go

    go(out, ask=not yes)


@examples(
    ('eval "$(hdlif completion bash)"', "in ~/.bashrc; for zsh the same with zsh in ~/.zshrc"),
    ("hdlif completion fish > ~/.config/fish/completions/hdlif.fish", "once, for fish"),
)
@click.command(short_help="Print the script by which a shell completes words.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script by which SHELL completes verbs, options, and names of recipes, tables, data sets and neurons."""
    put(script(shell, context.find_root().command))
