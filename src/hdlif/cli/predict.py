"""`hdlif.predict`: what a deployed network predicts for files of images, series, events or arrays; no PyTorch."""

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

Floats = NDArray[np.float32]
BATCH = 16
"""Inputs that are run at once: enough to occupy the cores, few enough to stay in the cache."""
BATCH_VALUES = 2**26
"""Values of inputs that are held at once, unless a single one has more: 256 MiB."""


@dataclass(frozen=True)
class Answered:
    """What is said of one input; `answer` as `runtime.answers` has it, by the network's task."""

    input: str
    answer: Answer

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"input": self.input, **as_json(self.answer)}

    def __str__(self) -> str:
        return f"{self.input}: {in_words(self.answer)}"


@dataclass(frozen=True)
class RunResult:
    """What is said of each input, in their order, and what is wrong with those that cannot be used."""

    inputs: tuple[Answered, ...]
    failed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """What `hdlif run --json` prints."""
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
    """What is said of each input file.

    An input is an image, a folder (all images below, sorted by path) or a .npy array; of a network of series, a .csv
    file with a row a step and a column a channel, or an array of any real numbers [T, C] or [N, T, C], and a folder has
    .csv files; what is longer than a window of its training is cut into such, each of which is an input;
    of one of sounds, a .wav file; of one of tables, a .csv file or an array [N, C], of which each row is an input; of
    one of events, a recording, and a folder has such, or an array of counts.
    A file is a regular one of at most `inputs.MOST_BYTES`; images are read as `inputs.pictures.decode` says. An array
    holds

        float32 [C, H, W] of the network's size, normalised already, [N, C, H, W] of a network of images, [T, C, H, W]
        of one whose input changes in time, or [N, T, C, H, W];
        uint8 pixels of the same shapes, normalised here;
        or an image, uint8 [H, W] or [H, W, channels] of any size, which is treated as an image file is.

    Without a time axis it is constant over the network's steps; an image is shown to a network that was trained on rows
    row by row. A value that is not finite is refused. The logits are
    the mean over time. `Session` states the limits, which hold for up to 16 inputs, run at once.

    With a `confidence`, given or of the network's file, an input stops at the first time step at which its class is as
    probable, and its answer has "steps", how many ran; "off" leaves the file's own out, "auto" asks for it.

    An array [A, C, H, W] of a network of images is refused if A is the number of its time steps: `layout` decides.

    `keep` is called with the name of each input, its answer and the network's labels, and returns what is kept of it,
    such as a mask's file.

    Where some of several files cannot be used, the others are answered for, and "failed" says of each what is wrong.

    Raises:
        ArtefactError, InputError: no file can be read, or none fits the network.
        LimitError, AllocationError: they take more than a limit, or than the machine grants.
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
        raise failed[0] if len(failed) == 1 else InputError(f"{failed[0]}; {len(failed) - 1} more cannot be used")
    return RunResult(tuple(said), tuple(map(str, failed)))


def predict(
    artefact: str | os.PathLike[str],
    *inputs: str | os.PathLike[str],
    layout: Layout | None = None,
    confidence: Confidence | None = None,
    threads: int | None = None,
) -> list[Answer]:
    """What a deployed network says of files, one answer for each input; needs no PyTorch.

    Args:
        artefact: a NAME.hdlif.safetensors file.
        inputs: files of what the network was trained on, or folders of them; a file of rows or of windows is several
            inputs, as `hdlif run` takes them.
        layout: "batch" or "sequence": whether an array [A, C, H, W] has A samples, or is one sample of A time steps. By
            default a network of images takes it as a batch, one whose input changes in time as a sequence.
        confidence: of a classification, in 0..1: stop at the first time step at which the class is as probable; "auto"
            for that of the network's file, which is the default if it has one; "off" for all steps.
        threads: of the runtime; the cores that this process may use, by default.
    Returns:
        By the network's task, as `hdlif run --json` prints it: of a classification {"class", "label", "probability",
        "logits"}; of values {"prediction": {name: value}}, in the units of the training's targets. A class per pixel is
        {"pixels": {label: how many have it}, "mask": uint8 [h, w] with the image's own pixels}, where 255 is no class;
        objects are {"objects": how many, "mask": uint16 [h, w], the number of each, or 0}; boxes are {"boxes":
        [{"label", "score", "box": [left, top, right, bottom]}]} in the image's own pixels, the highest score first.
    Raises:
        ArtefactError: the file of the network cannot be read.
        InputError: an input cannot be used.
    """
    result = predict_files(
        Path(artefact), [Path(one) for one in inputs], layout=layout, confidence=confidence, threads=threads
    )
    if result.failed:
        raise InputError("; ".join(result.failed))
    return [one.answer for one in result.inputs]


def _files(inputs: Sequence[Path], session: Session) -> Iterator[Path]:
    """The files that are given, and those in folders."""
    for path in map(Path, inputs):
        # Unlike Path.is_dir, it says no to whatever is no path.
        if os.path.isdir(path):  # noqa: PTH112
            yield from files_in(path, session)
        else:
            yield path


def files_in(folder: Path, session: Session) -> list[Path]:
    """The files in a folder that a network takes, in the order of their paths, but for answers of runs before.

    Raises:
        InputError: there are none, or it cannot be searched.
    """
    what, suffixes = _sought(session.input)
    skip = ANSWER_SUFFIXES if session.task.kind in PLACED_TASKS else ()
    files = sorted(one for one in _files_below(folder, what, suffixes) if not one.name.endswith(skip))
    if not files:
        raise InputError(f"{folder}: no {what} is in this folder; {what} files end in {', '.join(suffixes)}")
    return files


def _sought(record: InputRecord) -> tuple[str, Sequence[str]]:
    """What is looked for in a folder, in words, and the ends of its files' names."""
    return ("sound", (SUFFIX,)) if record.sound is not None else _IN_FOLDERS[record.kind]


_IN_FOLDERS: Mapping[str, tuple[str, Sequence[str]]] = {
    "image": ("image", SUFFIXES),
    "series": ("series", (".csv",)),
    "table": ("table", (".csv",)),
    "events": ("recording", tuple(READERS)),
}
"""By kind of input, what is looked for in folders, and how the names of such files end."""


def _files_below(folder: Path, what: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """The files of these suffixes in a folder and those below it, however deep.

    No link to a folder is followed, and names that begin with a dot are passed over, as training does.
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
            raise InputError(f"{here}: cannot be searched for {what} files ({reason(error)}); give them") from error


def _batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """Neighbours with equally many steps, up to `BATCH` of them and `BATCH_VALUES`; no more than one batch is held."""
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
    """What the network says of each input, or why it says nothing."""
    x = np.concatenate([one.x for one in batch], axis=1)
    if confidence is None:
        found = answers(session.run(x), session.task, session.labels, [one.placed for one in batch])
    else:
        found = early_answers(session.run(x, confidence=confidence), session.task, session.labels)
    for sample, answer in zip(batch, found, strict=True):
        if answer is None:
            yield InputError(
                f"{sample.name}: its values are so large that the network's answer is not finite; normalise them first"
            )
        else:
            yield Answered(sample.name, answer)
