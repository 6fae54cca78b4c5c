"""The ASGI application: its routes, and what they answer."""

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from hdlif.errors import HdlifError, brief
from hdlif.runtime.answers import Answer
from hdlif.runtime.inputs import Layout
from hdlif.runtime.session import available_cores
from hdlif.serve.batching import to_its_end
from hdlif.serve.bodies import JSON, STATE, Room, media_type, received
from hdlif.serve.manners import Manners
from hdlif.serve.metrics import CONTENT_TYPE, Metrics
from hdlif.serve.models import Models
from hdlif.serve.reading import Reader
from hdlif.serve.refusals import Refusal, refusal_of
from hdlif.serve.schemas import (
    INPUT_BODY,
    STATE_ANSWER,
    STATE_BODY,
    STREAM_LINKS,
    TEXT_ANSWER,
    Answers,
    Health,
    Model,
    ModelList,
    Reloaded,
    StepAnswers,
    StreamRecord,
    refusals,
    with_names,
)
from hdlif.serve.settings import Settings
from hdlif.serve.streams import Stream, Streams

LOG = logging.getLogger("hdlif.serve")
THREADS = "hdlif-"
"""What the names of a server's threads begin with."""
_SWEEP_SECONDS = 5.0
_ALWAYS = ("too_slow", "too_many_requests", "internal", "overloaded", "draining")
_INPUT = (
    *("bad_parameter", "bad_json", "body_too_large", "unknown_content_type", "input_refused", "image_too_large"),
    *("too_much_work", "answer_not_finite", "no_memory", *_ALWAYS),
)


class Server:
    """What the routes of one application share.

    Attributes:
        draining: whether `/readyz` says no, for the server is about to end; each answer closes its connection.
        ending: whether further requests are refused.
    """

    def __init__(self, artefacts: Mapping[str, Path], settings: Settings, token: str | None) -> None:
        self.settings, self.token = settings, token
        self.metrics = Metrics()
        cores = available_cores()
        self.runs = ThreadPoolExecutor(max(2, cores), f"{THREADS}run")
        self.reads = ThreadPoolExecutor(max(1, cores), f"{THREADS}read")
        self.models = Models(artefacts, settings, self.runs, self.metrics)
        self.streams = Streams(settings, self.metrics)
        self.room = Room(settings.max_bodies_bytes)
        self.reader = Reader(settings, self.room, self.reads)
        self.draining = self.ending = False
        self.metrics.gauge("hdlif_streams", "Streams that are open.", lambda: len(self.streams))
        self.metrics.gauge("hdlif_stream_bytes", "Bytes that open streams hold.", lambda: self.streams.bytes)
        self.metrics.gauge(
            "hdlif_body_bytes", "Bytes of requests at work: bodies, inputs, answers.", lambda: self.room.held
        )
        self.metrics.gauge(
            "hdlif_old_networks", "Networks that were exchanged and are in use.", lambda: len(self.models.old)
        )
        self.metrics.gauge("hdlif_old_network_bytes", "Bytes that these hold.", lambda: self.models.old_bytes)
        self.metrics.gauge("hdlif_ready", "Whether new requests are welcome.", lambda: not self.draining)

    def close(self) -> None:
        """End the threads."""
        self.runs.shutdown(wait=False, cancel_futures=True)
        self.reads.shutdown(wait=False, cancel_futures=True)


def create_app(
    artefacts: Mapping[str, Path], settings: Settings | None = None, *, admin_token: str | None = None
) -> FastAPI:
    """An application that serves the artefacts, by their names.

    It is stateless but for streams. `app.state.server` is its `Server`.

    Args:
        admin_token: that requests to reload a model must bear; without one there is no such route.
    Raises:
        ArtefactError, LimitError, AllocationError: an artefact cannot be loaded.
    """
    server = Server(artefacts, settings or Settings(), admin_token)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.get_running_loop().create_task(_sweep(server.streams))
        try:
            yield
        finally:
            sweeper.cancel()
            server.close()

    app = FastAPI(
        title="hdlif serve",
        version="1",
        summary="Spiking networks behind HTTP: whole inputs, and streams whose state lives on the server.",
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
    )
    app.state.server = server
    described = app.openapi

    def with_models() -> dict[str, Any]:
        return with_names(described(), [network.name for network in server.models])

    app.openapi = with_models  # type: ignore[method-assign]
    _add_routes(app, server)
    app.add_middleware(
        Manners,
        settings=server.settings,
        metrics=server.metrics,
        draining=lambda: server.draining,
        ending=lambda: server.ending,
    )
    _answer_errors(app, server.metrics)
    return app


