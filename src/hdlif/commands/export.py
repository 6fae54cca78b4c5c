"""`hdlif export`: a trained network as one file that runs without PyTorch, as an ONNX model, or as C99 source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdlif import builders
from hdlif.artefact import Graph, load, save
from hdlif.c_code import Checked, Source, check_here, translate
from hdlif.deploy import onnx
from hdlif.deploy.lower import lower
from hdlif.errors import InputError, did_you_mean
from hdlif.runs.checkpoints import load_trained
from hdlif.runs.files import existing, names_artefact, write_text, writing
from hdlif.whole_files import whole_file

FORMS: Mapping[str, Callable[[Graph, int], Any]] = {
    "unrolled": lambda graph, batch: onnx.unrolled(graph, batch=batch),
    "step": lambda graph, batch: onnx.streamed(graph),
}
"""ONNX models of a graph, by name."""


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        to: "artefact" or "onnx".
        nodes: of its graph.
    """

    to: str
    path: Path
    bytes: int
    nodes: int

    def as_dict(self) -> dict[str, Any]:
        """What `hdlif export --json` prints: the path under the name of what it is."""
        return {self.to: str(self.path), "bytes": self.bytes, "nodes": self.nodes}


def export(checkpoint: Path, *, out: Path) -> Exported:
    """Write the artefact of a checkpoint or run folder.

    Raises:
        InputError: the file's name is that of an ONNX model.
    """
    if out.suffix.lower() == ".onnx":
        raise InputError(f'{out}: ends in ".onnx", and an artefact would be written; give --to onnx, or another name')
    graph = trained_graph(checkpoint)
    with writing(out):
        save(graph, out)
    return Exported("artefact", out, out.stat().st_size, len(graph.nodes))


def export_onnx(source: Path, *, out: Path, form: str = "unrolled", batch: int = 1) -> Exported:
    """Write the ONNX model of a checkpoint, run folder or artefact.

    Args:
        form: one of `FORMS`: all time steps of a static image, or one step with its state.
        batch: images that the unrolled form takes at once; a step takes any number.
    Raises:
        InputError: another form, or one that shows a single image to a network of events.
        MissingExtraError: the package onnx is not installed.
    """
    if form not in FORMS:
        raise InputError(f'form = "{form}" is unknown; {did_you_mean(form, FORMS)}')
    graph = load(existing(source)) if names_artefact(source) else trained_graph(source)
    if form == "unrolled" and graph.input.kind != "image":
        raise InputError(f"{source}: its input changes at each step, and unrolled it would not; give the form step")
    model = FORMS[form](graph, batch)
    write_model(model, out)
    return Exported("onnx", out, out.stat().st_size, len(model.graph.node))


@dataclass(frozen=True)
class ExportedC:
    """A C file and its header that were written.

    Attributes:
        checked: what a build on this machine gave, where one was asked for.
    """

    path: Path
    source: Source
    checked: Checked | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `hdlif export --to c --json` prints."""
        source = self.source
        found: dict[str, Any] = {
            "c": str(self.path),
            "header": str(self.path.with_suffix(".h")),
            "data_bytes": source.data_bytes,
            "state_bytes": source.state_bytes,
            "work_bytes": source.work_bytes,
            "additions": source.additions,
        }
        return found if self.checked is None else {**found, "checked": self.checked.as_dict()}


def export_c(
    source: Path, *, out: Path, rom: int | None = None, ram: int | None = None, check: bool = False
) -> ExportedC:
    """Write a checkpoint, run folder or artefact as NAME.c and NAME.h, where `out` is NAME.c.

    Args:
        rom, ram: bytes of a device; of ROM the constants are counted, of RAM state and work space.
        check: build it with this machine's compiler, and compare its outputs with the reference, bit for bit.
    Raises:
        InputError: `out` is no name of a C file, the device is too small, or no compiler is installed.
        MachineError: the compiler refuses the source, or it gives other outputs; nothing is written.
    """
    if out.suffix != ".c":
        raise InputError(f"{out}: C source is written; give a name that ends in .c, such as network.c")
    graph = load(existing(source)) if names_artefact(source) else trained_graph(source)
    found = translate(graph, out.stem)
    for kind, needed, there in (("ROM", found.data_bytes, rom), ("RAM", found.ram_bytes, ram)):
        if there is not None and needed > there:
            what = "constants" if kind == "ROM" else "state and work space"
            raise InputError(
                f"{source}: {what} take {needed:,} bytes of {kind}, and the device has {there:,}; "
                "train a smaller network, or choose another device"
            )
    checked = check_here(graph, found) if check else None
    with writing(out):
        for path, text in ((out.with_suffix(".h"), found.header), (out, found.code)):
            write_text(path, text)
    return ExportedC(out, found, checked)


def source_text(written: ExportedC) -> str:
    """What `hdlif export --to c` prints."""
    source, checked = written.source, written.checked
    lines = [
        f"{written.path} and {written.path.with_suffix('.h').name}",
        f"constants: {source.data_bytes:,} bytes of ROM, beside the code",
        f"state: {source.state_bytes:,} bytes of RAM; work space: {source.work_bytes:,}, beside the stack",
        f"a step: at most {source.additions:,} additions of a weight times an input",
    ]
    if checked is not None:
        lines.append(
            f"checked: {checked.outputs} outputs have the reference's bits; code of {checked.code_bytes:,} bytes by "
            f"{checked.compiler}"
        )
    return "\n".join(lines)


def write_model(model: Any, out: Path) -> None:
    """Write an ONNX model, whole or not at all."""
    with writing(out), whole_file(out) as temporary:
        temporary.write_bytes(model.SerializeToString())


def trained_graph(checkpoint: Path) -> Graph:
    """The graph of a checkpoint or run folder."""
    trained = load_trained(checkpoint)
    return lower(
        trained.network,
        input=builders.input_record(trained.recipe),
        labels=builders.data_kind(trained.recipe).labels,
        time_steps=trained.recipe.time_steps,
        task=builders.build_task(trained.recipe).record,
    )
