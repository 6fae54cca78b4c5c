"""Implement `hdlif export`, which writes a trained network as a model file, ONNX, NIR, C or HTML."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from hdlif.cli.names import NETWORK
from hdlif.cli.options import (
    Bytes,
    DataKeys,
    DataSet,
    P,
    Place,
    StoredConfidence,
    TrainedLevel,
    argument,
    called_from_python,
    option,
    subcommand,
)
from hdlif.errors import ArgumentError, HdlifError, InputError, say_nothing
from hdlif.zoo import WEIGHTS, network_file

if TYPE_CHECKING:
    from torch import nn

    from hdlif.cli.export_c import ExportedC
    from hdlif.cli.export_formats import Exported
    from hdlif.data import DataSets
    from hdlif.graph.artefact import Graph, InputRecord
    from hdlif.report.evaluation import EarlyExit
    from hdlif.training import Trainer

_TARGETS = {
    "artefact": ("threshold", "confidence", "max_drop", "data", "data_root", "overrides"),
    "onnx": ("form", "batch", "weights"),
    "nir": ("extension", "for_norse"),
    "page": ("threshold",),
    "c": (
        *("confidence", "max_drop", "arithmetic", "data", "data_root", "overrides"),
        *("rom", "ram", "firmware", "learn", "momentum"),
    ),
}
"""The options of each target, in addition to --check."""
MAX_DROP = 0.5
"""Maximum loss of accuracy with `--confidence auto`, in percentage points."""


def export_file(
    network: Annotated["Place | nn.Module | Trainer", argument(metavar="CHECKPOINT", type=NETWORK)],
    out: Place,
    *,
    to: Literal["artefact", "onnx", "nir", "c", "page"] = "artefact",
    threshold: Annotated[float | None, option(type=click.FloatRange(0, 1, min_open=True, max_open=True))] = None,
    confidence: StoredConfidence = None,
    max_drop: Annotated[float | None, option(type=float, metavar="POINTS")] = None,
    form: Literal["unrolled", "step"] | None = None,
    batch: int | None = None,
    weights: Literal["int8", "int4", "float32"] | None = None,
    extension: bool = False,
    for_norse: bool = False,
    arithmetic: Literal["float", "fixed"] | None = None,
    data: DataSet = None,
    data_root: Place | None = None,
    overrides: DataKeys = (),
    rom: Bytes = None,
    ram: Bytes = None,
    firmware: bool = False,
    learn: TrainedLevel | None = None,
    momentum: float | None = None,
    check: bool = False,
    input: "InputRecord | None" = None,
    labels: tuple[str, ...] | None = None,
    time_steps: int | None = None,
    say: Callable[[str], None] = say_nothing,
) -> "Exported | ExportedC":
    """Export CHECKPOINT to one file that runs without PyTorch.

    CHECKPOINT is a checkpoint, a run folder, or the name of a trained network from `hdlif models ls`.

    You can also export a model file to ONNX, NIR (for other spiking-network libraries), C, a page, or a new model file.
    Networks exported to ONNX or NIR compute in float32. The C export writes NAME.c and NAME.h for processors without an
    operating system. A page is a single HTML file that runs an image network in a browser.

    \f
    From Python, `network` may also be a network returned by `hdlif.load` or a `Trainer` that has finished training. For
    a plain `torch.nn.Module`, pass `input`, `labels` and `time_steps`. `overrides` contains "data.KEY=VALUE" entries.
    `say` is called with a line of text before each slow check.

    Args:
        out: The file to write, usually NAME.hdlif.safetensors.
        to:
        threshold: Artefact and page: smallest score of a predicted box, or probability of a predicted label.
        confidence: Artefact and C: the probability at which early exit stops; auto is the smallest one that keeps the
            accuracy of all time steps on the validation part.
        max_drop: --confidence auto: percentage points of accuracy that early exit may lose.  [default: 0.5]
        form: ONNX: all time steps of a static image, or one step with its state.  [default: unrolled]
        batch: ONNX: images per call of the unrolled form; a step takes any number.  [default: 1]
        weights: ONNX: type of low-bit weights; int4 requires opset 21.  [default: int8]
        extension: NIR: the entire network, with metadata where NIR has no node; only hdlif reads the metadata.
        for_norse: NIR: write R = 1 with larger weights, and sums, because norse ignores R and has no mean.
        arithmetic: C: float32, or 16-bit integers with formats chosen on --data.  [default: float]
        data: C and --confidence auto: the data for a model file; a run's own data by default.
        data_root: C and --confidence auto: folder of data sets that are not part of a package.
        rom: C: maximum size of tables (the network's constants), such as 65536 or 64K.
        ram: C: maximum size of state, workspace and training memory, such as 16384 or 16K.
        firmware: C: also write a program for boards into the folder of --out.
        learn: C: train the network on the device; the levels are as in `hdlif adapt`, in fixed point only classifier.
        momentum: C: momentum of --learn, from 0 to below 1; needs one float per trained parameter.  [default: 0.0]
        check: Run the export before writing it, and compare its outputs with the reference. Model files and pages run
            in the runtime, C is built for this machine and for emulators, ONNX runs in the installed engines, and NIR
            is read back.
    Raises:
        ArgumentError: an option belongs to another target.
        InputError: the target is unknown or rejects the network, or --confidence auto has no validation part.
        HdlifError: a confidence is given, but the network is not a classifier; or a threshold, but it predicts neither
            boxes nor several labels.
        MachineError: a check found different outputs; nothing is written.
    """
    from hdlif.graph.artefact import load
    from hdlif.recipe.runs.files import existing, names_artefact

    given = {
        key: value
        for key, value in locals().items()
        if key in sum(_TARGETS.values(), ()) and (value or type(value) in (int, float))
    }
    for name in given:
        if name not in _TARGETS[to]:
            flag = "--set" if name == "overrides" else f"--{name.replace('_', '-')}"
            owners = " and ".join(f"--to {other}" for other, names in _TARGETS.items() if name in names)
            raise ArgumentError(f"{flag} applies only to {owners}; remove it")
    if max_drop is not None and (confidence != "auto" or not 0 <= max_drop <= 100):
        raise ArgumentError(f"--max-drop {max_drop:g}: expected 0 to 100 percentage points, with --confidence auto")
    if to == "artefact" and confidence != "auto" and (data is not None or data_root is not None or overrides):
        raise ArgumentError("--data, --data-root and --set apply only to --confidence auto and --to c; remove them")
    path, is_path = Path(out), isinstance(network, (str, PathLike))
    source = type(network).__name__
    if isinstance(network, (str, PathLike)):
        source = fspath(network_file(network, WEIGHTS))
    of_artefact = is_path and names_artefact(Path(source))
    recipe = None
    if of_artefact:
        # Load the model file without importing PyTorch.
        graph = load(existing(Path(source)))
    elif is_path:
        from hdlif.recipe.runs.checkpoints import load_trained

        trained = load_trained(Path(source))
        graph, recipe = trained.graph(), trained.recipe
    else:
        from hdlif.cli.networks import graph_of

        graph = graph_of(network, input, labels, time_steps)

    @cache
    def sets() -> "DataSets":
        from hdlif.recipe.runs.recipe_data import data_keys
        from hdlif.recipe.runs.tested_data import sets_for

        root, named = None if data_root is None else Path(data_root), None if data is None else fspath(data)
        return sets_for(recipe or graph, named, root, Path(source), keys=data_keys(overrides))

    if threshold is not None:
        if graph.task.kind not in ("detect", "multilabel"):
            raise HdlifError(
                f"--threshold applies only to boxes and to several labels, but the task is {graph.task.kind}; remove it"
            )
        graph = replace(graph, task=replace(graph.task, threshold=threshold))
    early = None
    if confidence is not None:
        graph, early = _with_confidence(graph, source, confidence, MAX_DROP if max_drop is None else max_drop, sets)
    if to == "c":
        return replace(_export_c(graph, source, path, check, of_artefact, sets, given, say), early=early)
    from hdlif.cli import export_formats

    options = {key: value for key, value in given.items() if key not in _TARGETS["artefact"]}
    write: Callable[..., Exported] = getattr(export_formats, f"export_{to}")
    return replace(write(graph, path, check=check, **options), early=early)


def _with_confidence(
    graph: "Graph", source: str, confidence: float | Literal["auto"], max_drop: float, sets: Callable[[], "DataSets"]
) -> "tuple[Graph, EarlyExit | None]":
    """Add a confidence for early exit to the graph. If it was chosen on data, also return the effect of early exit."""
    from hdlif.runtime.early import check_confidence

    if confidence != "auto":
        return replace(graph, confidence=check_confidence(confidence, graph.task)), None
    check_confidence(1, graph.task)
    # This module imports PyTorch.
    from hdlif.report.evaluation import choose_on_validation

    early = choose_on_validation(graph, sets(), source, max_drop=max_drop)
    return replace(graph, confidence=early.confidence), early


def _export_c(
    graph: "Graph",
    source: str,
    out: Path,
    check: bool,
    of_artefact: bool,
    sets: Callable[[], "DataSets"],
    given: dict[str, Any],
    say: Callable[[str], None],
) -> "ExportedC":
    from hdlif.cli.export_c import export_c

    arithmetic, firmware = given.get("arithmetic", "float"), "firmware" in given
    named = "data" in given or "overrides" in given
    if arithmetic == "float" and not firmware and named and given.get("confidence") != "auto":
        raise InputError(
            f"{source}: data are used only by --arithmetic fixed, --firmware and --confidence auto; add one of them, "
            "or remove the data"
        )
    if "momentum" in given and "learn" not in given:
        raise ArgumentError("--momentum applies only to --learn; remove it")
    if "learn" in given and arithmetic == "fixed":
        from hdlif.deploy.c.integer_learning import check_level

        check_level(given["learn"], given.get("momentum", 0.0))
    return export_c(
        graph,
        source,
        out,
        arithmetic=arithmetic,
        sets=sets if arithmetic == "fixed" or (firmware and (named or not of_artefact)) else None,
        rom=given.get("rom"),
        ram=given.get("ram"),
        firmware=firmware,
        check=check,
        learn=given.get("learn"),
        momentum=given.get("momentum", 0.0),
        say=say,
    )


COMMAND = subcommand(
    export_file,
    (
        "hdlif export runs/digits_hdlif_w1p5_s4 --out digits.hdlif.safetensors --confidence auto",
        "one file for `hdlif run`, with early exit",
    ),
    ("hdlif export digits.hdlif.safetensors --to c --out digits.c --rom 64K --ram 32K", "C99 for a microcontroller"),
    (
        "hdlif export runs/digits_hdlif_w1p5_s4 --to onnx --out digits.onnx",
        "for ONNX Runtime and others; needs hdlif[export]",
    ),
    ("hdlif export digits.hdlif.safetensors --to page --out digits.html", "a page to draw on, or to drop images on"),
    name="export",
    text=lambda result: str(result.text()),
)


def _returning_path(function: Callable[P, "Exported | ExportedC"]) -> Callable[P, Path]:
    @wraps(function)
    def export(*args: P.args, **given: P.kwargs) -> Path:
        return function(*args, **given).path

    export.__name__ = export.__qualname__ = "export"
    return export


export = called_from_python(_returning_path(export_file))
