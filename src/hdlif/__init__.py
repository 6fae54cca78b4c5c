"""HD-LIF spiking networks: online training in constant memory, and low-bit deployment without PyTorch.

`import hdlif` is fast because each name is imported on first use. `hdlif.Session`, `hdlif.Stream`, `hdlif.predict` and
`hdlif.runtime` do not need PyTorch.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_AT = {
    **dict.fromkeys(("Adapted", "adapt"), "cli.adapt"),
    **dict.fromkeys(("EvaluationResult", "evaluate"), "cli.eval"),
    **dict.fromkeys(("Profiled", "profile", "profile_training"), "cli.profile"),
    **dict.fromkeys(("Run", "train"), "cli.train"),
    **dict.fromkeys(("TrainedNetwork", "load"), "cli.networks"),
    "export": "cli.export",
    "predict": "cli.predict",
    **dict.fromkeys(("Checkpoints", "Fit", "Log", "Progress", "Trainer"), "training"),
    **dict.fromkeys(("Classify", "Instances", "LabelSequence", "Multilabel", "Regress", "Segment"), "training.tasks"),
    "TrainingConfig": "config",
    **dict.fromkeys(("ForwardMode", "NDOT", "OTTT", "SLTT", "STBP", "StochasticStep", "StochasticWindow"), "learning"),
    **dict.fromkeys(("FrameStream", "Learner", "LearningRate", "Session", "Stream"), "runtime"),
    "TrainResult": "recipe.runs.summary",
    "recipe_schema": "recipe.builders.schema",
}
"""Module of each name; `__init__.pyi` repeats this for type checkers."""
_PACKAGES = ("accounting", "data", "deploy", "errors", "functional", "learning", "models", "nn", "runtime", "training")
"""Packages that are attributes of `hdlif` without an import of their own."""

__all__ = ["__version__", *_AT, *_PACKAGES]


def names_at(package: str, at: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` function that imports a package's names on first use.

    Args:
        package: the package's name, for the error.
        at: the module of each name, such as "cli.train".
    """

    def look_up(name: str) -> Any:
        if name not in at:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"hdlif.{at[name]}"), name)

    return look_up


_look_up = names_at("hdlif", _AT)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"hdlif.{name}")
    if name != "__version__":
        return _look_up(name)
    # Reading the metadata takes a tenth of a small run's time.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hdlif")
    except PackageNotFoundError:  # The source tree is not installed.
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
