"""Reading the bodies of requests, within the memory and the time that they may take."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect

from hdlif.errors import HdlifError
from hdlif.runtime.inputs import Layout, read_inputs, read_steps
from hdlif.serve.bodies import Lent, Room, check_type, given, reading_bytes, received
from hdlif.serve.models import Network
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings

Inputs = list[tuple[str, NDArray[np.float32]]]
_SMALL_BODY = 2**14
"""Bytes of an array that takes less time to read than handing it to another thread does."""
_ANSWER_BYTES, _ANSWERED_NUMBER_BYTES = 768, 64
"""Of what is said of an input or a step, and of each number in it: as objects, and as text."""


class _Patience:
    """Whether reading a body goes on: its client is connected, and the time for it is not over.

    Attributes:
        gone: whether the client has left.
        late: whether the time was over when that was last asked.
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
        """Wait for the client of a request, whose body has been received, to leave."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True


class Reader:
    """Reads bodies.

    Args:
        threads: that read all but small arrays.
        room: memory for bodies, what they become, and answers.
    """

    def __init__(self, settings: Settings, room: Room, threads: Executor) -> None:
        self._settings, self._room, self._threads = settings, room, threads

    @contextlib.asynccontextmanager
    async def array(
        self, request: Request, network: Network, *, steps: bool, layout: Layout | None = None
    ) -> AsyncIterator[Inputs]:
        """What a request brings, as the network takes it, each input with its name.

        The memory of that, of reading it and of the answer is lent meanwhile.

        Args:
            steps: whether it brings the next steps of a stream, and no whole inputs.
            layout: of an array of whole inputs, as `read_inputs` takes it.
        """
        kind = check_type(request.headers.get("content-type"))
        read = self._steps if steps else partial(self._inputs, layout=layout)
        patience = _Patience(self._settings.read_seconds)
        with self._room.lent() as lent:
            content = await received(request.stream(), lent, self._settings.max_body_bytes)
            lent.grow(reading_bytes(content, kind, network.session.input.sound))

            def work() -> Inputs:
                patience.begin()
                return read(content, kind, network, lent, patience)

            if len(content) <= _SMALL_BODY and not kind.startswith(("image/", "audio/")):
                yield work()
            else:
                yield await self._elsewhere(work, request, patience)

    async def _elsewhere(self, work: Callable[[], Inputs], request: Request, patience: _Patience) -> Inputs:
        """Do the work on another thread, which ends it soon after the client has left or the time is over."""
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

    def _steps(self, content: bytes, kind: str, network: Network, lent: Lent, patience: _Patience) -> Inputs:
        session, most = network.session, self._settings.max_steps
        body = given(content, kind, self._settings.max_pixels, session.input.columns, lent.grow, patience.ended)
        x = read_steps(body, session.input, session.time_steps)
        if len(x) > most:
            raise Refusal("too_many_inputs", f"the body holds {len(x):,} steps, and at most {most:,} are taken")
        session.check_steps(len(x))
        lent.grow(x.nbytes + _answer_bytes(network, len(x), 1))
        return [(str(body), x)]

    def _inputs(
        self,
        content: bytes,
        kind: str,
        network: Network,
        lent: Lent,
        patience: _Patience,
        *,
        layout: Layout | None,
    ) -> Inputs:
        session, most = network.session, self._settings.max_inputs
        body = given(content, kind, self._settings.max_pixels, session.input.columns, lent.grow, patience.ended)
        found: Inputs = []
        for name, x in read_inputs(body, session.input, session.time_steps, layout):
            if patience.ended():
                raise patience.refusal()
            if len(found) == most:
                raise Refusal("too_many_inputs", f"the body holds more than {most:,} inputs")
            steps = len(x) if len(x) > 1 else session.time_steps
            # Twice: they are joined to run.
            lent.grow(2 * x.nbytes + _answer_bytes(network, 1, steps if session.task.combine == "each" else 1))
            found.append((name, x))
        return found


def _answer_bytes(network: Network, count: int, steps: int) -> int:
    """What `count` answers take that each say something of so many steps."""
    return count * (_ANSWER_BYTES + _ANSWERED_NUMBER_BYTES * steps * max(2, len(network.session.labels)))
