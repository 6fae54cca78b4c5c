"""The ASGI application, with its routes, OpenAPI description and JSON errors."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from hdlif.errors import brief
from hdlif.runtime.inputs import Layout
from hdlif.runtime.limits import available_cores
from hdlif.serve.metrics import CONTENT_TYPE, Metrics
from hdlif.serve.models import Models
from hdlif.serve.reading import TYPES, Reader, Room, media_type, receive_body
from hdlif.serve.refusals import JSON, KINDS, Refusal, refuse
from hdlif.serve.settings import Settings
from hdlif.serve.streams import Streams

_ALWAYS = ("too_slow", "too_many_requests", "internal", "overloaded", "draining")
"""Error codes that every route can return."""


def describe(models: Sequence[str], *, streams: bool) -> dict[str, Any]:
    """Return the OpenAPI description: openapi.json plus the error responses, content types and model names."""
    document: dict[str, Any] = json.loads(files("hdlif.serve").joinpath("openapi.json").read_bytes())
    components = document["components"]
    components["parameters"]["model"]["schema"]["enum"] = list(models)
    components["schemas"]["Error"]["properties"]["code"]["enum"] = sorted(KINDS)
    binary = {"schema": {"type": "string", "format": "binary"}}
    components["requestBodies"]["Input"]["content"].update(dict.fromkeys(TYPES, binary))
    document["paths"] = {path: one for path, one in document["paths"].items() if streams or "stream" not in path}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].update(_describe_refusals((*operation.pop("refusals"), *_ALWAYS)))
    return document


def _describe_refusals(codes: Sequence[str]) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(KINDS[code][0]), []).append(f"`{code}`")
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {status: {"description": ", ".join(names), "content": {JSON: schema}} for status, names in by_status.items()}


THREADS = "hdlif-"
"""Prefix of the names of a server's threads."""
STATE = "application/vnd.hdlif.state"
_SWEEP_SECONDS = 5.0
_NOT_FINITE = "its values are so large that the network's output is not finite"
Handler = Callable[[Request], Awaitable[Response]]


