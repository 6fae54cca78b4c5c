"""`hdlif import`: a network of another library, by NIR, as a folder to run and to train on."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml

from hdlif.deploy.interop import nir
from hdlif.errors import InputError, OutputError, reason
from hdlif.graph.artefact import dumps, loads
from hdlif.inputs.plain_yaml import MOST_BYTES, Dumper
from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, existing

RECIPE, WEIGHTS = "recipe.yaml", "weights.safetensors"


@dataclass(frozen=True)
class ImportedFolder:
    """What was written.

    Attributes:
        artefact: the network, to be run.
        recipe: to train it on; None of a file of `hdlif export --to nir --extension`, whose training is elsewhere, and
            of a network that is longer than a recipe may be.
        nodes: of its graph.
    """

    artefact: Path
    recipe: Path | None
    nodes: int

    def as_dict(self) -> dict[str, Any]:
        """What `hdlif import --json` prints."""
        recipe = None if self.recipe is None else str(self.recipe)
        return {"artefact": str(self.artefact), "recipe": recipe, "nodes": self.nodes}

    def __str__(self) -> str:
        lines = [f"{self.artefact}: {self.nodes} nodes; run it: hdlif run {self.artefact} INPUT..."]
        if self.recipe is not None:
            lines.append(f"{self.recipe}: train it on: hdlif train {self.recipe} --data NAME|PATH")
        return "\n".join(lines)


def import_nir(
    source: Path,
    *,
    out: Path,
    dt: float | None = None,
    time_steps: int | None = None,
    kind: str | None = None,
    fires_at_threshold: bool = False,
) -> ImportedFolder:
    """Write a folder with the artefact of a NIR file, and a recipe and weights to train on from; whole or not at all.

    Args:
        dt, time_steps, kind, fires_at_threshold: as of `hdlif.deploy.interop.nir.read`.
    Raises:
        InputError: no NIR file, or something is at `out` that is not an empty folder.
        ConversionError: nodes that have no counterpart, or that do not fit together.
        OutputError: the folder cannot be written.
    """
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: already exists; give the name of a new folder")
    files: dict[str, bytes] = {}
    name = f"{source.stem}{ARTEFACT_SUFFIX}"
    if (content := nir.read_artefact(existing(source))) is not None:
        graph = loads(content, str(source))
    else:
        found = nir.read(source, dt=dt, time_steps=time_steps, kind=kind, fires_at_threshold=fires_at_threshold)
        graph = found.graph()
        content = dumps(graph)
        recipe = _recipe(found, source, out).encode()
        if len(recipe) <= MOST_BYTES:
            files[WEIGHTS] = safetensors.torch.save(found.network.network.state_dict())
            files[RECIPE] = recipe
    files[name] = content
    _write(out, files)
    return ImportedFolder(out / name, out / RECIPE if RECIPE in files else None, len(graph.nodes))


def _recipe(found: nir.Imported, source: Path, out: Path) -> str:
    values = {
        "base": "digits_hdlif",
        "time_steps": found.time_steps,
        "data": {"kind": "folder", "path": "pictures", "batch_size": 64},
        "model": {"kind": "imported", "structure": found.structure_text(), "pretrained": str(out / WEIGHTS)},
        "rule": {"kind": "stbp"},
        "training": {"learning_rate": 0.01},
    }
    head = (
        f"# hdlif train {out / RECIPE} --data NAME|PATH\n"
        f"# The network of {source.name}, with its weights; it takes {list(found.input.shape)} at each of "
        f"{found.time_steps} steps.\n"
    )
    return head + yaml.dump(values, Dumper=Dumper, sort_keys=False, width=10**9)


def _write(out: Path, files: dict[str, bytes]) -> None:
    beside = None
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        for name, content in files.items():
            (beside / name).write_bytes(content)
        beside.chmod(0o755)
        beside.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({reason(error)}); choose another place") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
