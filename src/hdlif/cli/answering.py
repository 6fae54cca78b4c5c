"""Verbs by which a deployed network answers, without PyTorch."""

import sys
from pathlib import Path
from typing import Any

import click

from hdlif.cli.examples import examples
from hdlif.cli.options import BYTES, FILE, json_option
from hdlif.cli.output import say, show
from hdlif.errors import MissingExtraError, printable


@examples(
    ("hdlif run digits.hdlif.safetensors photo.png", "the class of a picture"),
    ("hdlif run digits.hdlif.safetensors photos/ --json", "all pictures below a folder, for a program"),
    ("hdlif run motion.hdlif.safetensors walk.csv --page walk.html", "a recording, and the neurons at work on it"),
    (
        "arecord -t raw -f S16_LE -r 8000 | hdlif run voices.hdlif.safetensors --stream -",
        "a microphone, as the sound comes",
    ),
)
@click.command(short_help="Answer for pictures, recordings, sounds, tables or streams.")
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
@click.option(
    "--layout",
    type=click.Choice(["batch", "sequence"]),
    help="Of arrays [A, C, H, W]: A samples, or one of A time steps.  [default: batch for images, else sequence]",
)
@click.option("--partial", is_flag=True, help="Of a stream: answer for the windows in which it ends, too.")
@click.option(
    "--threads", type=click.IntRange(1), help="Threads of the runtime.  [default: the machine's cores; of a stream 1]"
)
@click.option("--max-bytes", type=BYTES, help="Memory of a run, 16 inputs at once, such as 512M.  [default: 4G]")
@click.option("--max-operations", type=click.IntRange(1), help="Products and sums of such a run.  [default: 2^42]")
@json_option
def run(
    artefact: Path, inputs: tuple[Path, ...], as_json: bool, stream: bool, page: Path | None, **options: Any
) -> None:
    """What ARTEFACT says of INPUTS: a class, a class at each step, values or labels. Does not need PyTorch.

    An input is a file of what the network was trained on, or a folder, of which all images, .csv files, .wav files or
    recordings below it are taken. Where some cannot be used, the others are answered for, and the exit code is 1.

    \b
    pictures    an image file; or a .npy array: float32 [C, H, W], [N, C, H, W] or
                [N, T, C, H, W], normalised already; uint8 pixels of these shapes; or
                an image of any size, uint8 [H, W] or [H, W, channels]
    series      a .csv or .parquet file, a row a time step and a column a channel; or
                an array [T, C] or [N, T, C] (.npy, or x in a .npz file); each window
                of a longer recording is answered for
    sounds      a .wav file
    tables      a .csv or .parquet file, or an array [N, C]; each row is answered for
    recordings  of event cameras (.aedat, .aedat4, .bin, .h5, .hdf5, .npy, .npz, .raw);
                or a .npy array of counts: [2, H, W], [T, 2, H, W] or [N, T, 2, H, W]

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
    """
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    if "layout" in given and (stream or page is not None):
        raise click.UsageError("--stream and --page take one sequence; leave out --layout")
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
            say(f"InputError: {line}")
        sys.exit(1)


def _run_on_stream(artefact: Path, place: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Print each decision when it is made; 1 where one was not finite."""
    from hdlif.commands.stream import stream as command

    said, failed = 0, False
    try:
        for decision in command(artefact, place, say=say, **options):
            if decision.answer is None:
                say(f"InputError: {decision}; normalise the samples first")
                failed = True
                continue
            said += 1
            show(decision.as_dict(), as_json, lambda one=decision: printable(str(one)))  # type: ignore[misc]
    except KeyboardInterrupt as interrupt:
        interrupt.args = (f"after {said:,} decision{'s' * (said != 1)}",)
        raise
    if failed:
        sys.exit(1)


@examples(
    ("hdlif serve digits.hdlif.safetensors", "on port 8000 of this machine"),
    ("hdlif serve mine=digits.hdlif.safetensors --port 0 --latency-budget-ms 5", "under another name, on a free port"),
)
@click.command(short_help="Answer over HTTP.")
@click.argument("artefacts", metavar="ARTEFACT...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the runtime.  [default: the machine's cores]")
@click.option("--latency-budget-ms", type=float, metavar="MS", help="How long an input waits for others.  [default: 2]")
@click.option("--max-batch", type=int, help="Inputs that are run at once.  [default: 16]")
@click.option("--max-body-bytes", type=BYTES, help="Of a request, such as 16777216 or 16M.  [default: 16M]")
@click.option("--max-pixels", type=int, help="Of an image.  [default: 2^25]")
@click.option("--max-bytes", type=BYTES, help="Memory of a run.  [default: 1G]")
@click.option("--max-operations", type=int, help="Products and sums of a run.  [default: 2^38]")
@click.option("--max-streams", type=int, help="That are open; 0 leaves streams out.  [default: 4096]")
@click.option("--max-stream-bytes", type=BYTES, help="That open streams hold.  [default: 256M]")
@click.option("--stream-idle-seconds", type=float, help="After which an unused stream is ended.  [default: 300]")
@click.option(
    "--max-old-bytes", type=BYTES, help="Of networks that were exchanged while streams live.  [default: 256M]"
)
@click.option("--max-connections", type=int, help="[default: 2048]")
@click.option("--receive-seconds", type=float, help="Within which a request has come whole.  [default: 30]")
@click.option("--send-seconds", type=float, help="For which an answer may be left unread.  [default: 30]")
@click.option("--keep-alive-seconds", type=float, help="For which a connection may be silent.  [default: 30]")
@click.option("--drain-seconds", type=float, help="After SIGTERM, for which requests are still taken.  [default: 0]")
@click.option("--shutdown-seconds", type=float, help="Which requests in flight then have.  [default: 30]")
@json_option
def serve(
    artefacts: tuple[str, ...],
    host: str,
    port: int,
    as_json: bool,
    **limits: Any,
) -> None:
    """Answer over HTTP what each ARTEFACT, a path or NAME=PATH, says of images, arrays, series and streams.

    Needs the extra hdlif[serve]; docs/how_to/serving.md has the requests. SIGTERM and Ctrl-C end it when the
    requests in flight have been answered; SIGHUP loads the files again, and no request is dropped.

    \b
      curl --data-binary @photo.png -H 'Content-Type: image/png' localhost:8000/v1/models/digits/predict
    """
    import signal

    try:
        from hdlif.serve.server import end_process
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
        started=lambda found: show(found.as_dict(), as_json, lambda: str(found)),
        say=say,
    )
    if ended_by is None:
        return
    end_process(128 + ended_by)
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + ended_by)
