"""Implement `hdlif import`, which imports a network from another library's NIR file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from hdlif.cli.options import FILE, argument, option, subcommand

if TYPE_CHECKING:
    from hdlif.deploy.interop import nir_import

RECIPE, WEIGHTS = "recipe.yaml", "weights.safetensors"


@dataclass(frozen=True)
class ImportedFolder:
    """The written files.

    Attributes:
        artefact: the model file, to run.
        recipe: the recipe to train the network further. None for files of `hdlif export --to nir --extension`, which
            contain no training, and for networks that exceed the length of a recipe.
        nodes: the number of nodes in the graph.
    """

    artefact: Path
    recipe: Path | None
    nodes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif import --json`."""
        recipe = None if self.recipe is None else str(self.recipe)
        return {"artefact": str(self.artefact), "recipe": recipe, "nodes": self.nodes}

    def __str__(self) -> str:
        lines = [f"{self.artefact}: {self.nodes} nodes; run it: hdlif run {self.artefact} INPUT..."]
        if self.recipe is not None:
            lines.append(f"{self.recipe}: train it on: hdlif train {self.recipe} --data NAME|PATH")
        return "\n".join(lines)


def import_nir(
    source: Annotated[Path, argument(metavar="FILE.nir", type=FILE)],
    *,
    out: Path,
    dt: Annotated[float | None, option(type=click.FloatRange(0, min_open=True))] = None,
    time_steps: int | None = None,
    kind: Literal["image", "events", "series", "table"] | None = None,
    fires_at_threshold: bool = False,
) -> ImportedFolder:
    """Convert another library's network in FILE.nir to a model file and a recipe.

    `hdlif import` reads files written by snnTorch, SpikingJelly, norse and `hdlif export --to nir`
    (docs/how_to/nir.md).

    \f

    Args:
        out: The new folder to write.
        dt: Seconds per time step; norse uses 0.001.  [default: the file's, or 0.0001]
        time_steps: Steps per sequence.  [default: the file's, or 4]
        kind: Kind of input.  [default: the file's; or by the shape, events of 2 channels, series of a vector]
        fires_at_threshold: Neurons also fire at v = v_threshold, as in SpikingJelly; in NIR they do not.
    Raises:
        InputError: the file is not a NIR file, or `out` exists and is not an empty folder.
        ConversionError: a node has no counterpart, or nodes do not fit together.
        OutputError: the folder cannot be written; `hdlif` removes it.
    """
    import safetensors.torch

    from hdlif.deploy.interop import nir_import
    from hdlif.graph.artefact import dumps, loads
    from hdlif.inputs.plain_yaml import MOST_BYTES
    from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, check_new_folder, existing, whole_folder

    out, source = Path(out), Path(source)
    check_new_folder(out)
    files: dict[str, bytes] = {}
    name = f"{source.stem}{ARTEFACT_SUFFIX}"
    if (content := nir_import.read_artefact(existing(source))) is not None:
        graph = loads(content, str(source))
    else:
        found = nir_import.read(source, dt=dt, time_steps=time_steps, kind=kind, fires_at_threshold=fires_at_threshold)
        graph = found.graph()
        content = dumps(graph)
        recipe = _recipe(found, source, out).encode()
        if len(recipe) <= MOST_BYTES:
            files[WEIGHTS] = safetensors.torch.save(found.network.network.state_dict())
            files[RECIPE] = recipe
    files[name] = content
    with whole_folder(out) as temporary:
        for file, written in files.items():
            (temporary / file).write_bytes(written)
    return ImportedFolder(out / name, out / RECIPE if RECIPE in files else None, len(graph.nodes))


def _recipe(found: "nir_import.Imported", source: Path, out: Path) -> str:
    import yaml

    from hdlif.inputs.plain_yaml import Dumper

    values = {
        "base": "digits_hdlif",
        "time_steps": found.time_steps,
        "data": {"kind": "folder", "path": "pictures", "batch_size": 64},
        "model": {"kind": "imported", "structure": found.structure_text(), "pretrained": str(out / WEIGHTS)},
        "rule": {"kind": "stbp"},
        "training": {"learning_rate": 0.01},
    }
    head = (
        f"# hdlif train {out / RECIPE} --data NAME|PATH\n# The network of {source.name}, with its weights; its input "
        f"is {list(found.input.shape)} at each of {found.time_steps} steps.\n"
    )
    return head + yaml.dump(values, Dumper=Dumper, sort_keys=False, width=10**9)


COMMAND = subcommand(
    import_nir,
    ("hdlif import digits.nir --out imported", "a model file and a recipe, in imported/"),
    ("hdlif import theirs.nir --out theirs --dt 0.001 --time-steps 8", "if the file contains no time step"),
    name="import",
)