class App:
    """An ASGI application that serves model files. Between requests, the application stores only streams.

    Attributes:
        routes: the routes, which Ray uses to name its metrics.
        draining: whether `/readyz` reports 503 and each response closes its connection.
        ending: whether further requests are rejected.
    """

    def __init__(self, artefacts: Mapping[str, Path], settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        cores = available_cores()
        self._runs = ThreadPoolExecutor(max(2, cores), f"{THREADS}run")
        self._reads = ThreadPoolExecutor(max(1, cores), f"{THREADS}read")
        self.models = Models(artefacts, settings, self._runs, self.metrics)
        self.streams = Streams(settings, self.metrics)
        self.room = Room(settings.max_bodies_bytes)
        self._reader = Reader(settings, self.room, self._reads)
        self.routes = self._make_routes()
        self._router = Router(self.routes, default=_refuse_path, lifespan=self._lifespan)
        self.draining = self.ending = False
        for name, what, value in (
            ("streams", "Open streams.", lambda: len(self.streams)),
            ("stream_bytes", "Bytes of memory of open streams.", lambda: self.streams.bytes),
            (
                "body_bytes",
                "Bytes of memory of requests in progress: bodies, inputs and responses.",
                lambda: self.room.held,
            ),
            ("old_networks", "Replaced networks that are still in use.", lambda: len(self.models.old)),
            (
                "old_network_bytes",
                "Bytes of memory of replaced networks that are still in use.",
                lambda: self.models.old_bytes,
            ),
            ("ready", "Whether the server accepts new requests.", lambda: not self.draining),
        ):
            self.metrics.add_gauge(name, what, value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request and respond to it; if it is rejected, respond with a JSON error."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._check(scope, receive)
            await self._router(scope, receive, send_counted)
        except ClientDisconnect:
            pass
        except (Exception, asyncio.CancelledError) as error:
            # Only a server that is shutting down cancels a request while the client is waiting.
            if status or (isinstance(error, asyncio.CancelledError) and not self.draining):
                raise
            refusal = refuse(error)
            self.metrics.refused.labels(refusal.code).inc()
            await send_counted({"type": "http.response.start", "status": refusal.status, "headers": refusal.headers})
            await send_counted({"type": "http.response.body", "body": refusal.body})
        finally:
            route = scope.get("template", "none")
            self.metrics.count_request(scope["method"], route, status, time.perf_counter() - begin)

    async def _check(self, scope: Scope, receive: Receive) -> None:
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            raise Refusal(
                "bad_request", "the request has both Content-Length and Transfer-Encoding", {"Connection": "close"}
            )
        if self.ending:
            # If the connection closed with unread bytes, the client might not receive the response.
            while (await receive()).get("more_body", False):
                pass
            raise Refusal("draining", "the server is shutting down")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(_SWEEP_SECONDS)
                self.streams.end_idle()

        sweeper = asyncio.get_running_loop().create_task(sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            self.close()

    def close(self) -> None:
        """Stop the threads."""
        self._runs.shutdown(wait=False, cancel_futures=True)
        self._reads.shutdown(wait=False, cancel_futures=True)

    def _make_routes(self) -> list[Route]:
        paths: dict[str, dict[str, Handler]] = {
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/v1/models": {"GET": self._models},
            "/v1/models/{model}": {"GET": self._model},
            "/v1/models/{model}/predict": {"POST": self._predict},
        }
        if self.settings.max_streams:
            paths |= {
                "/v1/models/{model}/streams": {"POST": self._begin},
                "/v1/streams/{stream}": {"GET": self._stream, "DELETE": self._end},
                "/v1/streams/{stream}/steps": {"POST": self._steps},
                "/v1/streams/{stream}/state": {"GET": self._state},
            }
        return [Route(path, _Path(path, handlers)) for path, handlers in paths.items()]

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        if self.draining:
            raise Refusal("draining", "the server is shutting down")
        return _json({"status": "ready"})

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.as_text(), headers={"content-type": CONTENT_TYPE})

    async def _openapi(self, _: Request) -> Response:
        names = [network.name for network in self.models]
        return _json(describe(names, streams=bool(self.settings.max_streams)))

    async def _models(self, _: Request) -> Response:
        return _json({"models": [network.describe() for network in self.models]})

    async def _model(self, request: Request) -> Response:
        return _json(self.models[request.path_params["model"]].describe())

    async def _predict(self, request: Request) -> Response:
        network = self.models[request.path_params["model"]]
        layout: Any = request.query_params.get("layout")
        if layout is not None and layout not in get_args(Layout):
            accepted = ", ".join(get_args(Layout))
            raise Refusal("bad_parameter", f"layout is {brief(layout)}; accepted are {accepted}")
        async with self._reader.read(request, network, steps=False, layout=layout) as inputs:
            answers = await network.predict(
                np.concatenate([one.x for one in inputs], axis=1), [one.placed for one in inputs]
            )
        names = [one.name for one in inputs]
        answered = [{"input": name, **one} for name, one in zip(names, answers, strict=True) if one is not None]
        failed = [f"{name}: {_NOT_FINITE}" for name, one in zip(names, answers, strict=True) if one is None]
        if not answered:
            raise Refusal("answer_not_finite", failed[0])
        return _json({"inputs": answered, **({"failed": failed} if failed else {})})

    async def _begin(self, request: Request) -> Response:
        network = self.models[request.path_params["model"]]
        with self.room.lend() as grow:
            content = await receive_body(request, grow, self.settings.max_body_bytes)
            kind = media_type(request)
            if content and kind != STATE:
                raise Refusal(
                    "unknown_content_type", f"Content-Type is {brief(kind)}; accepted is {STATE}, or an empty body"
                )
            stream = self.streams.begin(network, content or None)
        return _json(self.streams.describe(stream), 201, {"Location": f"/v1/streams/{stream.id}"})

    async def _stream(self, request: Request) -> Response:
        async with self.streams.turn(request.path_params["stream"]) as stream:
            return _json(self.streams.describe(stream))

    async def _end(self, request: Request) -> Response:
        async with self.streams.turn(request.path_params["stream"]) as stream:
            self.streams.end(stream)
        return Response(status_code=204)

    async def _steps(self, request: Request) -> Response:
        id, expected = request.path_params["stream"], _read_step(request.query_params.get("t"))

        async def advance(x: Any) -> Response:
            async with self.streams.turn(id) as stream:
                before = stream.sequence.t
                if expected is not None and expected != before:
                    raise Refusal("wrong_step", f"the stream has received {before} steps, but t is {expected}")
                if stream.sequence.is_sure:
                    raise Refusal(
                        "already_sure", f"the stream reached its confidence at step {before}, and takes no more steps"
                    )
                answers = await stream.network.advance(stream.sequence, x)
                numbered = [{"t": t, **(one or {})} for t, one in enumerate(answers, before + 1)]
                state = {"t": stream.sequence.t, "sure": stream.sequence.is_sure}
                return _json({"stream": id, **state, "answers": numbered})

        with self.streams.use(id) as stream:
            async with self._reader.read(request, stream.network, steps=True) as ((_, x, _),):
                # A cancelled request keeps the stream locked until its steps have run.
                return await asyncio.shield(advance(x))

    async def _state(self, request: Request) -> Response:
        async with self.streams.turn(request.path_params["stream"]) as stream:
            return Response(stream.sequence.to_bytes(), media_type=STATE)


def create_app(artefacts: Mapping[str, Path], settings: Settings | None = None) -> App:
    """Return an ASGI application that serves model files under the given names.

    Raises:
        ArtefactError, LimitError, AllocationError: a model file cannot be loaded.
    """
    return App(artefacts, settings or Settings())


@dataclass(frozen=True)
class _Path:
    """The handlers for one path, keyed by HTTP method."""

    template: str
    handlers: Mapping[str, Handler]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["template"] = self.template
        handler = self.handlers.get(scope["method"])
        if handler is None:
            allowed = {"Allow": ", ".join(sorted(self.handlers))}
            raise Refusal("method_not_allowed", f"{brief(scope['method'])} is not for this path", allowed)
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)


async def _refuse_path(scope: Scope, receive: Receive, send: Send) -> None:
    raise Refusal("unknown_path", f"there is nothing at {brief(scope['path'])}")


def _read_step(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**62):
        raise Refusal("bad_parameter", f"t is {brief(text)}; give the number of steps that the stream has received")
    return int(text)


def _json(content: Mapping[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content).encode(), status, headers, media_type=JSON)
