"""Gate: what is too much, what every answer carries, and what is counted, before any route.

A request that is too large or comes while too many are under way is refused unread, with a status
that says so; health, readiness and metrics answer even then.
"""

import time
from collections.abc import MutableMapping
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinnersage.serve import metrics

ALWAYS = ("/health", "/ready", "/metrics")
"""What a probe asks."""
MAX_QUERY_BYTES = 16_384
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' http: https: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", "; ".join(POLICY).encode()),
]


class Gate:
    """ASGI middleware around the whole service.

    Parameters
    ----------
    app : ASGIApp
    max_requests : int
        Most requests under way at once.
    max_body_bytes : int
        Longest body of a request.
    """

    def __init__(self, app: ASGIApp, *, max_requests: int, max_body_bytes: int) -> None:
        self._app, self._most, self._longest = app, max_requests, max_body_bytes
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, seen = time.perf_counter(), Answered(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, seen)
        else:
            self._under_way += 1
            try:
                await self._app(scope, Bounded(receive, self._longest), seen)
            finally:
                self._under_way -= 1
        route = getattr(scope.get("route"), "path", "none")
        metrics.REQUESTS.labels(route, seen.status).inc()
        metrics.SECONDS.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: MutableMapping[str, Any]) -> JSONResponse | None:
        if scope["path"] in ALWAYS:
            return None
        if self._under_way >= self._most:
            says = f"{self._most} requests are under way, which is the limit. Try again shortly."
            return refused("too many", 503, says, {"Retry-After": "1"})
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            says = f"The query is longer than {MAX_QUERY_BYTES:,} bytes. Use the POST of this path."
            return refused("long query", 414, says)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._longest:
            return refused("large body", 413, too_large(self._longest))
        return None


class Bounded:
    """A request's body, up to a limit, also where no length was announced."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._read = receive, most, 0

    async def __call__(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            metrics.REFUSED.labels("large body").inc()
            raise HTTPException(413, too_large(self._most))
        return message


class Answered:
    """Where an answer goes, with our headers; remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Send the next part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await self._send(message)


def refused(
    why: str, status: int, says: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the answer to a request that was not read."""
    metrics.REFUSED.labels(why).inc()
    return JSONResponse({"error": says}, status, headers)


def too_large(most: int) -> str:
    """Say what the limit is."""
    return f"The body is larger than {most:,} bytes. Ask in smaller batches."
