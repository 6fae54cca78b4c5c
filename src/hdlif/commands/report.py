"""`hdlif report`: the page of one run, or of several side by side."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hdlif.commands.files import write_text
from hdlif.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from hdlif.report.runs import Run


def report(runs: Sequence[Path], *, out: Path | None = None) -> dict[str, str]:
    """Write one self-contained HTML page from the numbers in run folders.

    Args:
        runs: output folders of `hdlif train` or `hdlif demo`.
        out: the page to write; by default `report.html` in the run's folder, or in the current one for several.
    Returns:
        {"report": path of the page}.
    Raises:
        InputError: no run was given, or one is missing or damaged.
        TrainingError: the page cannot be written.
        MissingExtraError: the packages of `hdlif[train]` are not installed.
    """
    if not runs:
        raise InputError("no run was given; name at least one OUT folder of `hdlif train` or `hdlif demo`")
    try:
        from hdlif.report.page import render
        from hdlif.report.runs import merge, read_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'hdlif[train]'") from error

    read = [read_run(folder) for folder in runs]
    run = merge(read)
    path = out or (runs[0] if len(runs) == 1 else Path()) / "report.html"
    page = render(
        run.networks,
        run.histories,
        run.artefact,
        title=f"{len(run.networks)} networks on {run.data}" if run.data else None,
        recipes=run.recipes,
        coherence=run.coherence,
        commands=[
            *(_remake(folder, one) for folder, one in zip(runs, read, strict=True)),
            shlex.join(["hdlif", "report", *(folder.as_posix() for folder in runs)]),
        ],
    )
    # JSON can carry half a surrogate pair, which UTF-8 has not.
    write_text(path, page.encode("utf-8", errors="replace").decode("utf-8"))
    return {"report": str(path)}


def _remake(folder: Path, run: "Run") -> str:
    """The command that makes a run again: a training from its resolved recipe, a demo from its data."""
    if folder in run.folders.values():
        return shlex.join(["hdlif", "train", (folder / "recipe.yaml").as_posix()])
    data = ["--data", run.data] if run.data else []
    return shlex.join(["hdlif", "demo", *data, "--out", folder.as_posix()])
