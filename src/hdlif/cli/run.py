"""Implement `hdlif run`, which runs inference on files and streams without PyTorch."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import click

from hdlif.cli.names import NETWORK
from hdlif.cli.options import FILE, Bytes, Confidence, Place, argument, option, subcommand
from hdlif.cli.output import say, show
from hdlif.errors import InputError, printable
from hdlif.zoo import network_file


def run(
    artefact: Annotated[Place, argument(type=NETWORK)],
    inputs: Annotated[Sequence[Path], argument(type=FILE, nargs=-1, required=True)],
    *,
    stream: bool = False,
    confidence: Confidence = None,
    hop: Annotated[int | None, option(type=click.IntRange(1), metavar="SAMPLES")] = None,
    gaps: Literal["stop", "hold", "zero"] | None = None,
    bad_lines: Literal["stop", "skip"] | None = None,
    rate: Annotated[int | None, option(type=click.INT, metavar="HZ")] = None,
    page: Path | None = None,
    out: Path | None = None,
    layout: Literal["batch", "sequence"] | None = None,
    partial: bool = False,
    threads: int | None = None,
    max_bytes: Bytes = None,
    max_operations: int | None = None,
    as_json: bool = False,
) -> None:
    """Run inference on INPUTS with the model file ARTEFACT, without PyTorch.

    ARTEFACT is a model file, or the name of a trained network from `hdlif models ls`.

    Each input is a file, or a folder of images, .csv files, .wav files or event-camera data. If some inputs cannot be
    used, `hdlif run` still makes predictions for the others and exits with code 1.

    \b
    images      an image file; or a .npy array: float32 [C, H, W], [N, C, H, W] or
                [N, T, C, H, W], normalised already; uint8 pixels of these shapes; or
                an image of any size, uint8 [H, W] or [H, W, channels]
    series      a .csv or .parquet file, a row a time step and a column a channel; or
                an array [T, C] or [N, T, C] (.npy, or x in a .npz file); each window
                of a longer recording is predicted
    sounds      a .wav file
    tables      a .csv or .parquet file, or an array [N, C]; each row is predicted
    recordings  of event cameras (.aedat, .aedat4, .bin, .h5, .hdf5, .npy, .npz, .raw);
                or a .npy array of counts: [2, H, W], [T, 2, H, W] or [N, T, 2, H, W]

    Images are BMP, GIF, JPEG, PNG, PPM, TIFF or WebP files with 8 bits per channel. An image may have at most 80
    million pixels in total and 65,535 pixels per side. `hdlif run` uses only the first frame of an image and ignores
    orientation and transparency. A file may be at most 256 MiB in size.

    If a network predicts a class or an object for each pixel, `hdlif run` writes the mask for NAME.jpg to
    NAME.answer.png at the size of the image. For classes, mask values are class numbers starting at 0, and 255 means no
    class. For objects, mask values are object numbers starting at 1, and 0 means no object. NAME.overlay.png is the
    image overlaid with the coloured mask. If a network predicts boxes, NAME.answer.png is the image with boxes, labels
    and scores drawn on it.

    With --page, `hdlif run` writes the predictions only to an HTML page. The input must then be a time series, audio or
    event-camera data.

    With --stream, a network for time series, audio or images runs on samples as they arrive. `hdlif run` prints one
    line (with --json, one object) at the end of each window. With a confidence, `hdlif run` prints a line as soon as
    the probability of a class reaches the confidence. Early exit has no effect on the start of the next window. For an
    image network that predicts at each step, `hdlif run` keeps the state between frames and prints one line per frame.

    \b
    series      lines of CSV, with or without a header; or a .npy array [T, C]
    sounds      PCM of 16 bits, little-endian, of one channel (s16le), at the network's
                rate or --rate; or a .wav file
    frames      a folder of images, by the numbers in their names; or PPM images one
                after the other, as ffmpeg -f image2pipe -c:v ppm writes them

    Args:
        stream: Predict the samples or frames of one INPUT as they arrive: a file, a FIFO, a device, a folder of frames,
            or - for standard input.
        confidence: Early exit: an input, or a window of a stream, stops at the first time step at which a class reaches
            the probability P. auto is ARTEFACT's own confidence, and off runs all steps.  [default: auto, if ARTEFACT
            has one]
        hop: Streams: samples from the start of one window to the next.  [default: the training's, or a window]
        gaps: Streams: how to replace missing numbers.  [default: stop]
        bad_lines: CSV streams: stop or skip at lines that are not rows of numbers.  [default: stop]
        rate: PCM streams: their rate, if not the network's, 1,000 to 384,000.
        page: Write an HTML page about one INPUT, with the input over time, neuron activity, and predictions.
        out: Masks and boxes: output folder.  [default: next to each input; none for frames from a pipe]
        layout: Arrays [A, C, H, W]: A samples, or one sample of A time steps.  [default: batch for images, else
            sequence]
        partial: Streams: also predict the windows in which the stream ends.
        threads: Threads of the runtime.  [default: the machine's cores; for a stream 1]
        max_bytes: Memory limit for a run of up to 16 inputs, such as 512M.  [default: 4G]
        max_operations: Limit on products and sums in such a run.  [default: 2^42]
    """
    options = _given(confidence=confidence, threads=threads, max_bytes=max_bytes, max_operations=max_operations)
    of_stream = _given(hop=hop, gaps=gaps, bad_lines=bad_lines, rate=rate, partial=partial or None)
    if out is not None and page is not None:
        raise InputError("--out is the folder of masks and boxes, which --page does not write; remove it")
    if layout is not None and (stream or page is not None):
        raise InputError("--stream and --page take one sequence; remove --layout")
    if stream:
        if len(inputs) != 1 or page is not None:
            raise InputError(
                "--stream takes one INPUT (a file, a folder, or - for standard input) and cannot be combined with "
                "--page"
            )
        return _run_on_stream(network_file(artefact), inputs[0], as_json, {**of_stream, **options, "out": out})
    if of_stream:
        raise InputError(f"--{min(of_stream).replace('_', '-')} applies to streams; add --stream")
    if page is not None:
        if options.pop("confidence", "off") != "off":
            raise InputError("--page shows all time steps; remove --confidence")
        if len(inputs) != 1:
            raise InputError("--page takes one INPUT: a file")
        return _write_page(network_file(artefact), inputs[0], page, as_json, options)
    from hdlif.cli.answer_files import AnswerFiles
    from hdlif.cli.predict import predict_files

    result = predict_files(network_file(artefact), inputs, layout=layout, keep=AnswerFiles(out), **options)
    show(result.as_dict(), as_json, lambda: "\n".join(printable(str(one)) for one in result.inputs))
    if result.failed:
        for line in result.failed:
            say(f"InputError: {line}")
        sys.exit(1)
    return None


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _write_page(artefact: Path, recording: Path, page: Path, as_json: bool, options: dict[str, Any]) -> None:
    from hdlif.recipe.runs.files import write_text
    from hdlif.report.recording_page import recording_page

    if page.is_dir():
        raise InputError(f"--page {page}: is a folder; give the path of the HTML file to write")
    write_text(page, recording_page(artefact, recording, **options))
    show({"page": str(page)}, as_json, lambda: str(page))


def _run_on_stream(artefact: Path, place: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Print predictions for a stream as they become available, and exit with code 1 if any output is not finite."""
    from hdlif.cli.stream import stream as command

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


COMMAND = subcommand(
    run,
    ("hdlif run digits.hdlif.safetensors photo.png", "the class of an image"),
    (
        "hdlif run digits.hdlif.safetensors photos/ --json --confidence 0.95",
        "all images below a folder, for a program; each stops when a class is probable enough",
    ),
    ("hdlif run motion.hdlif.safetensors walk.csv --page walk.html", "a recording, and the activity of the neurons"),
    (
        "arecord -t raw -f S16_LE -r 8000 | hdlif run voices.hdlif.safetensors --stream -",
        "live sound from a microphone",
    ),
)
