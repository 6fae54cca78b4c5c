"""Export a graph as a model file, an ONNX model, a NIR graph or an HTML page."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif.deploy import nir_export, onnx
from hdlif.errors import InputError, MachineError
from hdlif.graph.artefact import Graph, dumps, loads, save
from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, write_text, writing
from hdlif.report.export_check import Compared, check_artefact, check_onnx, check_read_back
from hdlif.whole_files import whole_file

if TYPE_CHECKING:
    from hdlif.report.evaluation import EarlyExit


@dataclass(frozen=True)
class Exported:
    """A written file.

    Attributes:
        to: "artefact", "onnx", "nir" or "page".
        nodes: the number of nodes in the graph.
        checked: the comparison of each engine, if requested.
        early: the effect of the file's confidence, if chosen on data.
    """

    to: str
    path: Path
    bytes: int
    nodes: int
    checked: tuple[Compared, ...] = ()
    early: "EarlyExit | None" = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif export --json`."""
        found: dict[str, Any] = {self.to: str(self.path), "bytes": self.bytes, "nodes": self.nodes}
        if self.early is not None:
            found["early"] = self.early.as_dict()
        return found | ({"checked": [one.as_dict() for one in self.checked]} if self.checked else {})

    def text(self) -> str:
        """Format the result of an export as text."""
        lines = [f"{self.path}: {self.bytes:,} bytes, {self.nodes} nodes"]
        if self.early is not None:
            lines.append(str(self.early))
        return "\n".join((*lines, *map(str, self.checked)))


def export_artefact(graph: Graph, out: Path, *, check: bool = False) -> Exported:
    """Write a model file, with options as in `hdlif.cli.export.export_file`.

    Raises:
        InputError: the file name has the suffix of an ONNX model or a NIR graph.
        MachineError: the outputs differ; nothing is written.
    """
    if (suffix := out.suffix.lower()) in (".onnx", ".nir"):
        raise InputError(
            f'{out}: ends in "{suffix}", but a model file would be written; add --to {suffix[1:]}, or choose another '
            "name"
        )
    checked = check_artefact(graph) if check else ()
    with writing(out):
        save(graph, out)
    return Exported("artefact", out, out.stat().st_size, len(graph.nodes), checked)


def export_onnx(
    graph: Graph,
    out: Path,
    *,
    form: str = "unrolled",
    batch: int | None = None,
    weights: str = "int8",
    check: bool = False,
) -> Exported:
    """Write an ONNX model, with options as in `hdlif.cli.export.export_file`.

    Raises:
        InputError: a batch is given for a step, or the input of an unrolled network changes over time.
        MissingExtraError: the package onnx is not installed, or `check` finds neither engine.
        MachineError: an engine predicts differently; nothing is written.
    """
    unrolled = form == "unrolled"
    if not unrolled and batch is not None:
        raise InputError(f"--batch {batch}: a step takes any number of images; remove --batch, or use --form unrolled")
    if unrolled and graph.input.kind != "image":
        raise InputError(f"{out}: the network's input changes at each step; use --form step")
    batch = batch or 1
    model = onnx.unrolled(graph, batch=batch, weights=weights) if unrolled else onnx.streamed(graph, weights=weights)
    checked = check_onnx(graph, model, unrolled=unrolled, batch=batch) if check else ()
    with writing(out), whole_file(out) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return Exported("onnx", out, out.stat().st_size, len(model.graph.node), checked)


def export_nir(
    graph: Graph, out: Path, *, extension: bool = False, for_norse: bool = False, check: bool = False
) -> Exported:
    """Write a NIR graph, with options as in `hdlif.cli.export.export_file`.

    Raises:
        InputError: both `extension` and `for_norse` are given.
        LoweringError: parts of the network have no node in NIR.
        MachineError: the network differs after reading it back; nothing is written.
        MissingExtraError: the package nir is not installed.
    """
    if extension and for_norse:
        raise InputError("norse cannot read the extension; use --extension or --for-norse, not both")
    nir_export.nir_package()
    made = nir_export.extended(graph) if extension else nir_export.to_nir(graph, for_norse=for_norse)
    checked = _check_nir(graph, made, extension=extension) if check else ()
    with writing(out):
        nir_export.write(made, out)
    return Exported("nir", out, out.stat().st_size, len(made.nodes), checked)


def export_page(graph: Graph, out: Path, *, check: bool = False) -> Exported:
    """Write an HTML page that runs the network on drawings and on images dropped onto the page.

    Raises:
        InputError: `out` does not end in .html.
        ArtefactError: the network's input is not images, or its task has no page.
        MachineError: the outputs differ; nothing is written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out}: the name of the page must end in .html, such as network.html")
    # Imported here because it needs Jinja2.
    from hdlif.report.live import live_page

    content = live_page(dumps(graph), f"{out.stem}{ARTEFACT_SUFFIX}")
    checked = check_artefact(graph) if check else ()
    write_text(out, content)
    return Exported("page", out, out.stat().st_size, len(graph.nodes), checked)


def _check_nir(graph: Graph, made: Any, *, extension: bool) -> tuple[Compared, ...]:
    from hdlif.deploy.interop import nir_import

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        nir_export.write(made, path)
        if not extension:
            return check_read_back(graph, nir_import.read(path).graph(), "read back")
        content = nir_import.read_artefact(path)
    if content != dumps(graph):
        raise MachineError("the network read back differs from the original; nothing was written; report it")
    return check_read_back(graph, loads(content, str(path)), "read back")
