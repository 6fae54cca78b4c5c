"""Cache the frames of event-camera recordings, and write a manifest of the recordings.

The manifest ROOT/SET/hdlif_split.json contains the split and the SHA-256 of every file. The folder ROOT/hdlif_frames/
contains one array of frames for each combination of data set and conversion settings. The file name of each array of
frames contains a digest of everything that determines the frames.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.roots import MOST_TEXT
from hdlif.data.samples import Samples, stepwise
from hdlif.errors import DataError, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.events import Binning, Events, count_frames
from hdlif.inputs.recordings import read_recording
from hdlif.whole_files import open_regular, read_regular, whole_file

VERSION = 1
"""Version of the conversion to frames, increased whenever a change affects the frames."""
MANIFEST = "hdlif_split.json"
CACHE = "hdlif_frames"


@dataclass(frozen=True)
class Clip:
    """A sample that consists of a complete recording, or of the events with `start` <= t < `end` in microseconds."""

    file: str
    label: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Recordings:
    """An event-camera data set on disk, in which clips from the same file are adjacent."""

    name: str
    folder: Path
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    height: int
    width: int


def frames_of(events: Events, clip: Clip) -> Events:
    """Select the events of a clip from all events in the clip's file."""
    if clip.start is None or clip.end is None:
        return events
    inside = (events.t >= clip.start) & (events.t < clip.end)
    return Events(events.t[inside], events.x[inside], events.y[inside], events.polarity[inside])


def cached_frames(recordings: Recordings, *, time_steps: int, binning: Binning, size: int | None) -> Path:
    """Return the path of a file with the frames [N, T·2, H, W] of all clips, creating the file if necessary.

    Training clips come first, followed by test clips. Event counts are stored as uint16, or as float32 if `size` is
    set. If `size` is set, each map of counts is resized to `size` x `size` (bilinear, antialiased).

    Raises:
        DataError: a recording is damaged or differs from the manifest, or the frames cannot be written.
    """
    clips = (*recordings.train, *recordings.test)
    try:
        found = [(recordings.folder / clip.file).stat() for clip in clips]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({reason(error)}); extract it again") from error
    transform = {
        "version": VERSION,
        "set": recordings.name,
        "time_steps": time_steps,
        "binning": binning.__name__,
        "size": size,
        "clips": [[*asdict(clip).values(), s.st_size, s.st_mtime_ns] for clip, s in zip(clips, found, strict=True)],
    }
    digest = hashlib.sha256(json.dumps(transform, sort_keys=True).encode()).hexdigest()
    side = "whole" if size is None else str(size)
    name = f"{recordings.name}-{time_steps}-{binning.__name__}-{side}-{digest[:16]}.npy"
    path = recordings.folder.parent / CACHE / name
    height, width = (recordings.height, recordings.width) if size is None else (size, size)
    shape = (len(clips), time_steps * 2, height, width)
    dtype = np.uint16 if size is None else np.float32
    if are_written(path, shape, dtype) and (recordings.folder / MANIFEST).exists():
        return path

    def fill(out: NDArray[Any]) -> None:
        _write_manifest(recordings, _make(recordings, clips, out, time_steps=time_steps, binning=binning))

    write_frames(path, shape, dtype, fill)
    return path


def write_frames(
    path: Path, shape: tuple[int, ...], dtype: type[np.generic], fill: Callable[[NDArray[Any]], None]
) -> None:
    """Call `fill` to compute the frames, and write them to a file atomically. Raises `DataError`."""
    try:
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as temporary:
            out = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
            fill(out)
            out.flush()
    except OSError as error:
        raise DataError(
            f"{path}: frames cannot be written ({error}); free space, or make {path.parent.parent} writable"
        ) from error


