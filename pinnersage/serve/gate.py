"""Gate: what is too much, what every answer carries, and what is counted, before any route.

A request that is too large, comes while too many are under way, or would send a body without a key
is refused unread, with a status that says so; health, readiness and metrics answer even then.
"""

import asyncio
import logging
import time
from collections.abc import MutableMapping
from typing import Any

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinnersage.errors import PinnerSageError
from pinnersage.serve import access, metrics

log = logging.getLogger(__name__)

ALWAYS = ("/health", "/ready", "/metrics")
"""What a probe asks."""
MAX_QUERY_BYTES = 16_384
SECONDS = 10
"""For so long the next part of a body is waited for."""
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
        try:
            refusal = self._refusal(scope) or await self._stranger(scope)
            if refusal is not None:
                await refusal(scope, receive, seen)
            else:
                await self._let_through(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics.REQUESTS.labels(route, seen.status).inc()
            metrics.SECONDS.labels(route).observe(time.perf_counter() - began)

    async def _let_through(self, scope: Scope, receive: Receive, seen: "Answered") -> None:
        self._under_way += 1
        try:
            await self._app(scope, Bounded(receive, self._longest), seen)
        except Exception:
            log.exception("A request failed by a mistake of ours.")
            if seen.begun:  # nothing else can be said any more
                raise
            says = "A mistake of the service; its log says which."
            await JSONResponse({"error": says}, 500)(scope, receive, seen)
        finally:
            self._under_way -= 1

    async def _stranger(self, scope: Scope) -> JSONResponse | None:
        """Return the refusal of who would send a body and has no key: it is not waited for."""
        if scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            return None
        try:
            await run_in_threadpool(access.reads, Request(scope))
        except HTTPException as refusal:
            return JSONResponse({"error": refusal.detail}, refusal.status_code, refusal.headers)
        except PinnerSageError as error:
            log.error("Keys cannot be looked at: %s", error)  # noqa: TRY400 (it says where and why)
            return refused("keys", 503, "Keys cannot be looked at now; the service's log says why.")
        return None

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
        self._receive, self._most, self._read, self._whole = receive, most, 0, False

    async def __call__(self) -> Message:
        """Return the next part; once all is there, whether whoever asked has gone."""
        if self._whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), SECONDS)
        except TimeoutError as error:
            metrics.REFUSED.labels("slow body").inc()
            raise HTTPException(408, f"The body did not come within {SECONDS} s.") from error
        self._whole = not message.get("more_body", False)
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
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """Send the next part."""
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
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
