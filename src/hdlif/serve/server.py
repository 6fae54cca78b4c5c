"""Run the server process of `hdlif serve`, and manage its socket, signals and shutdown."""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from hdlif.errors import HdlifError, MachineError, reason, say_nothing
from hdlif.serve.app import THREADS, App, create_app
from hdlif.serve.models import Network, name_artefacts
from hdlif.serve.protocol import MOST_HEADER_BYTES, Protocol
from hdlif.serve.settings import Settings

_REFUSE_SECONDS = 1.0
"""Seconds at the end of a shutdown in which requests on open connections still get an error in JSON."""
_JOIN_SECONDS = 0.2
_SPARE_FILES = 64
"""Number of files that a server may open in addition to its connections."""


@dataclass(frozen=True)
class Started:
    """The address and the networks of a listening server."""

    address: str
    networks: tuple[Network, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the address and the networks as a JSON object."""
        models = [
            {"name": one.name, "path": str(one.path), "digest": one.digest, "weight_bytes": one.session.weight_bytes}
            for one in self.networks
        ]
        return {"address": self.address, "models": models}

    def __str__(self) -> str:
        lines = []
        for one in self.networks:
            shape = one.session.output_shape
            size, outputs = ("x".join(map(str, sides)) for sides in (one.session.input.shape, shape))
            steps = f"{one.session.time_steps} steps, {outputs} output{'s' * (math.prod(shape) != 1)}"
            lines.append(f"{one.name}: {one.path}, {one.kind} {size}, {steps}")
        first = self.networks[0].name
        return "\n".join([*lines, f"listening at {self.address}; try GET /v1/models/{first}, /openapi.json, /metrics"])


def serve(
    artefacts: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: Settings | None = None,
    started: Callable[[Started], None] = lambda started: None,
    say: Callable[[str], None] = say_nothing,
) -> signal.Signals | None:
    """Serve model files until a signal arrives, and return the signal.

    On SIGTERM or SIGINT, the server finishes the requests in flight before exiting; a second signal ends the server
    immediately. SIGHUP reloads all model files.

    Args:
        artefacts: paths of model files, or NAME=PATH.
        port: port to listen on; 0 for any free port.
        started: called when the server is listening.
        say: called with a line of text for each reload.
    Raises:
        ArtefactError, LimitError, AllocationError: a model file cannot be loaded.
        HdlifError: a name is invalid.
        MachineError: the server cannot listen at host and port.
    """
    app = create_app(name_artefacts(artefacts), settings)
    _allow_files(app.settings.max_connections + _SPARE_FILES)
    with _listen(host, port) as listener:
        server = _Server(app, lambda: started(Started(_address(listener), tuple(app.models))), say)
        asyncio.run(server.serve(sockets=[listener]))
    return server.ended_by


def end_process(code: int) -> None:
    """Exit the process if a network is still running, because the interpreter would otherwise wait for the network."""
    end = time.monotonic() + _JOIN_SECONDS
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Server(uvicorn.Server):
    """A uvicorn server that drains on exit, reloads model files on SIGHUP, and leaves the exit code to the caller."""

    def __init__(self, app: App, listening: Callable[[], None], say: Callable[[str], None]) -> None:
        class Bounded(Protocol):
            settings, metrics = app.settings, app.metrics

        super().__init__(
            uvicorn.Config(
                app,
                http=Bounded,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_keep_alive=math.ceil(app.settings.keep_alive_seconds),
                timeout_graceful_shutdown=math.ceil(app.settings.shutdown_seconds),
            )
        )
        self._app, self._listening, self._say = app, listening, say
        self._reloads: set[asyncio.Task[None]] = set()
        self.ended_by: signal.Signals | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # Exclude the loaded modules from garbage collection, which delays all requests.
            gc.collect()
            gc.freeze()
            self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Shells make background processes ignore SIGINT.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with super().capture_signals():
            if ignored:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            if hasattr(signal, "SIGHUP"):
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal, and cancel the requests in flight on the second signal."""
        if self.ended_by is None:
            self.ended_by, self.should_exit, self._app.draining = signal.Signals(sig), True, True
            return
        self.force_exit = True
        for task in tuple(self.server_state.tasks):
            task.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._wait(self._app.settings.drain_seconds)
        self._app.ending = True
        for server in self.servers:
            server.close()
        await self._wait(_REFUSE_SECONDS, until=lambda: not self.server_state.connections)
        await super().shutdown(sockets)
        if self.force_exit:
            # uvicorn omits this and then prints a traceback.
            await self.lifespan.shutdown()

    async def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.force_exit and not until():
            await asyncio.sleep(0.05)

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_all())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_all(self) -> None:
        for network in tuple(self._app.models):
            try:
                changed = await self._app.models.reload(network.name)
            except HdlifError as error:
                self._say(
                    f"{network.name}: not reloaded, the previous version stays in use: {type(error).__name__}: {error}"
                )
            else:
                self._say(f"{network.name}: {'reloaded' if changed else 'has not changed'}")


def _listen(host: str, port: int) -> socket.socket:
    try:
        # Specify the protocol: asyncio sends small responses immediately only on sockets that specify TCP.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        raise MachineError(
            f"{host}:{port}: cannot listen there ({reason(error)}); give another --port, or --host"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_files(count: int) -> None:
    """Raise the limit on open files to `count`, or to the machine's maximum if `count` is above it."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
