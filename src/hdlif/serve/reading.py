"""Read request bodies within memory and time limits."""

import asyncio
import contextlib
import io
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor

import numpy as np
from starlette.requests import ClientDisconnect, Request

from hdlif.errors import HdlifError, brief
from hdlif.graph.graph import MAP_TASKS, SoundRecord
from hdlif.inputs import Unreadable, pictures
from hdlif.runtime.boxes import MOST_BOXES
from hdlif.runtime.files import Given
from hdlif.runtime.images import Placed
from hdlif.runtime.inputs import Layout, Sample, read_inputs, read_steps
from hdlif.serve import json_arrays
from hdlif.serve.json_arrays import NAME
from hdlif.serve.models import Network
from hdlif.serve.refusals import JSON, Refusal
from hdlif.serve.settings import Settings

Inputs = list[Sample]
Grow = Callable[[int], None]
"""Reserves more bytes for a request; raises `Refusal` if there is no room."""
TYPES: Mapping[str, str] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "image/x-portable-pixmap": ".ppm",
    "image/x-portable-graymap": ".pgm",
    "application/x-npy": ".npy",
    "application/octet-stream": ".npy",
    "text/csv": ".csv",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
}
"""Content types other than JSON, with the suffix of files of this type."""
_CSV_BYTES = 15
"""Memory in bytes per byte of a table: a row can have only two bytes."""
_SOUND_BYTES, _CLIP_BYTES, _SOUND_BLOCK_BYTES = 10, 40, 2**23
"""Memory in bytes per byte of audio, per sample of a network's clip, and for the blocks in which both are processed."""
_SMALL_BODY = 2**14
"""Maximum size in bytes of an array that is read faster than a thread starts."""
_ANSWER_BYTES, _ANSWERED_NUMBER_BYTES, _PIXEL_BYTES, _BOX_BYTES = 768, 64, 32, 1024
"""Memory in bytes of a prediction, and per number, mask pixel and box in it, as objects and as text."""


class Room:
    """A thread-safe count of the bytes that all requests use for bodies, converted data and responses."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lend(self) -> Iterator[Grow]:
        """Reserve bytes for one request, and release them when the request ends."""
        taken, ended = 0, False

        def grow(count: int) -> None:
            nonlocal taken
            with self._lock:
                if taken + count > self.most:
                    raise Refusal(
                        "body_too_large",
                        f"this request needs more than the {self.most:,} bytes reserved for all requests",
                    )
                # A thread may still be reading the body of an abandoned request.
                if ended or self.held + count > self.most:
                    raise Refusal(
                        "overloaded",
                        "other requests use all memory reserved for request bodies",
                        {"Retry-After": "1"},
                    )
                taken += count
                self.held += count

        try:
            yield grow
        finally:
            with self._lock:
                ended = True
                self.held -= taken


def media_type(request: Request) -> str:
    """Return a request's content type, without parameters such as the charset."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def receive_body(request: Request, grow: Grow, most: int) -> bytes:
    """Return the complete body. Raises `Refusal` if the body exceeds `most` bytes or if memory is insufficient."""
    whole = bytearray()
    async for part in request.stream():
        if len(whole) + len(part) > most:
            raise Refusal("body_too_large", f"the body has more than {most:,} bytes")
        grow(len(part))
        whole += part
    return bytes(whole)


def reading_bytes(content: bytes, kind: str, sound: SoundRecord | None = None) -> int:
    """Return the maximum number of bytes of memory that converting a body to inputs takes, besides the body itself.

    Args:
        sound: the sound record of the network, if it takes audio.
    """
    if kind == JSON:
        return json_arrays.reading_bytes(content)
    if sound is not None and TYPES[kind] == ".wav":
        return _SOUND_BYTES * len(content) + _CLIP_BYTES * sound.samples + _SOUND_BLOCK_BYTES
    return _CSV_BYTES * len(content) if kind == "text/csv" else 0


def as_file(
    content: bytes,
    kind: str,
    max_pixels: int,
    columns: tuple[str, ...] = (),
    grow: Grow = lambda count: None,
    ended: Callable[[], bool] | None = None,
) -> Given:
    """Convert a body to a file that the runtime can read. Raises `Refusal`.

    Args:
        columns: the names of the network's columns, if any.
        grow: called with the number of bytes that decoding an image takes, before it is decoded.
        ended: as in `Given`.
    """
    if kind == JSON:
        file = io.BytesIO()
        np.lib.format.write_array(file, json_arrays.read_json(content, columns), allow_pickle=False)
        return Given(NAME, ".npy", file.getvalue())
    suffix = TYPES[kind]
    if suffix in pictures.FORMATS:
        try:
            header = pictures.header(content, ended=ended)
        except Unreadable as error:
            raise Refusal("input_refused", f"{NAME}: cannot be read as an image ({error})") from error
        if header.width * header.height > max_pixels:
            raise Refusal(
                "image_too_large", f"{NAME}: the image is {header.height}x{header.width}; at most {max_pixels:,} pixels"
            )
        grow(header.decoding_bytes)
    return Given(NAME, suffix, content, ended)


