"""The commands as functions: what `import hdlif` offers under these names, with typed results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args

from hdlif.commands import eval as evaluating
from hdlif.commands import export as exporting
from hdlif.commands import profile as profiling
from hdlif.commands import train as training
from hdlif.commands.eval import EvaluationResult
from hdlif.commands.export_c import export_c
from hdlif.commands.export_options import OPTIONS_OF_TARGETS, foreign_options
from hdlif.commands.profile import Profiled
from hdlif.data import Tested
from hdlif.errors import ArgumentError, ExistingRunError, InputError, did_you_mean
from hdlif.recipe import Recipe
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.accounting.operations import Counting

if TYPE_CHECKING:
    from hdlif.report.training_profile import TrainingProfile


@dataclass(frozen=True, repr=False)
class Run:
    """A finished training in its folder; as a path, it is that folder.

    An example is at `train`.

    Attributes:
        folder: with model.safetensors, summary.json and the rest.
        result: the outcome of the training.
    """

    folder: Path
    result: TrainResult

    @property
    def summary(self) -> Mapping[str, Any]:
        """What summary.json holds."""
        return self.result.as_dict()

    @property
    def accuracy(self) -> float | None:
        """Of a classification on the test set, a fraction in 0..1; None of another task."""
        return self.result.accuracy

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """On the test set, by name: of a classification its accuracy. None is of one that is not a number."""
        return self.result.measured

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """After each time step."""
        return self.result.accuracy_per_step

    @property
    def best_epoch(self) -> int | None:
        """Of the network that is kept, by validation."""
        return self.result.best_epoch

    def __fspath__(self) -> str:
        return fspath(self.folder)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {'—' if one is None else f'{one:.4g}'}" for name, one in self.metrics.items())
        return f"Run({fspath(self.folder)!r}: {figures})"


Place = str | PathLike[str]
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _naming_arguments(verb: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a verb say of an argument that it does not take which it may mean: an `ArgumentError`."""

    @wraps(verb)
    def named(*args: _P.args, **options: _P.kwargs) -> _T:
        taken = signature(verb).parameters
        for name in options:
            if name not in taken:
                mend = did_you_mean(name, taken)
                raise ArgumentError(f"hdlif.{verb.__name__} has no argument {name}; {mend}")
        return verb(*args, **options)

    return named


def _text(place: Place | None) -> str | None:
    return None if place is None else fspath(place)


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place)


def _listed(overrides: Sequence[str]) -> Sequence[str]:
    if isinstance(overrides, str):
        raise InputError(f"overrides = {overrides!r}; give a list, such as [{overrides!r}]")
    return overrides


_ARGUMENTS = {"--resume": "resume=True", "--overwrite": "overwrite=True", "--out": "out=FOLDER"}
"""What options of the command line are called here."""


