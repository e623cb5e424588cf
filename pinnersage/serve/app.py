"""App: the service, put together; answers to what goes wrong."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.status import HTTP_405_METHOD_NOT_ALLOWED

from pinnersage import config, retrieve
from pinnersage.config import Settings
from pinnersage.errors import PinnerSageError
from pinnersage.experiment.running import Running
from pinnersage.online.feedback import Flushing
from pinnersage.online.sources import open_sender
from pinnersage.serve import inbox, keys, metrics, orders, page, routes, run
from pinnersage.serve.gate import Gate
from pinnersage.serve.inbox import Inbox
from pinnersage.serve.keys import Doorkeeper
from pinnersage.serve.live import Live
from pinnersage.version import __version__

log = logging.getLogger(__name__)

ABOUT = """
What [PinnerSage](https://arxiv.org/abs/2007.03634) knows of users and pins, from the release that
is live. Every request shows a key: `Authorization: Bearer KEY`.
"""


def make_app(settings: Settings, clock: Callable[[], datetime]) -> FastAPI:
    """Return the service of a home; it opens the live release when it starts.

    Parameters
    ----------
    settings : Settings
    clock : callable
        The time now, with a zone: for a release's age, and for what stands beside an order.
    """
    app = FastAPI(
        title="PinnerSage",
        version=__version__,
        description=ABOUT.strip(),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.settings, app.state.clock = settings, clock
    app.state.max_batch = settings.service.max_batch
    app.state.doorkeeper = (
        Doorkeeper(keys.record_of(settings)) if settings.service.authentication else None
    )
    for router in (routes.router, inbox.router, routes.probes, orders.router, page.router):
        app.include_router(router)
    app.add_middleware(
        Gate,
        max_requests=settings.service.max_requests,
        max_body_bytes=settings.service.max_body_kb * 1024,
    )
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(PinnerSageError, failed)
    return app


def from_environment() -> FastAPI:
    """Return the service of the home that ``PINNERSAGE_HOME`` names: what a worker calls."""
    run.end_with_supervisor()
    return make_app(config.load(), now)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what is live, and close it after the last request."""
    settings: Settings = app.state.settings
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.service.threads
    app.state.orders = CapacityLimiter(1)
    context = retrieve.open_context(settings)
    app.state.live = Live(settings, context)
    sender = None if settings.online.source == "http" else open_sender(settings)
    app.state.inbox = Inbox(settings, app.state.live, sender)
    app.state.experiment = running(settings)
    # Where consumers take the events, they see to feedback as well.
    flushing = Flushing(context.latest.states(), settings) if sender is None else None
    try:
        if flushing is not None:
            flushing.start()
        await anyio.to_thread.run_sync(app.state.live.start)
        yield
    finally:
        if app.state.experiment is not None:
            await anyio.to_thread.run_sync(app.state.experiment.close)
        await anyio.to_thread.run_sync(app.state.live.close)
        if flushing is not None:
            await anyio.to_thread.run_sync(flushing.close)
        if sender is not None:
            sender.close()
        context.latest.close()


def running(settings: Settings) -> Running | None:
    """Return the experiment that the settings name, begun; None where they name none."""
    if not settings.experiment.name:
        return None
    experiment = Running(settings, metrics.EXPOSURES.inc, metrics.EXPOSURES_LOST.inc)
    experiment.start()
    return experiment


def invalid(_request: Request, error: Exception) -> JSONResponse:
    """Answer a question that breaks a rule: which value, and which rule."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for it)
    says = "; ".join(f"{place(item['loc'])}: {item['msg']}" for item in error.errors()[:5])
    return JSONResponse({"error": printable(says)}, 422)


def refused(request: Request, error: Exception) -> JSONResponse:
    """Answer what has a status of its own."""
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for it)
    headers = dict(error.headers or {})
    if error.status_code == HTTP_405_METHOD_NOT_ALLOWED:
        headers["Allow"] = allowed(request)
    return JSONResponse({"error": printable(error.detail)}, error.status_code, headers)


def allowed(request: Request) -> str:
    """Return the methods of all routes of a path; the framework names those of the first alone."""
    routes = (route for route in request.app.routes if route.path == request.url.path)
    return ", ".join(sorted(set().union(*(route.methods or () for route in routes))))


def place(loc: Sequence[int | str]) -> str:
    """Return where in a question a value stands."""
    where, *rest = loc
    if where == "body" and len(rest) == 1 and isinstance(rest[0], int):
        return f"the body at {rest[0]}"
    return ".".join(map(str, rest)) or f"the {where}"


def failed(_request: Request, error: Exception) -> JSONResponse:
    """Answer what our own code refuses; what it says is for the operator's log alone."""
    log.error("A request failed: %s", error)
    return JSONResponse(
        {"error": "This cannot be answered now; the service's log says why. Try again later."},
        503,
        {"Retry-After": "5"},
    )


def printable(text: str) -> str:
    """Return a text that can be sent, whatever was in the question it repeats."""
    return text.encode(errors="backslashreplace").decode()
