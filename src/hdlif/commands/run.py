"""`hdlif run`: the classes of images or arrays, by a deployed network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.artefact import InputRecord
from hdlif.errors import InputError
from hdlif.runtime import Session, normalise, probabilities, read_image


def run(artefact: Path, inputs: Sequence[Path], *, threads: int | None = None) -> dict[str, Any]:
    """The class of each input file: {"inputs": [{"input", "class", "label", "probability", "logits"}]}.

    An input is an image, or a .npy array: uint8 pixels [C, H, W] or [T, C, H, W], normalised here, or
    float32 that is normalised already. Without a time axis it is constant over the network's steps.
    The logits are the mean over time.

    Raises:
        ArtefactError, InputError: a file cannot be read, or does not fit the network.
    """
    session = Session(artefact, threads)
    return {"inputs": [_classify(session, Path(path)) for path in inputs]}


def _classify(session: Session, path: Path) -> dict[str, Any]:
    is_array = path.suffix == ".npy"
    x = _read_array(path, session.input) if is_array else read_image(path, session.input)
    logits = session.run(x)
    mean = logits.mean(axis=0)[0]
    winner = int(mean.argmax())
    return {
        "input": str(path),
        "class": winner,
        "label": session.labels[winner],
        "probability": float(probabilities(logits)[-1, 0, winner]),
        "logits": [float(logit) for logit in mean],
    }


def _read_array(path: Path, record: InputRecord) -> NDArray[np.float32]:
    """The array as [T or 1, 1, C, H, W]."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array ({error}); write it with numpy.save") from error
    accepted = f"{list(record.shape)} or [T, {', '.join(map(str, record.shape))}], uint8 or float32"
    if array.dtype not in (np.uint8, np.float32) or array.shape[-3:] != record.shape or array.ndim not in (3, 4):
        raise InputError(f"{path}: {array.dtype} {list(array.shape)}; the network takes {accepted}")
    if not len(array) or not np.isfinite(array).all():
        raise InputError(f"{path}: is empty or holds a value that is not finite; the network takes {accepted}")
    pixels = array if array.ndim == 4 else array[None]
    return (normalise(pixels, record) if array.dtype == np.uint8 else pixels)[:, None]
