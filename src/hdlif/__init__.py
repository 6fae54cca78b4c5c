"""HD-LIF spiking networks: online training in constant memory, and low-bit deployment without PyTorch.

`import hdlif` imports nothing else: names are looked up when they are asked for. `hdlif.Session`, `hdlif.Stream`,
`hdlif.predict` and `hdlif.runtime` need no PyTorch.
"""

from importlib import import_module
from typing import Any

_AT = {
    **dict.fromkeys(("EvaluationResult", "evaluate"), "cli.eval"),
    **dict.fromkeys(("Profiled", "profile", "profile_training"), "cli.profile"),
    **dict.fromkeys(("Run", "train"), "cli.train"),
    **dict.fromkeys(("TrainedNetwork", "load"), "cli.networks"),
    "export": "cli.export",
    "predict": "cli.predict",
    **dict.fromkeys(("Checkpoints", "Fit", "Log", "Progress", "Trainer"), "training"),
    **dict.fromkeys(("Classify", "LabelSequence", "Multilabel", "Regress"), "tasks"),
    "TrainingConfig": "recipe",
    **dict.fromkeys(("ForwardMode", "NDOT", "OTTT", "SLTT", "STBP", "StochasticStep", "StochasticWindow"), "learning"),
    **dict.fromkeys(("Session", "Stream"), "runtime"),
    "TrainResult": "runs.summary",
    "recipe_schema": "recipe.builders.schema",
}
"""The module of each name; `__init__.pyi` says the same to type checkers."""
_PACKAGES = (
    *("accounting", "artefact", "data", "deploy", "errors", "functional", "learning", "models", "nn", "runtime"),
    *("tasks", "training"),
)
"""Of these too, attributes of `hdlif` need no import of their own."""

__all__ = ["__version__", *_AT, *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _AT:
        return getattr(import_module(f"hdlif.{_AT[name]}"), name)
    if name in _PACKAGES:
        return import_module(f"hdlif.{name}")
    if name != "__version__":
        raise AttributeError(f"module 'hdlif' has no attribute {name!r}")
    # Reading the metadata takes a tenth of a small run's time.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hdlif")
    except PackageNotFoundError:  # imported from a source tree that is not installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
