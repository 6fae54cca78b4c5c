"""Implement `hdlif report`, which writes an HTML page about one or more runs."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from hdlif import run_folder
from hdlif.cli.options import FILE, DataRoot, argument, option, subcommand
from hdlif.cli.output import say, show
from hdlif.errors import HdlifError, InputError, MissingExtraError
from hdlif.recipe.runs.files import write_text

if TYPE_CHECKING:
    from hdlif.report.runs import Run
    from hdlif.report.traces import Traces


def report(
    runs: Annotated[Sequence[Path], argument(type=FILE, nargs=-1, required=True)],
    *,
    out: Path | None = None,
    neurons: Annotated[str | None, option(metavar="LAYER:INDEX,…")] = None,
    image: Annotated[int | None, option(type=click.IntRange(0))] = None,
    data_root: DataRoot = None,
) -> dict[str, str]:
    """Write a self-contained HTML page about one or more run folders, or about a demo's folder.

    The page shows tables, curves, differences between the recipes, confusion matrices, per-layer figures, and the
    activity of single neurons.

    \f

    Args:
        out: The page to write.  [default: report.html, in the run folder of one run]
        neurons: Neurons to draw.  [default: the most active of three layers]
        image: Number of the test sample for the neurons.  [default: 0]
    Returns:
        {"report": path of the page}. If the data set or network cannot be read, "left_out" is the reason why no neurons
        are drawn; if you requested neurons, this raises an error.
    Raises:
        InputError: no run is given, a run is missing or damaged, or the neuron or image does not exist.
        TrainingError: the page cannot be written.
        MissingExtraError: the packages of `hdlif[train]` are not installed.
    """
    if not runs:
        raise InputError("no run was given; name at least one OUT folder of `hdlif train` or `hdlif demo`")
    try:
        from hdlif.recipe import builders
        from hdlif.report.page import render
        from hdlif.report.runs import merge, read_run
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name, "train") from error

    read = [read_run(folder) for folder in runs]
    run = merge(read)
    traces, left_out = _traces(
        run, neurons=neurons, image=image, data_root=None if data_root is None else Path(data_root)
    )
    options = ["--neurons", neurons] if neurons is not None else []
    options += ["--image", str(image)] if image is not None else []
    path = out or (runs[0] if len(runs) == 1 else Path()) / run_folder.REPORT
    page = render(
        run,
        traces=traces,
        samples=builders.sample_name_of(one.recipe for one in run.networks),
        commands=[
            *(_remake(folder, one) for folder, one in zip(runs, read, strict=True)),
            shlex.join(["hdlif", "report", *(folder.as_posix() for folder in runs), *options]),
        ],
    )
    # JSON can contain half a surrogate pair, which UTF-8 cannot encode.
    write_text(path, page.encode("utf-8", errors="replace").decode("utf-8"))
    return {"report": str(path)} | ({"left_out": left_out} if left_out else {})


def _traces(
    run: "Run", *, neurons: str | None, image: int | None, data_root: Path | None
) -> tuple["Traces | None", str | None]:
    """Return neuron traces for the runs that still have a network, or the reason why traces cannot be computed."""
    trained = {name: folder for name, folder in run.folders.items() if (folder / run_folder.MODEL).exists()}
    asked = neurons is not None or image is not None
    if not trained:
        if asked:
            raise InputError("no run has a model.safetensors, which is needed to draw neurons; train again")
        return None, None
    from hdlif.report.single_neurons import parsed, traces_of

    chosen = None if neurons is None else parsed(neurons)
    try:
        return traces_of(trained, neurons=chosen, image=image or 0, data_root=data_root), None
    except HdlifError as error:
        if asked:
            raise
        return None, str(error)


def _remake(folder: Path, run: "Run") -> str:
    """Return the command that reproduces a training run or a demo."""
    if folder in run.folders.values():
        return shlex.join(["hdlif", "train", (folder / run_folder.RECIPE).as_posix(), "--out", folder.as_posix()])
    data = ["--data", run.data] if run.data else []
    return shlex.join(["hdlif", "demo", *data, "--out", folder.as_posix()])


def _print(result: dict[str, str], as_json: bool, _: object) -> None:
    if "left_out" in result:
        say(f"neurons are not drawn: {result['left_out']}")
    show(result, as_json, lambda: result["report"])


COMMAND = subcommand(
    report,
    ("hdlif report runs/digits_hdlif_w1p5_s4", "report.html in the run folder"),
    ("hdlif report runs/digits_hdlif_w1p5_s4 runs/short --out compared.html", "two runs side by side"),
    shown=_print,
)
