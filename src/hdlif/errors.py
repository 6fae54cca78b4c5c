"""The errors that `hdlif` raises for bad input and failed runs.

Each error message is one printable line that states the problem, the accepted values and the fix. Unprintable
characters in a file's content or name are escaped. `exit_code` is the exit code of the process: 2 for bad input, 1 for
a failed run.
"""

from collections.abc import Iterable, Sequence


class HdlifError(Exception):
    """Base class for every error that `hdlif` raises on purpose."""

    exit_code = 2

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class RecipeError(HdlifError):
    """Raised when a recipe has an unknown key, name, type or value.

    Attributes:
        no_section: the key of a part, such as `rule`, that was set without its section; None for other errors.
    """

    def __init__(self, message: object = "", *, no_section: str | None = None) -> None:
        super().__init__(message)
        self.no_section = no_section


class ShapeError(HdlifError, ValueError):
    """Raised when a tensor's shape does not match other tensors or the state."""


class StateError(HdlifError, ValueError):
    """Raised when a neuron state does not fit the module or the time steps."""


class ResetError(HdlifError, AttributeError):
    """Raised when a module must reset a state that it does not have."""


class ParameterError(HdlifError, ValueError):
    """Raised when a parameter has a value that makes a module's computation invalid."""


class EquationError(HdlifError, ValueError):
    """Raised when a neuron's equation cannot be compiled; the message begins with the position in the file."""


class DataError(HdlifError):
    """Raised when a data set is missing or damaged, or does not match its name."""


class InputError(HdlifError):
    """Raised when an input file (image, array) cannot be read or does not match the network's input record."""


class ArgumentError(HdlifError, TypeError):
    """Raised when a function gets an argument that it does not accept."""


class CheckpointError(HdlifError):
    """Raised when a checkpoint is missing or damaged, or belongs to another recipe."""


class ArtefactError(HdlifError):
    """Raised when a model file violates its format; the message names the field."""


class LimitError(HdlifError):
    """Raised when a run needs more memory or work than allowed; the message also states how to allow more."""


class AllocationError(HdlifError, MemoryError):
    """Raised when the machine cannot provide the memory for a run."""

    exit_code = 1


class LoweringError(HdlifError):
    """Raised when a module cannot be deployed."""


class ConversionError(HdlifError):
    """Raised when a network has layers that cannot be converted to spiking layers."""


class MissingExtraError(HdlifError, ImportError):
    """Raised when an optional dependency is missing; the message contains the command that installs it."""

    @classmethod
    def of(cls, missing: str | None, extras: str) -> "MissingExtraError":
        """Return the error for a missing package that the given extras install."""
        return cls(f"{missing} is not installed; install it with: {pip_install(extras)}")


class TrainingError(HdlifError):
    """Raised when a training run cannot continue, for example after a non-finite loss or on a full disk."""

    exit_code = 1


class ExistingRunError(HdlifError):
    """Raised when a run folder contains a run that would be overwritten."""


class InUseError(TrainingError):
    """Raised when another process is training in the same run folder."""


class OutputError(HdlifError):
    """Raised when standard output, a file or a folder cannot be written, for example because the disk is full."""

    exit_code = 1


class MachineError(HdlifError):
    """Raised when the operating system unexpectedly denies access to a file or runs out of memory."""

    exit_code = 1


def pip_install(extras: str) -> str:
    """Return the command that installs extras of hdlif from the source of the current installation.

    For an installation from any source except a package index, pip records the source in direct_url.json (PEP 610).
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
    r"""Escape unprintable characters in `text`, including line breaks, as Python's `repr` does.

    >>> print(printable("a\nb \x1b[31m é"))
    a\nb \x1b[31m é
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Escape unprintable characters in `text` except line breaks, so the result is safe to show on a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def cut(text: str, most: int = 80) -> str:
    """Return `text`, shortened to at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def brief(value: object) -> str:
    """Return Python's `repr` of `value` in at most 80 characters, or the value's type if `repr` fails."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):
        # The value is an integer with thousands of digits, or is nested too deeply.
        return f"a very large {type(value).__name__}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, because PyTorch's messages may have many lines."""
    return cut((str(error).splitlines() or [type(error).__name__])[0], 300)


def reason(error: BaseException) -> str:
    """Return a short description of an error, without the number and path of an `OSError`."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return cut(said, 200) or type(error).__name__


def some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """Join the first `most` names with `between` and append the number of omitted names.

    >>> some(["a", "b", "c"], 2), some(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    return between.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


MOST_NAMES = 32
"""Maximum number of names that an error lists."""


def did_you_mean(seen: str, accepted: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: accepted names, and the most similar name, if any.

    >>> did_you_mean("hdlf", ["lif", "hdlif"])
    'choose one of hdlif, lif (did you mean "hdlif"?)'
    >>> did_you_mean("layer7", [f"layer{i}.conv" for i in range(40)])
    'choose one of layer27.conv, layer37.conv, layer7.conv and 37 more (did you mean "layer7.conv"?)'
    """
    # Import this here, because in a run without errors it would take longer than the rest of the standard library.
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
    """Ignore a progress line; this function is the default for arguments named `say`."""
