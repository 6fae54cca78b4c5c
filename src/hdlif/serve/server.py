"""The process of `hdlif serve`: listening, signals, the end."""

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
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from hdlif.errors import HdlifError, MachineError, reason
from hdlif.serve.app import THREADS, Server, create_app
from hdlif.serve.models import Network, named
from hdlif.serve.protocol import MOST_HEADER_BYTES, Bounded, protocol
from hdlif.serve.settings import Settings

MOST_TOKEN_BYTES = 4096
_BACKSTOP_SECONDS = 5
"""Behind the end of the requests' time, after which uvicorn cuts off what even then goes on."""
_LAST_SECONDS = 0.2
"""For which runs that are as good as over are waited for at the end."""
_SPARE_FILES = 64
"""Open files beside those of connections."""


@dataclass(frozen=True)
class Started:
    """What a server says of itself when it listens."""

    address: str
    networks: tuple[Network, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        models = [
            {"name": one.name, "path": str(one.path), "digest": one.digest, "weight_bytes": one.session.weight_bytes}
            for one in self.networks
        ]
        return {"address": self.address, "models": models}

    def __str__(self) -> str:
        lines = [f"{one.name}: {one.path}, {_takes(one)}" for one in self.networks]
        first = self.networks[0].name
        return "\n".join([*lines, f"listening at {self.address}; try GET /v1/models/{first}, /openapi.json, /metrics"])


def _takes(network: Network) -> str:
    record, labels = network.session.input, network.session.labels
    kind = "sound" if record.sound is not None else record.kind
    size = "x".join(map(str, record.shape))
    outputs = "output" if len(labels) == 1 else "outputs"
    return f"{kind} {size}, {network.session.time_steps} steps, {len(labels)} {outputs}"


def serve(
    artefacts: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: Settings | None = None,
    admin_token_file: Path | None = None,
    trusted_proxies: str | None = None,
    started: Callable[[Started], None] = lambda started: None,
    say: Callable[[str], None] = lambda line: None,
) -> signal.Signals | None:
    """Serve artefacts until a signal ends it; which one.

    SIGTERM and SIGINT end it when the requests in flight have been answered; the second one at once. SIGHUP loads all
    files again.

    Args:
        artefacts: paths, or NAME=PATH.
        port: 0 for any that is free.
        admin_token_file: holds the token that requests to reload a model must bear.
        trusted_proxies: addresses, separated by commas, whose X-Forwarded-For says who the client is.
        started: is told when the server listens.
        say: gets a line on each reload by signal.
    Raises:
        ArtefactError, LimitError, AllocationError: an artefact cannot be loaded.
        HdlifError: a name or the token cannot be used.
        MachineError: there is no listening at host and port.
    """
    settings = settings or Settings()
    token = None if admin_token_file is None else _token(admin_token_file)
    app = create_app(named(artefacts), settings, admin_token=token)
    _grant_files(settings, say)
    with _listening(host, port) as listener:
        shared: Server = app.state.server
        config = _config(app, shared, settings, trusted_proxies)
        server = _Uvicorn(config, shared, say, lambda: started(Started(_address(listener), tuple(shared.models))))
        asyncio.run(server.serve(sockets=[listener]))
    return server.ended_by


def end_process(code: int) -> None:
    """End the process where a network is still being run, for whose end the interpreter would wait."""
    end = time.monotonic() + _LAST_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(max(0.0, end - time.monotonic()))
    if any(thread.name.startswith(THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _config(app: FastAPI, shared: Server, settings: Settings, trusted_proxies: str | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol(settings, shared.metrics),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=trusted_proxies is not None,
        forwarded_allow_ips=trusted_proxies,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=max(1, round(settings.keep_alive_seconds)),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds) + _BACKSTOP_SECONDS,
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn with our signals: its own would end the process by the signal itself, before anything is flushed."""

    def __init__(
        self, config: uvicorn.Config, shared: Server, say: Callable[[str], None], listening: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._shared, self._say, self._listening = shared, say, listening
        self.ended_by: signal.Signals | None = None
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # What is loaded stays: collections, which hold all requests up, need not go through it again and again.
            gc.collect()
            gc.freeze()
            self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        # Whoever started the process may have SIGINT ignored, as shells do of what runs in the background.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        numbers = [signal.SIGTERM, *([] if ignored else [signal.SIGINT])]
        hang_up = getattr(signal, "SIGHUP", None)
        before = {number: signal.getsignal(number) for number in (*numbers, *([hang_up] if hang_up else []))}
        for number in numbers:
            loop.add_signal_handler(number, self._end, number)
        if hang_up:
            loop.add_signal_handler(hang_up, self._reload)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._shared.draining = self._shared.ending = True
        asyncio.get_running_loop().call_later(self._shared.settings.shutdown_seconds, self._give_up)
        await super().shutdown(sockets)

    def _give_up(self) -> None:
        """Refuse what has not been answered yet."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Bounded):
                connection.give_up()

    def _end(self, number: signal.Signals) -> None:
        if self.ended_by is not None:
            self.should_exit = True
            self._give_up()
            asyncio.get_running_loop().call_later(1, lambda: setattr(self, "force_exit", True))
            return
        self.ended_by = number
        self._shared.draining = True
        drain = self._shared.settings.drain_seconds
        asyncio.get_running_loop().call_later(drain, lambda: setattr(self, "should_exit", True))

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_all())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_all(self) -> None:
        for network in tuple(self._shared.models):
            try:
                changed = await self._shared.models.reload(network.name)
            except HdlifError as error:
                self._say(f"{network.name}: goes on as it was: {type(error).__name__}: {error}")
            else:
                self._say(f"{network.name}: {'loaded again' if changed else 'has not changed'}")


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise MachineError(f"{host}: is no address of this machine ({reason(error)}); give another --host") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except (OSError, OverflowError) as error:
            raise MachineError(
                f"{host}:{port}: cannot be listened at ({reason(error)}); give another --port, or --host"
            ) from error
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_TOKEN_BYTES + 1)
        token = content.decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise HdlifError(f"{path}: cannot be read as a token ({reason(error)}); write one of ASCII letters") from error
    if not 16 <= len(token) <= MOST_TOKEN_BYTES or not token.isprintable() or " " in token:
        raise HdlifError(f"{path}: a token has 16 to {MOST_TOKEN_BYTES} printable ASCII characters and no spaces")
    return token


def _grant_files(settings: Settings, say: Callable[[str], None]) -> None:
    """Have as many open files as there may be connections, as far as the machine grants them."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(granted, soft), hard))
        if granted < wanted:
            say(f"the machine grants {granted} open files, and max_connections = {settings.max_connections}")
