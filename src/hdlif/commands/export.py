"""`hdlif export`: a trained network as one file that runs without PyTorch."""

from pathlib import Path
from typing import Any

from hdlif import builders
from hdlif.commands.checkpoints import load_trained
from hdlif.commands.files import writing
from hdlif.deploy import export as write_artefact


def export(checkpoint: Path, *, out: Path) -> dict[str, Any]:
    """Write the artefact of a checkpoint or run folder: {"artefact", "bytes", "nodes"}."""
    trained = load_trained(checkpoint)
    kind = builders.DATA[trained.recipe.data.kind]
    with writing(out):
        graph = write_artefact(
            trained.network,
            out,
            input=builders.input_record(trained.recipe),
            labels=kind.labels,
            time_steps=trained.recipe.time_steps,
        )
    return {"artefact": str(out), "bytes": out.stat().st_size, "nodes": len(graph.nodes)}
