"""Create subcommands from the signatures and docstrings of functions.

An option is a keyword argument whose help text is in the "Args:" section of the docstring. The annotation of an option
is either its type or `Annotated[type, option(...)]` with settings. A positional argument has the annotation
`Annotated[type, argument(...)]`.

`subcommand` returns the command-line command, and `called_from_python` returns the function for Python users.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

import click

from hdlif.cli.names import DATA, DATA_KEY, KEY, ParamType
from hdlif.cli.output import say, show
from hdlif.errors import ArgumentError, ExistingRunError, HdlifError, InputError, brief, did_you_mean, say_nothing

P = ParamSpec("P")
R = TypeVar("R")
Place = str | PathLike[str]
FILE = click.Path(path_type=Path)


class ByteCount(ParamType):
    """A parameter type for a number of bytes, such as 16384 or 16K."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        # Imported here because it loads NumPy and the runtime, which --help does not need.
        from hdlif.serve.byte_counts import ACCEPTED, byte_count

        try:
            count = byte_count(str(value))
        except ValueError:
            self.fail(f"{brief(value)} is not {ACCEPTED}.", param, ctx)
        if count < 1:
            self.fail(f"{brief(value)} is less than 1; give {ACCEPTED}.", param, ctx)
        return count


BYTES = ByteCount()


class _OrWord(ParamType):
    """A parameter type that accepts a number or one of several words."""

    name = "number"

    def __init__(self, number: ParamType, *words: str) -> None:
        self.number, self.words = number, words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in self.words else self.number.convert(value, param, ctx)


@dataclass(frozen=True)
class Declared:
    """The declaration of a function parameter as an option or a positional argument."""

    kind: type[click.Parameter]
    flags: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def multiple(self) -> bool:
        return bool(self.settings.get("multiple")) or self.settings.get("nargs") == -1

    def parameter(self, name: str, default: Any) -> click.Parameter:
        """Return a click parameter with the same default value as the function's parameter."""
        settings = dict(self.settings)
        if self.kind is click.Argument:
            return click.Argument([name], **{"required": default is inspect.Parameter.empty} | settings)
        if default is inspect.Parameter.empty:
            settings["required"] = True
        elif isinstance(default, bool):
            settings |= {"is_flag": True, "default": default}
        elif not self.multiple:
            settings.setdefault("default", default)
            settings.setdefault("show_default", settings["default"] is not None)
        return click.Option([*(self.flags or (f"--{name.replace('_', '-')}",)), name], **settings)


def option(*flags: str, **settings: Any) -> Declared:
    """Declare an option (by default, --NAME) with the settings of `click.Option`."""
    return Declared(click.Option, flags, settings)


def argument(**settings: Any) -> Declared:
    """Declare a positional argument with the settings of `click.Argument`."""
    return Declared(click.Argument, (), settings)


_PROBABILITY = click.FloatRange(0, 1)
Confidence = Annotated[
    float | Literal["auto", "off"] | None, option(type=_OrWord(_PROBABILITY, "auto", "off"), metavar="P|auto|off")
]
StoredConfidence = Annotated[
    float | Literal["auto"] | None, option(type=_OrWord(_PROBABILITY, "auto"), metavar="P|auto")
]
Bytes = Annotated[int | None, option(type=BYTES)]
TrainedLevel = Literal["classifier", "affine", "last-block", "all"]
"""Copy of `hdlif.graph.learning.Level`, whose module takes long to load."""
DataKeys = Annotated[Sequence[str], option("--set", multiple=True, type=DATA_KEY, metavar="data.KEY=V")]
DataRoot = Place | None
DataSet = Annotated[Place | None, option(type=DATA, metavar="NAME|PATH")]
DataSetName = Annotated[str | None, option(type=DATA, metavar="NAME|PATH")]
Settings = Annotated[Sequence[str], option("--set", multiple=True, type=KEY, metavar="A.B=V")]
Threads = Annotated[int | Literal["auto"] | None, option(type=_OrWord(click.IntRange(1), "auto"), metavar="COUNT|AUTO")]
_HELP = {
    "data_root": "Folder that contains the data set, in the layout of docs/reference/data.md; not needed for digits.",
    "overrides": "A key of the `data` section, for your own data; repeatable.",
}
"""Help texts of options that docstrings do not describe."""


def declared(function: Callable[..., Any]) -> dict[str, Declared]:
    """Return the declarations of a function's parameters by name."""
    function, found = inspect.unwrap(function), {}
    helps = _helps(inspect.getdoc(function) or "")
    for name, parameter in inspect.signature(function).parameters.items():
        one = next(
            (one for one in getattr(parameter.annotation, "__metadata__", ()) if isinstance(one, Declared)), None
        )
        if one is not None and one.kind is click.Argument:
            found[name] = one
            continue
        flags, settings = ((), _settings(parameter.annotation)) if one is None else (one.flags, one.settings)
        if (help := helps.get(name, settings.get("help", _HELP.get(name)))) is not None:
            found[name] = Declared(click.Option, flags, {"help": help or None, **settings})
    return found


def _helps(doc: str) -> dict[str, str]:
    r"""Return the descriptions in a docstring's "Args:" section by parameter name.

    >>> _helps("Train.\n\nArgs:\n    out: Run\n        folder.\n    page:\nRaises:\n    X: y")
    {'out': 'Run folder.', 'page': ''}
    """
    section = re.search(r"^Args:\n((?:    .*\n?)*)", doc, re.MULTILINE)
    entries = re.split(r"^    (?=\w)", section[1], flags=re.MULTILINE)[1:] if section else []
    parts = (re.sub(r"\n *", " ", entry).strip().partition(":") for entry in entries)
    return {name: text.strip() for name, _, text in parts}


