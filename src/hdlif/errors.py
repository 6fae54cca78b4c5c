"""The errors that `hdlif` raises for bad input and failed runs.

Each message says what was seen, what is accepted and how to mend it, in one line.
`exit_code` is what the command line returns: 2 for bad input, 1 for a run that failed.
"""

from collections.abc import Iterable


class HdlifError(Exception):
    """Root of every error that `hdlif` raises on purpose."""

    exit_code = 2


class RecipeError(HdlifError):
    """A recipe has an unknown key, name, type or value."""


class ShapeError(HdlifError, ValueError):
    """A tensor's shape does not fit the tensors or the state beside it."""


class StateError(HdlifError, ValueError):
    """A neuron state does not belong to the module, or to the time steps, it is given to."""


class DataError(HdlifError):
    """A data set is absent, damaged or unlike what its name promises."""


class InputError(HdlifError):
    """An input file (image, array) cannot be read or does not fit the network's input record."""


class CheckpointError(HdlifError):
    """A checkpoint is absent, damaged, or belongs to another recipe."""


class ArtefactError(HdlifError):
    """A deployed artefact breaks its format; the message names the field."""


class LoweringError(HdlifError):
    """A module has no deployed form."""


class MissingExtraError(HdlifError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class TrainingError(HdlifError):
    """A training run cannot go on (a loss that is not finite, a full disk)."""

    exit_code = 1


class InUseError(TrainingError):
    """Another process is training in this run folder."""


def did_you_mean(seen: str, accepted: Iterable[str]) -> str:
    """The tail of an error about a name: the accepted names, and the likeliest one.

    >>> did_you_mean("hdlf", ["lif", "hdlif"])
    'choose one of hdlif, lif (did you mean "hdlif"?)'
    """
    # imported here, for it takes longer than a good run's other imports from the standard library
    import difflib

    names = sorted(accepted)
    likely = difflib.get_close_matches(seen, names, n=1)
    return f"choose one of {', '.join(names)}" + (f' (did you mean "{likely[0]}"?)' if likely else "")
