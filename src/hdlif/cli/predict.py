"""Implement `hdlif.predict`, which runs a deployed network on files without PyTorch."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.cli.answer_files import SUFFIXES as ANSWER_SUFFIXES
from hdlif.errors import InputError, reason
from hdlif.graph.artefact import InputRecord
from hdlif.graph.graph import PLACED_TASKS
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.runtime import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS, Session
from hdlif.runtime.answers import Answer, answers, in_words
from hdlif.runtime.early import Confidence, choose_confidence, early_answers
from hdlif.runtime.images import SUFFIXES
from hdlif.runtime.inputs import Layout, Sample, read_inputs
from hdlif.runtime.masks import as_json
from hdlif.zoo import network_file

Floats = NDArray[np.float32]
BATCH = 16
"""Number of inputs per batch: enough to occupy the cores, few enough to stay in the cache."""
BATCH_VALUES = 2**26
"""Maximum number of values in a batch of inputs (256 MiB), unless a single input has more."""


@dataclass(frozen=True)
class Answered:
    """The prediction for one input, in the format that `hdlif.runtime.answers` defines."""

    input: str
    answer: Answer

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON-serialisable dict."""
        return {"input": self.input, **as_json(self.answer)}

    def __str__(self) -> str:
        return f"{self.input}: {in_words(self.answer)}"