async def _sweep(streams: Streams) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        streams.end_idle()


def _add_routes(app: FastAPI, server: Server) -> None:
    _of_server(app, server)
    _of_models(app, server)
    if server.settings.max_streams:
        _of_streams(app, server)
    if server.token is not None:
        _of_admin(app, server)


def _of_server(app: FastAPI, server: Server) -> None:
    @app.get("/healthz", response_model=Health, responses=refusals(_ALWAYS))
    async def health() -> Response:
        """That the server is there."""
        return _json({"status": "ok"})

    @app.get("/readyz", response_model=Health, responses=refusals(_ALWAYS))
    async def ready() -> Response:
        """That the server takes requests: all models are loaded, and it is not about to end."""
        if server.draining:
            raise Refusal("draining", "the server is ending")
        return _json({"status": "ready"})

    @app.get("/metrics", response_class=Response, responses={**TEXT_ANSWER, **refusals(_ALWAYS)})
    async def metrics() -> Response:
        """What Prometheus collects."""
        return Response(server.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _of_models(app: FastAPI, server: Server) -> None:
    @app.get("/v1/models", response_model=ModelList, responses=refusals(_ALWAYS))
    async def models() -> Response:
        """The models, and what each takes."""
        return _json({"models": [network.as_dict() for network in server.models]})

    @app.get("/v1/models/{model}", response_model=Model, responses=refusals(["unknown_model", *_ALWAYS]))
    async def model(model: str) -> Response:
        """What a model is and takes."""
        return _json(server.models[model].as_dict())

    @app.post(
        "/v1/models/{model}/predict",
        response_model=Answers,
        response_model_exclude_unset=True,
        openapi_extra=INPUT_BODY,
        responses=refusals(["unknown_model", "too_many_inputs", *_INPUT]),
    )
    async def predict(
        model: str,
        request: Request,
        layout: Annotated[
            Layout | None,
            Query(
                description="of an array [A, C, H, W]: A samples (batch), or one of A time steps (sequence); by "
                "default a batch for a network of images, a sequence for one whose input changes in time"
            ),
        ] = None,
    ) -> Response:
        """What a model says of an image, an array, a series, a sound or a table, as `hdlif run --json` has it."""
        network = server.models[model]
        async with server.reader.array(request, network, steps=False, layout=layout) as inputs:
            x = np.concatenate([one for _, one in inputs], axis=1)
            said = await network.answered(x)
        answered = [{"input": name, **one} for (name, _), one in zip(inputs, said, strict=True) if one is not None]
        failed = [f"{name}: {_NOT_FINITE}" for (name, _), one in zip(inputs, said, strict=True) if one is None]
        if not answered:
            raise Refusal("answer_not_finite", failed[0])
        return _json({"inputs": answered, **({"failed": failed} if failed else {})})


_NOT_FINITE = "its values are so large that the network's answer is not finite"


def _of_streams(app: FastAPI, server: Server) -> None:
    streams = server.streams

    @app.post(
        "/v1/models/{model}/streams",
        status_code=201,
        response_model=StreamRecord,
        openapi_extra=STATE_BODY,
        responses={
            201: {"links": STREAM_LINKS},
            **refusals(
                [
                    *("unknown_model", "body_too_large", "unknown_content_type", "state_refused", "too_much_work"),
                    *("streams_full", "no_memory", *_ALWAYS),
                ]
            ),
        },
    )
    async def begin(model: str, request: Request) -> Response:
        """Begin a stream; with an exported state as the body, go on from it."""
        network = server.models[model]
        with server.room.lent() as lent:
            content = await received(request.stream(), lent, server.settings.max_body_bytes)
            if content:
                kind = media_type(request.headers.get("content-type"))
                if kind != STATE:
                    raise Refusal(
                        "unknown_content_type", f"Content-Type is {brief(kind)}; accepted is {STATE}, or an empty body"
                    )
            stream = streams.begin(network, content or None)
        record = _record(stream, server.settings)
        return _json(record, 201, {"Location": f"/v1/streams/{stream.id}"})

    @app.get("/v1/streams/{stream}", response_model=StreamRecord, responses=refusals(_OF_STREAM))
    async def stream(stream: str) -> Response:
        """Where a stream is."""
        async with streams.in_turn(stream) as found:
            return _json(_record(found, server.settings))

    @app.delete("/v1/streams/{stream}", status_code=204, response_class=Response, responses=refusals(_OF_STREAM))
    async def end(stream: str) -> Response:
        """End a stream."""
        async with streams.in_turn(stream) as found:
            streams.end(found)
        return Response(status_code=204)

    @app.post(
        "/v1/streams/{stream}/steps",
        response_model=StepAnswers,
        response_model_exclude_unset=True,
        openapi_extra=INPUT_BODY,
        responses=refusals(["unknown_stream", "wrong_step", "too_many_inputs", *_INPUT]),
    )
    async def steps(
        stream: str,
        request: Request,
        t: Annotated[
            int | None,
            Query(ge=0, lt=2**62, description="the steps that the stream has seen so far: others are refused"),
        ] = None,
    ) -> Response:
        """Show a stream its next steps; what is said after each. Requests of a stream are run in turn."""
        with streams.kept(stream) as kept:
            network = kept.network
            async with server.reader.array(request, network, steps=True) as ((_, x),), streams.in_turn(stream) as found:
                before = found.sequence.t
                if t is not None and t != before:
                    raise Refusal("wrong_step", f"the stream has seen {before} steps, and t is {t}")
                # A request that is given up keeps its turn until its steps have been run.
                said = await to_its_end(network.advanced(found.sequence, x))
                return _json({"stream": stream, "t": found.sequence.t, "answers": _numbered(said, before)})

    @app.get("/v1/streams/{stream}/state", response_class=Response, responses={**STATE_ANSWER, **refusals(_OF_STREAM)})
    async def state(stream: str) -> Response:
        """All that a stream holds, to go on from on any server that has the same model."""
        async with streams.in_turn(stream) as found:
            return Response(found.sequence.to_bytes(), media_type=STATE)


_OF_STREAM = ("unknown_stream", *_ALWAYS)


def _of_admin(app: FastAPI, server: Server) -> None:
    @app.post(
        "/v1/models/{model}/reload",
        response_model=Reloaded,
        responses=refusals(
            [
                *("unauthorised", "unknown_model", "artefact_refused", "too_much_work", "networks_full", "no_memory"),
                *_ALWAYS,
            ]
        ),
    )
    async def reload(model: str, authorization: Annotated[str, Header()] = "") -> Response:
        """Load a model's file again. Requests that have begun end on what was loaded, and so do streams."""
        expected = f"Bearer {server.token}".encode()
        if not hmac.compare_digest(authorization.encode(), expected):
            raise Refusal("unauthorised", "the token is not the server's", {"WWW-Authenticate": "Bearer"})
        changed = await server.models.reload(model)
        return _json({"name": model, "digest": server.models[model].digest, "changed": changed})


def _numbered(said: list[Answer | None], before: int) -> list[dict[str, Any]]:
    return [{"t": before + number, **(one or {})} for number, one in enumerate(said, 1)]


def _record(stream: Stream, settings: Settings) -> dict[str, Any]:
    return {
        "stream": stream.id,
        "model": stream.network.name,
        "digest": stream.network.digest,
        "t": stream.sequence.t,
        "bytes": stream.bytes,
        "idle_seconds": settings.stream_idle_seconds,
    }


def _json(content: Mapping[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content).encode(), status, headers, media_type=JSON)


def _methods(app: FastAPI, request: Request) -> list[str]:
    """What the path of a request takes; Starlette names the methods of one route alone."""
    found: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] != Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


