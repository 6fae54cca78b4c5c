"""Run the program `hdlif`, with lazy imports, error messages and exit codes."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

from hdlif import errors
from hdlif.cli.names import DATA_KEY, KEY, VARIABLE
from hdlif.cli.output import full, put, say
from hdlif.errors import HdlifError, MachineError, MissingExtraError, OutputError, RecipeError, reason


def form_that_works(error: click.NoSuchOption, words: Sequence[str]) -> str:
    """Return a hint to use --set if an unknown option is a recipe key; otherwise, return "".

    Args:
        words: the words of the command line.
    """
    types = [] if error.ctx is None else [parameter.type for parameter in error.ctx.command.params]
    try:
        named = _keys(error.option_name.lstrip("-").replace("-", "_"))
    except ModuleNotFoundError:
        # Recipes require the training extra.
        return ""
    keys = [key for key in named if KEY in types or _is_of_data(key)]
    if not keys or not (KEY in types or DATA_KEY in types):
        return ""
    value = _value(error.option_name, words) or "VALUE"
    return "A recipe's values are set by " + " or ".join(_assignment(key, value) for key in keys) + "."


def kinds_of(section: str | None) -> str:
    """Return the last part of an error message, which lists the valid kinds for a recipe section."""
    from hdlif.recipe.builders.part import KINDS

    names = KINDS.get(f"{section}.kind")
    return f"; kind is one of {', '.join(sorted(names))}" if names else ""


def _keys(name: str) -> list[str]:
    """Return the recipe keys that end in `name`, or only `name` if it is a section."""
    from hdlif.recipe import ALIASES, Recipe
    from hdlif.recipe.builders.schema import KEYS as MEANINGS

    name = ALIASES.get(name, name)
    if "." in name or name in Recipe.model_fields:
        return [name]
    inside = {f"{key}.{field}" for key in ("data", "training") for field in _fields(key)}
    inside |= {key for key in MEANINGS if key.count(".") == 1}
    return sorted(key for key in inside if key.partition(".")[2] == name and name != "kind")


def _fields(section: str) -> Sequence[str]:
    from hdlif.recipe import Recipe

    kind = Recipe.model_fields[section].annotation
    return list(getattr(kind, "model_fields", ()))


def _assignment(key: str, value: str) -> str:
    from hdlif.recipe import Component, Recipe

    annotation = Recipe.model_fields[key].annotation if key in Recipe.model_fields else None
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return f'--set "{key}={{kind: {value}}}"'
    return f"--set {key}={value}"


def _is_of_data(key: str) -> bool:
    return key.startswith("data.")


def _value(option: str, words: Sequence[str]) -> str | None:
    """Return the value given for an option on the command line, or None if the value would need quotes."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if name == option and re.fullmatch(r"[\w.][\w.:/+-]{,59}", value):
            return value
    return None


_NO_MEMORY = re.compile("can't (allocate memory|start new thread)|out of memory")
"""Matches out-of-memory errors for which Python and PyTorch have no type."""


SUBCOMMANDS = {
    "ablate": ("ablate", "Train every cell of a table of recipes and seeds."),
    "adapt": ("adapt", "Train a deployed network further on labelled data."),
    "bench": ("bench", "Time a deployed network and other inference engines."),
    "coherence": ("coherence", "Compare each rule's gradients with STBP, per layer."),
    "completion": ("completion", "Print a shell completion script."),
    "data": ("data", "Inspect your own data, and fetch public data sets."),
    "demo": ("demo", "Train four networks, compare them, deploy one, report."),
    "doctor": ("doctor", "Check this machine: versions, kernels, gradients."),
    "eval": ("eval", "Measure accuracy after each time step."),
    "export": ("export", "Deploy a run: one file, ONNX, NIR, or C."),
    "import": ("import_nir", "Import a network of another library from a NIR file."),
    "models": ("models", "List trained networks, and fetch one."),
    "neurons": ("neurons", "List neurons, and show the equation of one."),
    "new": ("new", "Start a project from a template."),
    "profile": ("profile", "Count parameters, operations and energy per layer."),
    "recipes": ("recipes", "List, show and check recipes, and their schema for editors."),
    "report": ("report", "Write an HTML report on runs."),
    "run": ("run", "Predict images, audio, tables, event data or streams."),
    "serve": ("serve", "Predict over HTTP."),
    "sweep": ("sweep", "Search for the best recipe in a space of recipes."),
    "tour": ("tour", "Show the main commands in five minutes."),
    "train": ("train", "Train a recipe, and evaluate the result."),
}
"""Module in `hdlif.cli` that contains COMMAND, and line in `hdlif --help`, for each subcommand."""


class Program(click.Group):
    """The command `hdlif`, which imports only the subcommand that the user calls."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # No path contains NUL, for which system calls raise errors of several types.
        if any("\0" in argument for argument in args):
            raise click.UsageError("an argument contains a NUL character; remove it", ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in SUBCOMMANDS:
            return None
        command: click.Command = import_module(f"hdlif.cli.{SUBCOMMANDS[name][0]}").COMMAND
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in sorted(SUBCOMMANDS.items())])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = sorted(SUBCOMMANDS.items())
        return [CompletionItem(name, help=short) for name, (_, short) in found if name.startswith(incomplete)]


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from hdlif.report.build_info import build

    put(str(build()))
    context.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, the commit and how it is installed, and exit.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Train spiking networks online with HD-LIF neurons, and deploy them as one small file.

    \b
    Start here:
      hdlif tour                                     a guided tour, in five minutes
      hdlif demo                                     four networks on bundled digits, in a few minutes
      hdlif train digits_hdlif_w1p5_s4               train one network; results go to runs/
      hdlif export runs/digits_hdlif_w1p5_s4 --to artefact --out digits.hdlif.safetensors
      hdlif run digits.hdlif.safetensors photo.png   without PyTorch
    """