@dataclass(frozen=True)
class RunResult:
    """The predictions in input order, and the errors for invalid inputs."""

    inputs: tuple[Answered, ...]
    failed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif run --json`."""
        failed = {"failed": list(self.failed)} if self.failed else {}
        return {"inputs": [one.as_dict() for one in self.inputs], **failed}


def predict_files(
    artefact: Path,
    inputs: Sequence[Path],
    *,
    layout: Layout | None = None,
    confidence: Confidence | None = None,
    threads: int | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_operations: int = DEFAULT_MAX_OPERATIONS,
    keep: Callable[[str, Answer, Sequence[str]], Answer] = lambda name, answer, labels: answer,
) -> RunResult:
    """Run a deployed network on files, as `hdlif run` does, and return the predictions.

    Inputs must be regular files of at most `inputs.MOST_BYTES` bytes. `inputs.pictures.decode` decodes images. An array
    without a time axis is used as the input at every time step. A network that was trained on image rows receives each
    image row by row. NaN and infinite values raise an error. Predictions use the mean of the logits over time. The
    limits `max_bytes` and `max_operations` apply to each batch of up to 16 inputs, as in `Session`.

    If a confidence is passed or stored in the model file, prediction stops at the first time step at which the
    probability of a class reaches the confidence. With a confidence, each result contains "steps", the number of time
    steps that ran. The value "off" disables the stored confidence, and "auto" raises an error if none is stored.

    For an image network, an array [A, C, H, W] with A = T is ambiguous and therefore requires a `layout`.

    `keep` is called with the input's name, the prediction and the labels, and returns the prediction to store.

    If some files cannot be used, the result lists the errors under "failed" and contains predictions for all other
    files.

    Raises:
        ArtefactError, InputError: no file can be read, or no file fits the network.
        LimitError, AllocationError: the inputs exceed a limit, or the memory of the machine.
    """
    session = Session(artefact, threads, max_bytes=max_bytes, max_operations=max_operations)
    least = choose_confidence(confidence, session.confidence, session.task)
    failed: list[InputError] = []

    def read() -> Iterator[Sample]:
        for path in _files(inputs, session):
            try:
                yield from read_inputs(path, session.input, session.time_steps, layout)
            except InputError as error:
                failed.append(error)

    said: list[Answered] = []
    for batch in _batches(read()):
        for answered in _answered(session, batch, least):
            if isinstance(answered, InputError):
                failed.append(answered)
            else:
                said.append(Answered(answered.input, keep(answered.input, answered.answer, session.labels)))
    if failed and not said:
        raise (
            failed[0] if len(failed) == 1 else InputError(f"{failed[0]}; {len(failed) - 1} more inputs cannot be used")
        )
    return RunResult(tuple(said), tuple(map(str, failed)))


def predict(
    artefact: str | os.PathLike[str],
    *inputs: str | os.PathLike[str],
    layout: Layout | None = None,
    confidence: Confidence | None = None,
    threads: int | None = None,
) -> list[Answer]:
    """Run a deployed network on files without PyTorch and return one prediction per input.

    Args:
        artefact: a NAME.hdlif.safetensors file, or the name of a trained network.
        inputs: files of the kind of data that the network was trained on, or folders of such files. A file of rows or
            windows counts as several inputs, as in `hdlif run`.
        layout: "batch" or "sequence": whether an array [A, C, H, W] has A samples, or is one sample of A time steps.
            The default is a batch for image networks, and a sequence for networks whose input changes over time.
        confidence: for a classification, in 0..1: stop at the first time step at which the class reaches this
            probability. "auto" takes the confidence of the network's file, and is the default if it has one; "off" runs
            all steps.
        threads: threads of the runtime; by default, the number of cores available to this process.
    Returns:
        The predictions in the format of `hdlif run --json`, which depends on the task. A classification returns
        {"class", "label", "probability", "logits"}, and a regression {"prediction": {name: value}} in the units of the
        training targets. A class per pixel returns {"pixels": {label: count}, "mask": uint8 [h, w] in the image's own
        size}, where 255 is no class. Objects return {"objects": count, "mask": uint16 [h, w], the number of each, or
        0}. Boxes return {"boxes": [{"label", "score", "box": [left, top, right, bottom]}]} in the image's own pixels,
        with the highest score first.
    Raises:
        ArtefactError: the file of the network cannot be read.
        InputError: an input cannot be used.
    """
    result = predict_files(
        network_file(artefact), [Path(one) for one in inputs], layout=layout, confidence=confidence, threads=threads
    )
    if result.failed:
        raise InputError("; ".join(result.failed))
    return [one.answer for one in result.inputs]


def _files(inputs: Sequence[Path], session: Session) -> Iterator[Path]:
    """Yield the input files and all files found in input folders."""
    for path in map(Path, inputs):
        # Unlike Path.is_dir, it returns False for invalid paths.
        if os.path.isdir(path):  # noqa: PTH112
            yield from files_in(path, session)
        else:
            yield path


def files_in(folder: Path, session: Session) -> list[Path]:
    """Return a network's input files in a folder, sorted by path and excluding earlier output files.

    Raises:
        InputError: the folder has no such file, or cannot be searched.
    """
    what, suffixes = _sought(session.input)
    skip = ANSWER_SUFFIXES if session.task.kind in PLACED_TASKS else ()
    files = sorted(one for one in _files_below(folder, what, suffixes) if not one.name.endswith(skip))
    if not files:
        raise InputError(f"{folder}: no {what} is in this folder; {what} files end in {', '.join(suffixes)}")
    return files


def _sought(record: InputRecord) -> tuple[str, Sequence[str]]:
    """Return the noun and file suffixes for a network's input type."""
    return ("sound", (SUFFIX,)) if record.sound is not None else _IN_FOLDERS[record.kind]


_IN_FOLDERS: Mapping[str, tuple[str, Sequence[str]]] = {
    "image": ("image", SUFFIXES),
    "series": ("series", (".csv",)),
    "table": ("table", (".csv",)),
    "events": ("recording", tuple(READERS)),
}
"""Noun and suffixes of the files to look for in folders, by kind of input."""


def _files_below(folder: Path, what: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files with the given suffixes in a folder and all its subfolders.

    The search skips files and folders whose names begin with a dot, as in training. Unlike training, it also skips
    links to folders.
    """
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(here / entry.name)
                    elif Path(entry.name).suffix.lower() in suffixes and entry.is_file():
                        yield here / entry.name
        except OSError as error:
            raise InputError(
                f"{here}: cannot be searched for {what} files ({reason(error)}); name the files"
            ) from error


def _batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """Yield batches of consecutive samples with equal numbers of steps, up to the limits `BATCH` and `BATCH_VALUES`."""
    batch: list[Sample] = []
    for sample in samples:
        full = len(batch) == BATCH or (len(batch) + 1) * sample.x.size > BATCH_VALUES
        if batch and (full or len(batch[0].x) != len(sample.x)):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _answered(session: Session, batch: Sequence[Sample], confidence: float | None) -> Iterator[Answered | InputError]:
    """Yield a prediction for each input in a batch, or an error if the output is not finite."""
    x = np.concatenate([one.x for one in batch], axis=1)
    if confidence is None:
        found = answers(session.run(x), session.task, session.labels, [one.placed for one in batch])
    else:
        found = early_answers(session.run(x, confidence=confidence), session.task, session.labels)
    for sample, answer in zip(batch, found, strict=True):
        if answer is None:
            yield InputError(
                f"{sample.name}: its values are so large that the network's output is not finite; normalise them first"
            )
        else:
            yield Answered(sample.name, answer)