def are_written(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> bool:
    """Return whether a file contains frames with the given shape and data type."""
    try:
        frames = _opened(path)
    except DataError:
        return False
    return frames.shape == shape and frames.dtype == dtype


def _opened(path: Path) -> NDArray[Any]:
    """Open a file of frames as a memory map."""
    try:
        os.close(open_regular(path, os.O_RDONLY))
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy raises almost any exception on damaged headers.
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); delete it to rebuild it") from error
    if not isinstance(frames, np.memmap):
        raise DataError(f"{path}: is not an array of frames; delete it to rebuild it")
    return frames


def _make(
    recordings: Recordings, clips: Sequence[Clip], out: NDArray[Any], *, time_steps: int, binning: Binning
) -> dict[str, str]:
    """Fill `out` with the frames of all clips, and return the SHA-256 of each recording."""
    known = _known_hashes(recordings)
    hashes: dict[str, str] = {}
    place = 0
    for file, group in groupby(clips, key=lambda clip: clip.file):
        path = recordings.folder / file
        try:
            content = read_regular(path, most=MOST_BYTES)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({reason(error)}); extract it again") from error
        hashes[file] = hashlib.sha256(content).hexdigest()
        if known.get(file, hashes[file]) != hashes[file]:
            raise DataError(
                f"{path}: does not match {recordings.folder / MANIFEST}; extract it again, or delete "
                "the manifest if you changed the recording on purpose"
            )
        try:
            events = read_recording(path, content)
            for clip in group:
                counts = count_frames(
                    frames_of(events, clip),
                    time_steps,
                    binning=binning,
                    height=recordings.height,
                    width=recordings.width,
                )
                out[place] = _fitted(path, counts.reshape(-1, *counts.shape[2:]), out)
                place += 1
        except Unreadable as error:
            raise DataError(f"{path}: {error}; extract it again") from error
    return hashes


def _fitted(path: Path, counts: NDArray[np.int64], out: NDArray[Any]) -> NDArray[Any]:
    """Resize event counts [T·2, H, W] to the size of `out`, and convert them to the data type of `out`."""
    if out.dtype == np.float32:
        from torchvision.transforms.v2 import functional as F

        resized: Tensor = F.resize(torch.from_numpy(counts).float(), list(out.shape[2:]), antialias=True)
        return resized.numpy()
    if counts.max(initial=0) > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: a pixel has {counts.max()} events in a frame; at most 65535 are supported")
    return counts


def _known_hashes(recordings: Recordings) -> dict[str, str]:
    path = recordings.folder / MANIFEST
    try:
        content = json.loads(read_regular(path, most=MOST_TEXT).decode("utf-8"))
        return {entry["file"]: entry["sha256"] for part in ("train", "test") for entry in content[part]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is not a manifest of a split; delete it to rebuild it") from error


def _write_manifest(recordings: Recordings, hashes: dict[str, str]) -> None:
    parts = {
        part: [{**asdict(clip), "sha256": hashes[clip.file]} for clip in getattr(recordings, part)]
        for part in ("train", "test")
    }
    with whole_file(recordings.folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"set": recordings.name, **parts}, indent=1) + "\n", "utf-8")


class EventFrames(Samples):
    """Samples of event frames, read from the rows `places` [N] of a file that `cached_frames` has written."""

    def __init__(
        self,
        path: Path,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        time_steps: int,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed)
        self.path, self.places = path, places
        self.size: int | None = None
        self.frames = stepwise(time_steps)

    def resized(self, size: int) -> Self:
        """Return samples whose frames are resized to `size` x `size` when they are read."""
        return self._changed(size=size)

    def read(self, indices: Tensor) -> Tensor:
        """Return the event counts as float32 [B, T·2, H, W]."""
        # Open the file for each read: an open map would be copied into a spawned worker.
        frames = _opened(self.path)[self.places[indices.numpy()]]
        raw = torch.from_numpy(frames.astype(np.float32))
        if self.size is None:
            return raw
        from torchvision.transforms.v2 import functional as F

        resized: Tensor = F.resize(raw, [self.size, self.size], antialias=True)
        return resized