def _answer_errors(app: FastAPI, metrics: Metrics) -> None:
    def answered(refusal: Refusal) -> Response:
        metrics.refused(refusal.code)
        return Response(refusal.as_bytes(), refusal.status, refusal.headers, media_type=JSON)

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return answered(error)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: Exception) -> Response:
        # Nobody reads it.
        return Response(status_code=400)

    @app.exception_handler(HdlifError)
    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, HdlifError)
        refusal = refusal_of(error)
        if refusal.status >= 500:
            LOG.error("a request failed: %s: %s", type(error).__name__, error)
        return answered(refusal)

    @app.exception_handler(MemoryError)
    async def memory(_: Request, error: Exception) -> Response:
        LOG.error("a request failed: the machine does not grant the memory that it takes")
        return answered(Refusal("no_memory", "the machine does not grant the memory that this takes"))

    @app.exception_handler(RequestValidationError)
    async def parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = error.errors()[0]
        where = ".".join(str(part) for part in said["loc"][1:])
        return answered(Refusal("bad_parameter", f"{where}: {said['msg']}"))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers = {"Allow": ", ".join(_methods(app, request))}
            return answered(Refusal("method_not_allowed", f"{brief(request.method)} is not for this path", headers))
        if error.status_code == 404:
            return answered(Refusal("unknown_path", f"there is nothing at {brief(request.url.path)}"))
        return answered(Refusal("bad_request", str(error.detail), headers))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return answered(Refusal("internal", "the server failed"))
