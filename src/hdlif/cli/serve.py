"""Implement `hdlif serve`, which serves predictions over HTTP."""

import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import click

from hdlif.cli.options import BYTES, Confidence, argument, option, subcommand
from hdlif.cli.output import say, show
from hdlif.errors import MissingExtraError

_LIMITS: dict[str, tuple[Any, str]] = {
    "latency_budget_ms": (float, "How long an input waits for others, in ms.  [default: 2]"),
    "max_batch": (int, "Maximum inputs per batch.  [default: 16]"),
    "max_body_bytes": (BYTES, "Maximum size of a request, such as 16777216 or 16M.  [default: 16M]"),
    "max_pixels": (int, "Maximum pixels per image.  [default: 2^25]"),
    "max_bytes": (BYTES, "Memory limit per run.  [default: 1G]"),
    "max_operations": (int, "Maximum multiplications and additions per run.  [default: 2^38]"),
    "max_streams": (int, "Maximum number of open streams; 0 disables streams.  [default: 4096]"),
    "max_stream_bytes": (BYTES, "Memory limit for open streams.  [default: 256M]"),
    "stream_idle_seconds": (float, "Time after which an unused stream is ended.  [default: 300]"),
    "max_old_bytes": (BYTES, "Memory limit for replaced networks that streams still use.  [default: 256M]"),
    "max_connections": (int, "[default: 2048]"),
    "receive_seconds": (float, "Time limit for receiving a request.  [default: 30]"),
    "send_seconds": (float, "How long a client may take to read a response.  [default: 30]"),
    "keep_alive_seconds": (float, "How long a connection may be idle.  [default: 30]"),
    "drain_seconds": (float, "How long requests are accepted after SIGTERM.  [default: 0]"),
    "shutdown_seconds": (float, "Time limit for requests in flight after that.  [default: 30]"),
}
"""Options that are fields of `hdlif.serve.Settings`, which defines their defaults."""


def serve(
    artefacts: Annotated[Sequence[str], argument(metavar="ARTEFACT...", nargs=-1, required=True)],
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, option(type=click.IntRange(0, 65535))] = 8000,
    confidence: Confidence = None,
    threads: int | None = None,
    as_json: bool = False,
    **limits: Any,
) -> None:
    """Serve predictions over HTTP for each ARTEFACT, given as PATH or NAME=PATH.

    `hdlif serve` needs the extra hdlif[serve]. See docs/how_to/serving.md for a description of the requests. On SIGTERM
    or Ctrl-C, the server completes requests in flight and then stops. On SIGHUP, the server reloads the model files
    without dropping requests.

    \b
      curl --data-binary @photo.png -H 'Content-Type: image/png' localhost:8000/v1/models/digits/predict

    Args:
        host: Address to listen on; 0.0.0.0 for all.
        port: Port to listen on; 0 for any free port.
        confidence: Early exit, as in `hdlif run`; a stream ends when a class reaches it.  [default: auto, if an
            ARTEFACT has one]
        threads: Threads of the runtime.  [default: the machine's cores]
    """
    try:
        from hdlif.serve.server import end_process
        from hdlif.serve.server import serve as listen
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name, "serve") from error
    from hdlif.serve import Settings

    limits |= {"threads": threads, "confidence": confidence}
    ended_by = listen(
        artefacts,
        host=host,
        port=port,
        settings=Settings(**{key: value for key, value in limits.items() if value is not None}),
        started=lambda found: show(found.as_dict(), as_json, lambda: str(found)),
        say=say,
    )
    if ended_by is None:
        return
    end_process(128 + ended_by)
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + ended_by)


COMMAND = subcommand(
    serve,
    ("hdlif serve digits.hdlif.safetensors", "on port 8000 of this machine"),
    ("hdlif serve mine=digits.hdlif.safetensors --port 0 --latency-budget-ms 5", "under another name, on a free port"),
    parameters=[option(type=kind, help=help).parameter(name, None) for name, (kind, help) in _LIMITS.items()],
)
