"""Verbs that make a network into a file of another kind."""

from pathlib import Path
from typing import Any

import click

from hdlif.cli.completion import DATA
from hdlif.cli.examples import examples
from hdlif.cli.options import BYTES, FILE, data_set_option, json_option
from hdlif.cli.output import show
from hdlif.commands.export_options import OPTIONS_OF_TARGETS, foreign_options


@examples(
    ("hdlif export runs/digits_hdlif_w1p5_s4 --out digits.hdlif.safetensors", "one file that `hdlif run` takes"),
    ("hdlif export digits.hdlif.safetensors --to c --out digits.c --rom 64K --ram 32K", "C99 for a microcontroller"),
    (
        "hdlif export runs/digits_hdlif_w1p5_s4 --to onnx --out digits.onnx",
        "for ONNX Runtime and others; needs hdlif[export]",
    ),
    (
        "hdlif export digits.hdlif.safetensors --to nir --extension --out digits.nir",
        "NIR with all that it cannot say itself; needs hdlif[nir]",
    ),
)
@click.command(short_help="Deploy a run: one file, ONNX, NIR, or C.")
@click.argument("checkpoint", type=FILE)
@click.option("--to", "target", type=click.Choice(list(OPTIONS_OF_TARGETS)), default="artefact", show_default=True)
@click.option("--out", type=FILE, required=True, help="The file to write, usually NAME.hdlif.safetensors.")
@click.option(
    "--form",
    type=click.Choice(["unrolled", "step"]),
    help="Of ONNX: all time steps of a static image, or one step with its state.  [default: unrolled]",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Of ONNX: images that the unrolled form takes at once; a step takes any number.  [default: 1]",
)
@click.option(
    "--weights",
    type=click.Choice(["int8", "int4", "float32"]),
    help="Of ONNX: how weights of few bits are held; int4 takes opset 21.  [default: int8]",
)
@click.option(
    "--extension",
    is_flag=True,
    help="Of NIR: all of the network, what NIR cannot say as metadata, which hdlif alone reads back.",
)
@click.option(
    "--for-norse",
    is_flag=True,
    help="Of NIR: as norse reads it, which ignores R and knows no mean: R = 1 with larger weights, and sums.",
)
@click.option(
    "--arithmetic",
    type=click.Choice(["float", "fixed"]),
    help="Of C: float32, or integers of 16 bits, whose formats are chosen on --data.  [default: float]",
)
@click.option("--data", type=DATA, metavar="NAME|PATH", help="Of C: the data of an artefact; a run's own by default.")
@click.option("--data-root", type=FILE, help="Of C: where data sets that are no part of a package lie.")
@data_set_option
@click.option("--rom", type=BYTES, help="Of C: refuse larger tables, the network's constants; 65536 or 64K.")
@click.option("--ram", type=BYTES, help="Of C: refuse more state and work space; 16384 or 16K.")
@click.option("--firmware", is_flag=True, help="Of C: write a program for boards around it, into the folder of --out.")
@click.option(
    "--check",
    is_flag=True,
    help="Run it before it is written, and compare its outputs with the reference's: an artefact in the runtime, C "
    "built here and for emulators, ONNX in the engines that are installed, NIR read back.",
)
@json_option
def export(checkpoint: Path, target: str, out: Path, as_json: bool, **options: Any) -> None:
    """Deploy CHECKPOINT (or a run folder): norms folded, low-bit weights packed, one file that needs no PyTorch.

    ONNX, NIR (for other libraries of spiking networks) and C (one C99 file, --out NAME.c, and its header, for
    processors without an operating system) are written from an artefact too. The first two compute in float32.
    """
    own = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    if foreign := foreign_options(target, own):
        name, others = foreign
        option = "set" if name == "overrides" else name.replace("_", "-")
        raise click.UsageError(f"--{option}: for --to {' and '.join(others)} alone")
    if target == "c":
        # without PyTorch
        from hdlif.commands.export_c import export_c

        source = export_c(checkpoint, out=out, **own)
        return show(source.as_dict(), as_json, source.text)
    from hdlif.commands.export import WRITERS

    result = WRITERS[target](checkpoint, out=out, **own)
    return show(result.as_dict(), as_json, result.text)


@examples(
    ("hdlif import digits.nir --out imported", "imported/ gets an artefact and a recipe"),
    ("hdlif import theirs.nir --out theirs --dt 0.001 --time-steps 8", "where the file says nothing of time"),
)
@click.command("import", short_help="Read a network of another library from a NIR file.")
@click.argument("source", metavar="FILE.nir", type=FILE)
@click.option("--out", type=FILE, required=True, help="The folder to write, a new one.")
@click.option(
    "--dt",
    type=click.FloatRange(0, min_open=True),
    help="Seconds of a time step; norse has 0.001.  [default: the file's, or 0.0001]",
)
@click.option("--time-steps", type=click.IntRange(1), help="Steps of a sequence.  [default: the file's, or 4]")
@click.option(
    "--kind",
    type=click.Choice(["image", "events", "series", "table"]),
    help="What the network takes.  [default: the file's; or by the shape, events of 2 channels, series of a vector]",
)
@click.option(
    "--fires-at-threshold",
    is_flag=True,
    help="Neurons fire at v = v_threshold too, as SpikingJelly's do; in NIR they do not.",
)
@json_option
def import_command(source: Path, as_json: bool, **options: Any) -> None:
    """Read a network of another library from FILE.nir: a folder with an artefact to run, and a recipe to train on.

    What snnTorch, SpikingJelly, norse and `hdlif export --to nir` write is taken (docs/how_to/nir.md).
    """
    from hdlif.commands.import_nir import import_nir

    result = import_nir(source, **options)
    show(result.as_dict(), as_json, lambda: str(result))
