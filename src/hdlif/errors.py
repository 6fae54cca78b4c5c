"""The errors that `hdlif` raises for bad input and failed runs.

Each message says what was seen, what is accepted and how to fix it, in one printable line: what cannot be printed of
a file's content, or of its name, is escaped.
`exit_code` is what the command line returns: 2 for bad input, 1 for a run that failed.
"""

from collections.abc import Iterable, Sequence


class HdlifError(Exception):
    """Root of every error that `hdlif` raises on purpose."""

    exit_code = 2

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class RecipeError(HdlifError):
    """A recipe has an unknown key, name, type or value.

    Attributes:
        no_section: the key of a part, such as `rule`, that was given without its section; None of other faults.
    """

    def __init__(self, message: object = "", *, no_section: str | None = None) -> None:
        super().__init__(message)
        self.no_section = no_section


class ShapeError(HdlifError, ValueError):
    """A tensor's shape does not fit the tensors or the state beside it."""


class StateError(HdlifError, ValueError):
    """A neuron state does not belong to the module, or to the time steps, it is given to."""


class ResetError(HdlifError, AttributeError):
    """A module is asked to reset a state that it does not have."""


class ParameterError(HdlifError, ValueError):
    """A module's parameter has a value under which the way it is computed does not hold."""


class EquationError(HdlifError, ValueError):
    """A neuron's equation has no program; the message begins with the place in its file."""


class DataError(HdlifError):
    """A data set is absent, damaged or unlike what its name promises."""


class InputError(HdlifError):
    """An input file (image, array) cannot be read or does not fit the network's input record."""


class ArgumentError(HdlifError, TypeError):
    """A function is called with an argument that it does not take."""


class CheckpointError(HdlifError):
    """A checkpoint is absent, damaged, or belongs to another recipe."""


class ArtefactError(HdlifError):
    """A deployed artefact breaks its format; the message names the field."""


class LimitError(HdlifError):
    """A run asks for more memory or work than it is granted; the message names both, and how to grant more."""


class AllocationError(HdlifError, MemoryError):
    """The machine did not grant the memory of a run."""

    exit_code = 1


class LoweringError(HdlifError):
    """A module has no deployed form."""


class ConversionError(HdlifError):
    """A network has parts that cannot be turned into those of a spiking one."""


class MissingExtraError(HdlifError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

    @classmethod
    def of(cls, missing: str | None, extras: str) -> "MissingExtraError":
        """Say that a package is missing, which these extras bring."""
        return cls(f"{missing} is not installed; install it with: {pip_install(extras)}")


class TrainingError(HdlifError):
    """A training run cannot go on (a loss that is not finite, a full disk)."""

    exit_code = 1


class ExistingRunError(HdlifError):
    """A run folder holds a run that would be lost."""


class InUseError(TrainingError):
    """Another process is training in this run folder."""


class OutputError(HdlifError):
    """Standard output cannot be written (a full disk behind it, or it is closed)."""

    exit_code = 1


class MachineError(HdlifError):
    """The machine refuses a file, or has no memory left, where no command expects it."""

    exit_code = 1


def pip_install(extras: str) -> str:
    """Return the command that installs extras of hdlif, from the place that it was installed from itself.

    pip keeps that place beside the package (direct_url.json, PEP 610) unless it was an index of packages.
    """
    import json
    import shlex
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        kept = json.loads(distribution("hdlif").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        kept = {}
    url = str(kept.get("url", ""))
    if not url.startswith("file://"):
        return f"pip install 'hdlif[{extras}]{f' @ {url}' if url else ''}'"
    editable = "-e " if kept.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}{shlex.quote(f'{url2pathname(urlsplit(url).path)}[{extras}]')}"


def printable(text: str) -> str:
    r"""`text` with what is not printable, line breaks too, escaped as Python writes it.

    >>> print(printable("a\nb \x1b[31m é"))
    a\nb \x1b[31m é
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """`text` with what is not printable escaped, but for its line breaks: what is safe to show on a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def cut(text: str, most: int = 80) -> str:
    """`text` of at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def brief(value: object) -> str:
    """`value` as Python writes it, of at most 80 characters; its type where Python refuses to write it."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):
        # an integer of thousands of digits, or what nests as deep
        return f"a very large {type(value).__name__}"


def first_line(error: Exception) -> str:
    """What an error says on its first line, of torch's some have many more."""
    return cut((str(error).splitlines() or [type(error).__name__])[0], 300)


def reason(error: BaseException) -> str:
    """What a library or the system says of a file, in few words: of an `OSError` without its number and path."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return cut(said, 200) or type(error).__name__


def some(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are.

    >>> some(["a", "b", "c"], 2), some(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


MOST_NAMES = 32
"""That an error lists."""


def did_you_mean(seen: str, accepted: Iterable[str]) -> str:
    """The tail of an error about a name: the accepted names, of very many the nearest, and the likeliest one.

    >>> did_you_mean("hdlf", ["lif", "hdlif"])
    'choose one of hdlif, lif (did you mean "hdlif"?)'
    >>> did_you_mean("layer7", [f"layer{i}.conv" for i in range(40)])
    'choose one of layer27.conv, layer37.conv, layer7.conv and 37 more (did you mean "layer7.conv"?)'
    """
    # imported here, for it takes longer than a good run's other imports from the standard library
    import difflib

    names = sorted(accepted)
    likely = difflib.get_close_matches(cut(seen), names, n=1)
    if len(names) > MOST_NAMES:
        nearest = sorted(difflib.get_close_matches(cut(seen), names, n=3, cutoff=0))
        listed = f"{', '.join(nearest)} and {len(names) - 3} more"
    else:
        listed = ", ".join(names)
    return f"choose one of {listed}" + (f' (did you mean "{likely[0]}"?)' if likely else "")


def say_nothing(line: str) -> None:
    """Take a line on the progress of a long task and print nothing: the default of an argument `say`."""