def main() -> None:
    """Run the command line, print errors to standard error, and exit with code 0, 1, 2, 130 or 143.

    If the reader of standard output has closed the pipe, as `head` does, exit with code 1 and print nothing.
    """
    try:
        # Check this before the work, not after it.
        if sys.stdout is None:
            raise OutputError("standard output is closed; redirect it to a file, or to /dev/null")
        cli(standalone_mode=False, complete_var=VARIABLE)
    except click.exceptions.Abort as error:
        # Click also raises Abort for EOFError, which would be a bug in hdlif.
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None
        _interrupted(error.__cause__)
    except KeyboardInterrupt as error:
        _interrupted(error)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue().rstrip())
        if isinstance(error, click.NoSuchOption) and (fix := form_that_works(error, sys.argv[1:])):
            say(fix)
        sys.exit(2)
    except ModuleNotFoundError as error:
        _fail(MissingExtraError.of(error.name, "train"), error)
    except HdlifError as error:
        _fail(error, error)
    except ImportError as error:
        # If a compiled library does not load, NumPy wraps the reason in a page of advice.
        first = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        fix = "raise the limit on memory (ulimit -v), if there is one, or install its package again"
        _fail(MachineError(f"a library cannot be loaded ({reason(first)}); {fix}"), error)
    except BrokenPipeError as error:
        _fail(None, error)
    except OSError as error:
        if _is_of_click(error):
            _fail(full(error), error)
        place = "" if error.filename is None else f"{error.filename}: "
        _fail(MachineError(f"{place}cannot be read or written ({reason(error)}); free it, or choose another"), error)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        _fail(MachineError("there is not enough memory; close other programs, or process less data at a time"), error)


def _interrupted(error: BaseException | None) -> NoReturn:
    """Print a message about an interrupt and exit with code 130."""
    say(" ".join(["interrupted", *map(str, error.args if isinstance(error, KeyboardInterrupt) else ())]))
    sys.exit(130)


def _fail(error: HdlifError | None, cause: Exception) -> NoReturn:
    """Print an error and exit. With --debug, raise the cause of the error instead."""
    _let_go(sys.stdout)
    if "--debug" in sys.argv[1:]:
        raise cause
    if error is None:
        sys.exit(1)
    page = page_of(_verb(), error)
    kinds = kinds_of(error.no_section) if isinstance(error, RecipeError) and error.no_section else ""
    say(f"{type(error).__name__}: {error}{kinds}" + (f" ({page})" if page else ""))
    sys.exit(error.exit_code)


OF_ERRORS: Mapping[type[HdlifError], str] = {
    errors.RecipeError: "docs/reference/recipes.md",
    errors.EquationError: "docs/how_to/your_own_parts.md",
    errors.DataError: "docs/reference/data.md",
    errors.CheckpointError: "docs/how_to/experiments.md",
    errors.ExistingRunError: "docs/how_to/experiments.md",
    errors.InUseError: "docs/how_to/experiments.md",
    errors.TrainingError: "docs/how_to/experiments.md",
    errors.ArtefactError: "docs/reference/targets.md",
    errors.LimitError: "docs/how_to/running.md",
    errors.LoweringError: "docs/how_to/your_own_network.md",
    errors.ConversionError: "docs/how_to/your_own_network.md",
}
"""Help page for each type of error, in any subcommand."""
OF_SUBCOMMANDS: Mapping[tuple[str, type[HdlifError]], str] = {
    ("data get", errors.DataError): "docs/how_to/datasets.md",
    ("export", errors.ConversionError): "docs/how_to/nir.md",
    ("export", errors.LimitError): "docs/how_to/c.md",
    ("export", errors.LoweringError): "docs/reference/targets.md",
    ("import", errors.ConversionError): "docs/how_to/nir.md",
    ("import", errors.InputError): "docs/how_to/nir.md",
    ("models", errors.InputError): "docs/how_to/running.md",
    ("neurons", errors.RecipeError): "docs/how_to/your_own_parts.md",
    ("report", errors.InputError): "docs/how_to/experiments.md",
    ("serve", errors.InputError): "docs/how_to/serving.md",
    ("serve", errors.LimitError): "docs/how_to/serving.md",
    ("serve", errors.MachineError): "docs/how_to/serving.md",
    ("serve", errors.MissingExtraError): "docs/how_to/serving.md",
    ("sweep", errors.InputError): "docs/how_to/experiments.md",
    ("sweep", errors.MissingExtraError): "docs/how_to/experiments.md",
    ("sweep", errors.RecipeError): "docs/how_to/experiments.md",
}
"""Help page for a type of error in one subcommand, which takes precedence over `OF_ERRORS`."""


def page_of(subcommand: str, error: HdlifError) -> str | None:
    """Return the documentation page for an error that a subcommand, such as "run" or "data get", has raised.

    Return None if no page exists or if the message already contains the path of a page.
    """
    if "docs/" in str(error):
        return None
    for name in (subcommand, subcommand.partition(" ")[0]):
        if page := OF_SUBCOMMANDS.get((name, type(error))):
            return page
    return OF_ERRORS.get(type(error))


def _verb() -> str:
    """Return the first two words on the command line, without options; they may be the name of the subcommand."""
    return " ".join(word for word in sys.argv[1:3] if not word.startswith("-"))


def _is_of_click(error: OSError) -> bool:
    """Return whether an error was raised while click was printing the help or the version."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and str(place.tb_frame.f_globals.get("__name__")).startswith("click.")


def _let_go(stream: TextIO | None) -> None:
    """Discard a stream's unwritten buffer to prevent another write error at exit."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