@_naming_arguments
def train(
    recipe: str | Path | Recipe | None = None,
    *,
    data: Place | None = None,
    out: Place | None = None,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
    data_root: Place | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stream: bool = False,
    threads: int | None = None,
    progress: bool = False,
    memory_repeats: int = 0,
) -> Run:
    """Train a recipe, measure the result on the test set, and leave a run folder, as `hdlif train` does.

    >>> run = train("digits_hdlif", epochs=1, out="run", overrides=["model.width=4"])
    >>> run.folder, run.metrics["accuracy"] > 0.2
    (PosixPath('run'), True)

    Args:
        recipe: the name of one that ships, a file, or a `Recipe`; without one it follows from your own `data`, and is
            digits_hdlif where these are not given either.
        data: the name of a data set, or the path of data of your own, in place of the recipe's.
        out: the run folder; runs/NAME by default.
        epochs: in place of the recipe's.
        overrides: "a.b=v" each, as `--set` takes them.
        data_root: the folder of a data set that is not bundled.
        resume, overwrite: go on with the run that `out` holds, or replace it.
        stream: each sample goes on with the state of the one before it, with an update every `training.stream` steps.
        threads: PyTorch's; by default those that are measured to be best.
        progress: show a bar.
        memory_repeats: fresh processes that measure peak memory; `hdlif train` takes three.
    Raises:
        HdlifError: the recipe, the data or the folder cannot be used; see `hdlif.errors`.
        InputError: `epochs` or `overrides` beside a `Recipe`, which has its own.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise InputError(f"threads = {threads!r}; give a number of at least 1")
    if recipe is None and data is None:
        recipe = "digits_hdlif"
    changes = [*_listed(overrides), *([f"training.epochs={epochs}"] if epochs is not None else [])]
    if isinstance(recipe, Recipe) and changes:
        raise InputError("epochs and overrides change a recipe that is named; set them in the Recipe that is given")
    if resume and overwrite:
        raise InputError("resume=True goes on with a run and overwrite=True replaces it; leave one of them out")
    name = recipe.name if isinstance(recipe, Recipe) else None
    try:
        result = training.train(
            recipe,
            overrides=changes,
            data=_text(data),
            data_root=_path(data_root),
            out=_path(out),
            resume=resume,
            overwrite=overwrite,
            stream=stream,
            threads=threads,
            progress=progress,
            memory_repeats=memory_repeats,
        )
    except ExistingRunError as error:
        said = str(error)
        for option, argument in _ARGUMENTS.items():
            said = said.replace(f"({option})", f"({argument})")
        raise ExistingRunError(said) from None
    if result is None:
        raise InputError(
            "this is not the first process of the training, which has the result; train with `hdlif train`"
        )
    folder = Path("runs") / (name or result.name) if out is None else Path(out)
    return Run(folder, result)


@_naming_arguments
def evaluate(
    network: Run | Place,
    *,
    data: Place | None = None,
    data_root: Place | None = None,
    overrides: Sequence[str] = (),
    part: Tested = "test",
    progress: bool = False,
) -> EvaluationResult:
    """Answer a test set, as `hdlif eval` does.

    Args:
        network: a run, its folder, a checkpoint, or an artefact, which the compiled runtime runs.
        data: the name of a data set, or data of one's own; by default the training's own.
        overrides: "data.KEY=VALUE" each, as `--set` takes them: of data of one's own, how they are read and divided.
        part: "all" of them, or "train", "validation" or "test".
        data_root: the folder of a data set that is not bundled.
        progress: show a bar.
    """
    return evaluating.evaluate_path(
        Path(network),
        data=_text(data),
        data_root=_path(data_root),
        overrides=_listed(overrides),
        part=part,
        progress=progress,
    )


@_naming_arguments
def export(
    network: Run | Place,
    out: Place,
    *,
    to: Literal["artefact", "onnx", "nir", "c"] = "artefact",
    check: bool = False,
    form: Literal["unrolled", "step"] | None = None,
    batch: int | None = None,
    weights: Literal["int8", "int4", "float32"] | None = None,
    extension: bool = False,
    for_norse: bool = False,
    arithmetic: Literal["float", "fixed"] | None = None,
    data: Place | None = None,
    data_root: Place | None = None,
    overrides: Sequence[str] = (),
    rom: int | None = None,
    ram: int | None = None,
    firmware: bool = False,
) -> Path:
    """Write a trained network as one file that runs without PyTorch, as an ONNX model, in NIR, or in C; its path.

    Args:
        network: a run, its folder or a checkpoint; for all but an artefact an artefact too.
        check: run it before it is written, and compare its outputs with the reference's.
        form, batch, weights: of ONNX, as `hdlif export` takes them.
        extension, for_norse: of NIR.
        arithmetic, data, data_root, overrides, rom, ram, firmware: of C, as `hdlif export` takes them; `out` is NAME.c.
        out: the file.
        to: "artefact", "onnx", "nir" or "c".
    Raises:
        ArgumentError: an option is of another target.
        InputError: another target, or what the target refuses.
        MachineError: a check found other outputs; nothing is written.
    """
    if to not in OPTIONS_OF_TARGETS:
        raise InputError(f"to = {to!r} is unknown; choose one of {', '.join(sorted(OPTIONS_OF_TARGETS))}")
    options: dict[str, Any] = {
        "check": check,
        "form": form,
        "batch": batch,
        "weights": weights,
        "extension": extension,
        "for_norse": for_norse,
        "arithmetic": arithmetic,
        "data": data if data is None else fspath(data),
        "data_root": data_root if data_root is None else Path(data_root),
        "overrides": _listed(overrides) or None,
        "rom": rom,
        "ram": ram,
        "firmware": firmware,
    }
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if foreign := foreign_options(to, given):
        raise ArgumentError(f"export: {foreign[0]} is for to = {' and '.join(map(repr, foreign[1]))} alone")
    if to == "c":
        export_c(Path(network), out=Path(out), **given)
    else:
        exporting.WRITERS[to](Path(network), out=Path(out), **given)
    return Path(out)


@_naming_arguments
def profile(
    network: Run | Place,
    *,
    counting: Counting = "paper",
    data: Place | None = None,
    data_root: Place | None = None,
    overrides: Sequence[str] = (),
) -> Profiled:
    """Parameters, operations and energy, layer by layer, as `hdlif profile` counts them.

    >>> counts = profile("digits_hdlif").counts
    >>> [layer.kind for layer in counts.layers][:3], counts.sops > 0
    (['conv2d', 'affine', 'HDLIF'], True)

    Args:
        network: a recipe's name or file, a run, its folder, a checkpoint, or an artefact.
        counting: "paper", as the paper's tables count, or "honest", every operation of the deployed network.
        data: what is counted on; needed for an artefact.
        overrides: "data.KEY=VALUE" each, of data of one's own.
        data_root: the folder of a data set that is not bundled.
    """
    if counting not in get_args(Counting):
        raise InputError(f"counting = {counting!r} is unknown; choose one of {', '.join(get_args(Counting))}")
    return profiling.profile(
        fspath(network),
        counting=counting,
        data=_text(data),
        data_root=_path(data_root),
        overrides=_listed(overrides),
    )


@_naming_arguments
def profile_training(
    recipe: Place,
    *,
    data: Place | None = None,
    data_root: Place | None = None,
    overrides: Sequence[str] = (),
) -> TrainingProfile:
    """Where the time of an update of a recipe's training goes, layer by layer, as `hdlif profile --training` times it.

    >>> profile = profile_training("digits_hdlif_w1p5_s4", overrides=["neuron.path=fused", "data.batch_size=4"])
    >>> sorted({layer.path for layer in profile.layers})[:2]
    ['PyTorch', 'PyTorch: what it reads is not what quantised neurons emit']

    Args:
        recipe: the name of one that ships, or a file.
        data, data_root: as in `train`; of the data, what a network is made for is read.
        overrides: "A.B=VALUE" each.
    """
    return profiling.profile_training(
        fspath(recipe), data=_text(data), data_root=_path(data_root), overrides=_listed(overrides)
    )