def _settings(annotation: Any) -> dict[str, Any]:
    """Return click's settings for a parameter's type annotation."""
    kinds = [one for one in get_args(annotation) or (annotation,) if one is not NoneType]
    words = get_args(annotation) if get_origin(annotation) is Literal else get_args(kinds[0])
    if words and all(isinstance(word, str) for word in words):
        return {"type": click.Choice(words)}
    if Path in kinds or PathLike[str] in kinds:
        return {"type": FILE}
    return {"type": click.IntRange(1)} if int in kinds else {"type": float} if float in kinds else {}


def subcommand(
    function: Callable[..., Any],
    *examples: tuple[str, str],
    name: str | None = None,
    short: str | None = None,
    text: Callable[[Any], str] = str,
    shown: Callable[..., Any] | None = None,
    json: bool = True,
    parameters: Sequence[click.Parameter] = (),
    call: Callable[[Callable[..., Any], dict[str, Any]], Any] | None = None,
) -> click.Command:
    """Create the command for a function, using the docstring up to a form feed as the help text.

    Args:
        examples: command lines with short remarks for the end of the help.
        name: name of the command; the function's name by default.
        short: the command's line in the help of its group.
        text: formats the function's result for people.
        shown: prints the function's result; by default `show`, as JSON if --json is given.
        json: whether the command has --json.
        parameters: options that are not in the function's signature.
        call: calls the function with the given values, if some are not arguments of the function.
    """
    function = inspect.unwrap(function)
    signature, doc = inspect.signature(function).parameters, inspect.getdoc(function) or ""
    parameters = [*(one.parameter(key, signature[key].default) for key, one in declared(function).items()), *parameters]
    if json:
        parameters.append(
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as one JSON object.")
        )

    def run(as_json: bool = False, **given: Any) -> None:
        ways = {"progress": not as_json, "say": say_nothing if as_json else say, "as_json": as_json}
        own = given | {key: way for key, way in ways.items() if key in signature}
        result = function(**own) if call is None else call(function, own)
        if shown is not None:
            shown(result, as_json, given)
        # Only the first of several processes has a result to print.
        elif result is not None:
            show(result if isinstance(result, dict) else result.as_dict(), as_json, lambda: text(result))

    command = click.Command(
        name or function.__name__,
        callback=run,
        params=parameters,
        short_help=short,
        help=re.split(r"(?m)\f|^(?:Args|Returns|Raises):", doc, maxsplit=1)[0].rstrip(),
        epilog="\b\nExamples:\n" + "\n".join(f"  # {remark}\n  {line}" for line, remark in examples),
    )
    command.examples = examples  # type: ignore[attr-defined]
    return command


def group(name: str, help: str, commands: Sequence[click.Command], *examples: tuple[str, str]) -> click.Group:
    """Create a command that groups several subcommands."""
    epilog = "\b\nExamples:\n" + "\n".join(f"  # {remark}\n  {line}" for line, remark in examples)
    made = click.Group(name, {one.name: one for one in commands if one.name}, help=help, epilog=epilog)
    made.examples = examples  # type: ignore[attr-defined]
    return made


def called_from_python(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a subcommand's function for Python users, with the same argument checks as on the command line.

    Raises:
        ArgumentError: the function has no such argument.
        InputError: the command line would reject the value.
    """
    signature, of_options = inspect.signature(function).parameters, declared(function)

    @wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        for name, value in given.items():
            if name not in signature:
                raise ArgumentError(
                    f"hdlif.{function.__name__} has no argument {name}; {did_you_mean(name, signature)}"
                )
            if name in of_options:
                _check_value(name, value, of_options[name])
        try:
            return function(*args, **given)
        except HdlifError as error:
            if isinstance(error, ArgumentError | ExistingRunError) or "--resume" in str(error):
                error.args = (_in_python(str(error), signature),)
            raise

    return call


def _check_value(name: str, value: Any, one: Declared) -> None:
    kind = one.settings.get("type")
    if one.multiple and isinstance(value, str):
        raise InputError(f"{name} = {value!r}; give a list, such as [{value!r}]")
    if isinstance(kind, _OrWord) and value not in kind.words:
        kind = kind.number
    if value is None:
        return
    if isinstance(kind, click.Choice) and value not in kind.choices:
        raise InputError(f"{name} = {value!r} is unknown; {did_you_mean(str(value), kind.choices)}")
    if isinstance(kind, click.IntRange):
        least = int(kind.min or 0)
        if type(value) is not int or value < least:
            raise InputError(f"{name} = {value!r}; give a number of at least {least}")


def _in_python(text: str, signature: Mapping[str, inspect.Parameter]) -> str:
    """Replace command-line options in a message with Python arguments.

    >>> def train(*, resume: bool = False, out: str = "runs"): ...
    >>> _in_python("go on (--resume) or give --out DIR", inspect.signature(train).parameters)
    'go on (resume=True) or give out=DIR'
    """

    def spelled(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        if name == "set":
            return "overrides="
        if name not in signature:
            return found[0]
        if isinstance(signature[name].default, bool):
            return f"{name}=True{found[2]}"
        return f"{name}="

    # A word in capitals after an option is its value.
    return re.sub(r"--([a-z][a-z-]*)( (?=[A-Z])|)", spelled, text)
