"""`hdlif export`: a trained network as one file that runs without PyTorch, as an ONNX model, in NIR, or in C."""

from collections.abc import Callable
from functools import wraps
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hdlif.cli.options import FILE, Bytes, DataKeys, DataSet, P, Place, argument, called_from_python, subcommand
from hdlif.errors import ArgumentError, InputError

if TYPE_CHECKING:
    from torch import nn

    from hdlif.cli.export_c import ExportedC
    from hdlif.cli.export_formats import Exported
    from hdlif.data import ImageSets
    from hdlif.graph.artefact import Graph, InputRecord
    from hdlif.training import Trainer

_TARGETS = {
    "artefact": (),
    "onnx": ("form", "batch", "weights"),
    "nir": ("extension", "for_norse"),
    "c": ("arithmetic", "data", "data_root", "overrides", "rom", "ram", "firmware"),
}
"""The options of each target, next to --check."""


def export_file(
    network: Annotated["Place | nn.Module | Trainer", argument(metavar="CHECKPOINT", type=FILE)],
    out: Place,
    *,
    to: Literal["artefact", "onnx", "nir", "c"] = "artefact",
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
    check: bool = False,
    input: "InputRecord | None" = None,
    labels: tuple[str, ...] | None = None,
    time_steps: int | None = None,
) -> "Exported | ExportedC":
    """Deploy CHECKPOINT (or a run folder): norms folded, low-bit weights packed, one file that needs no PyTorch.

    ONNX, NIR (for other libraries of spiking networks) and C (one C99 file, --out NAME.c, and its header, for
    processors without an operating system) are written from an artefact too. The first two compute in float32.

    \f
    From Python, `network` may also be a network that `hdlif.load` has returned, or a `Trainer` that has trained: both
    know their task, input, labels and time steps. For any other module give `input`, and `labels` and `time_steps`.
    `overrides` are "data.KEY=VALUE" each, for C.

    Args:
        out: The file to write, usually NAME.hdlif.safetensors.
        to:
        form: Of ONNX: all time steps of a static image, or one step with its state.  [default: unrolled]
        batch: Of ONNX: images that the unrolled form takes at once; a step takes any number.  [default: 1]
        weights: Of ONNX: how weights of few bits are held; int4 takes opset 21.  [default: int8]
        extension: Of NIR: all of the network, what NIR cannot say as metadata, which hdlif alone reads back.
        for_norse: Of NIR: as norse reads it, which ignores R and knows no mean: R = 1 with larger weights, and
            sums.
        arithmetic: Of C: float32, or integers of 16 bits, whose formats are chosen on --data.  [default: float]
        data: Of C: the data of an artefact; a run's own by default.
        data_root: Of C: folder of data sets that are no part of a package.
        rom: Of C: refuse larger tables, the network's constants; 65536 or 64K.
        ram: Of C: refuse more state and work space; 16384 or 16K.
        firmware: Of C: write a program for boards around it, into the folder of --out.
        check: Run it before it is written, and compare its outputs with the reference's: an artefact in the
            runtime, C built here and for emulators, ONNX in the engines that are installed, NIR read back.
    Raises:
        ArgumentError: an option is of another target.
        InputError: another target, or what the target refuses.
        MachineError: a check found other outputs; nothing is written.
    """
    given = {key: value for key, value in locals().items() if key in sum(_TARGETS.values(), ()) and value}
    for name in given:
        if name not in _TARGETS[to]:
            flag = "--set" if name == "overrides" else f"--{name.replace('_', '-')}"
            owners = " and ".join(f"--to {other}" for other, names in _TARGETS.items() if name in names)
            raise ArgumentError(f"{flag} is for {owners}; leave it out")
    path = Path(out)
    if to == "c":
        return _export_c(network, path, check, (input, labels, time_steps), given)
    from hdlif.cli import export_formats
    from hdlif.cli.networks import graph_of

    graph = graph_of(network, input, labels, time_steps, trained=to == "artefact")
    write: Callable[..., Exported] = getattr(export_formats, f"export_{to}")
    return write(graph, path, check=check, **given)


def _export_c(network: Any, out: Path, check: bool, known: tuple[Any, ...], given: dict[str, Any]) -> "ExportedC":
    from hdlif.cli.export_c import export_c
    from hdlif.graph.artefact import load
    from hdlif.recipe.runs.files import existing, names_artefact

    source = fspath(network) if isinstance(network, (str, PathLike)) else type(network).__name__
    data, root = (given.pop(key, None) for key in ("data", "data_root"))
    overrides, arithmetic, firmware = given.pop("overrides", ()), given.pop("arithmetic", "float"), "firmware" in given
    given.pop("firmware", None)
    of_artefact = isinstance(network, (str, PathLike)) and names_artefact(Path(network))
    named = data is not None or bool(overrides)
    if arithmetic == "float" and not firmware and named:
        raise InputError(f"{source}: data are for --arithmetic fixed and for --firmware; give one of them, or no data")
    graph: Graph
    if of_artefact:
        # without PyTorch
        graph = load(existing(Path(network)))
    else:
        from hdlif.cli.networks import graph_of

        graph = graph_of(network, *known)

    def sets() -> "ImageSets":
        from hdlif.report.fixed_point import sets_of

        return sets_of(
            graph, Path(source), None if data is None else fspath(data), None if root is None else Path(root), overrides
        )

    needed = arithmetic == "fixed" or named or (firmware and not of_artefact)
    return export_c(
        graph,
        source,
        out,
        arithmetic=arithmetic,
        sets=sets if needed else None,
        rom=given.get("rom"),
        ram=given.get("ram"),
        firmware=firmware,
        check=check,
    )


COMMAND = subcommand(
    export_file,
    ("hdlif export runs/digits_hdlif_w1p5_s4 --out digits.hdlif.safetensors", "one file that `hdlif run` takes"),
    ("hdlif export digits.hdlif.safetensors --to c --out digits.c --rom 64K --ram 32K", "C99 for a microcontroller"),
    (
        "hdlif export runs/digits_hdlif_w1p5_s4 --to onnx --out digits.onnx",
        "for ONNX Runtime and others; needs hdlif[export]",
    ),
    (
        "hdlif export digits.hdlif.safetensors --to nir --extension --out digits.nir",
        "NIR, and metadata for the rest of the network; needs hdlif[nir]",
    ),
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