class _Patience:
    """A check of whether reading must stop because the client has disconnected or the time for it has run out.

    Attributes:
        gone: whether the client has disconnected.
        late: whether the time had run out at the last check.
    """

    def __init__(self, seconds: float) -> None:
        self.gone = self.late = False
        self._seconds, self._end = seconds, math.inf

    def begin(self) -> None:
        self._end = time.monotonic() + self._seconds

    def ended(self) -> bool:
        self.late = time.monotonic() > self._end
        return self.gone or self.late

    def refusal(self) -> Refusal:
        return Refusal("too_much_work", f"reading it takes more than {self._seconds:g} seconds")

    async def watch(self, request: Request) -> None:
        """Wait until a client disconnects; call this method only after receiving the complete body."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True


class Reader:
    """A reader for request bodies.

    Args:
        room: memory for bodies, converted data and responses.
        threads: threads that read everything except small arrays.
    """

    def __init__(self, settings: Settings, room: Room, threads: Executor) -> None:
        self._settings, self._room, self._threads = settings, room, threads

    @contextlib.asynccontextmanager
    async def read(
        self, request: Request, network: Network, *, steps: bool, layout: Layout | None = None
    ) -> AsyncIterator[Inputs]:
        """Read the named inputs of a request, and reserve memory for the inputs and the response.

        Args:
            steps: whether the body contains the next steps of a stream instead of complete inputs.
            layout: layout of an array of complete inputs, as for `read_inputs`.
        """
        kind = media_type(request)
        if kind != JSON and kind not in TYPES:
            accepted = ", ".join((JSON, *TYPES))
            raise Refusal("unknown_content_type", f"Content-Type is {brief(kind)}; accepted are {accepted}")
        record, patience = network.session.input, _Patience(self._settings.read_seconds)
        with self._room.lend() as grow:
            content = await receive_body(request, grow, self._settings.max_body_bytes)
            grow(reading_bytes(content, kind, record.sound))

            def work() -> Inputs:
                patience.begin()
                body = as_file(content, kind, self._settings.max_pixels, record.columns, grow, patience.ended)
                if steps:
                    return self._read_steps(body, network, grow)
                return self._read_inputs(body, network, grow, patience, layout)

            if len(content) <= _SMALL_BODY and not kind.startswith(("image/", "audio/")):
                yield work()
            else:
                yield await self._run_on_thread(work, request, patience)

    async def _run_on_thread(self, work: Callable[[], Inputs], request: Request, patience: _Patience) -> Inputs:
        """Run `work` on a thread, and stop soon after the client disconnects or the time runs out."""
        watching = asyncio.ensure_future(patience.watch(request))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (HdlifError, Refusal) as error:
            if patience.gone:
                raise ClientDisconnect from error
            raise (patience.refusal() if patience.late else error) from error
        finally:
            patience.gone = True
            watching.cancel()

    def _read_steps(self, body: Given, network: Network, grow: Grow) -> Inputs:
        session, most = network.session, self._settings.max_steps
        x = read_steps(body, session.input, session.time_steps)
        if len(x) > most:
            raise Refusal("too_many_inputs", f"the body contains {len(x):,} steps, but at most {most:,} are allowed")
        session.check_steps(len(x))
        grow(x.nbytes + len(x) * _answer_bytes(network, 1))
        return [Sample(str(body), x, Placed.whole(session.input))]

    def _read_inputs(
        self, body: Given, network: Network, grow: Grow, patience: _Patience, layout: Layout | None
    ) -> Inputs:
        session, most = network.session, self._settings.max_inputs
        found: Inputs = []
        for sample in read_inputs(body, session.input, session.time_steps, layout):
            if patience.ended():
                raise patience.refusal()
            if len(found) == most:
                raise Refusal("too_many_inputs", f"the body contains more than {most:,} inputs")
            steps = len(sample.x) if len(sample.x) > 1 else session.time_steps
            # Count inputs twice, because they are concatenated to run.
            each = steps if session.task.combine == "each" else 1
            grow(2 * sample.x.nbytes + _answer_bytes(network, each, sample.placed))
            found.append(sample)
        return found


def _answer_bytes(network: Network, steps: int, placed: Placed | None = None) -> int:
    """Return how many bytes of memory a response for `steps` steps takes."""
    session = network.session
    if session.task.kind in MAP_TASKS:
        size = (placed or Placed.whole(session.input)).size
        return _ANSWER_BYTES + steps * _PIXEL_BYTES * math.prod(size)
    if session.task.kind == "detect":
        return _ANSWER_BYTES + steps * _BOX_BYTES * MOST_BOXES
    return _ANSWER_BYTES + _ANSWERED_NUMBER_BYTES * steps * max(2, len(session.labels))
