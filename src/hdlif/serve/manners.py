"""Around all routes: what each request took is told to Prometheus, and who asks too often is refused."""

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import JSON_TYPE, Refusal
from hdlif.serve.settings import Settings

MOST_ADDRESSES = 10_000
"""Whose requests are counted; of more, those that asked last."""
_FREE = ("/healthz", "/readyz", "/metrics")
"""What whoever watches over the server asks for, as often as it likes."""


class Rate:
    """Tokens of each address: `rate` come a second, up to twice as many, and a request takes one."""

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._now = rate, max(1.0, 2 * rate), now
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """0 where an address may ask now; else the seconds after which it may."""
        now = self._now()
        tokens, since = self._known.pop(address, (self._most, now))
        tokens = min(self._most, tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._known[address] = (tokens - allowed, now)
        if len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate


class Manners:
    """An ASGI middleware.

    Args:
        draining: whether connections end with their next answer.
        ending: whether no further request is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        draining: Callable[[], bool],
        ending: Callable[[], bool],
    ) -> None:
        self._app, self._metrics, self._draining, self._ending = app, metrics, draining, ending
        rate = settings.requests_per_second
        self._rate = None if rate is None else Rate(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._draining():
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            if self._ending():
                # Closed on unread bytes, the connection would be reset before the client has read the answer.
                while (await receive()).get("more_body", False):
                    pass
                await self._refuse(Refusal("draining", "the server is ending"), counted)
            elif (refusal := self._refusal(scope)) is None:
                await self._app(scope, receive, counted)
            else:
                await self._refuse(refusal, counted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - begin)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if self._rate is None or scope["path"] in _FREE:
            return None
        address = (scope.get("client") or ("", 0))[0]
        wait = self._rate.wait(address)
        if not wait:
            return None
        return Refusal("too_many_requests", "this address asks too often", {"Retry-After": str(int(wait) + 1)})

    async def _refuse(self, refusal: Refusal, send: Send) -> None:
        self._metrics.refused(refusal.code)
        body = refusal.as_bytes()
        headers = {"content-type": JSON_TYPE.decode(), "content-length": str(len(body))}
        pairs = [(name.lower().encode(), value.encode()) for name, value in (headers | refusal.headers).items()]
        await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})
