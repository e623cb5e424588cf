"""Orders: what changes something, behind a stronger key; on record with the key's name."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar, cast

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Request

from pinnersage import erase, takedown
from pinnersage.config import Settings
from pinnersage.errors import RefusedError
from pinnersage.serve import answers
from pinnersage.serve.access import orders
from pinnersage.serve.keys import Key

Done = TypeVar("Done")
router = APIRouter(prefix="/v1", tags=["orders"])
By = Annotated[Key, Depends(orders)]
refusals = answers.problems(400, 403, 408, 409, 413, 422)


@router.post("/block", responses=refusals)
async def block(asked: answers.AboutPin, request: Request, by: By) -> answers.Ordered:
    """Take a pin down: within 5 seconds no process shows it, and no later index has it."""
    return await alone(request, _about_pin, "block", asked, request, by)


@router.post("/unblock", responses=refusals)
async def unblock(asked: answers.AboutPin, request: Request, by: By) -> answers.Ordered:
    """Let a pin that was taken down be shown again."""
    return await alone(request, _about_pin, "unblock", asked, request, by)


@router.post("/erase", responses=refusals)
async def erase_user(asked: answers.AboutUser, request: Request, by: By) -> answers.Erased:
    """Erase a user for good: unknown within 5 seconds; answered when lake and stores have nothing.

    If the connection is lost the work goes on; the same order again says when it was done.
    """
    return await alone(request, _erase, asked, request, by)


async def alone(request: Request, order: Callable[..., Done], *arguments: object) -> Done:
    """Carry out one order at a time, on a thread that answers to questions do not wait for."""
    return await run_sync(order, *arguments, limiter=request.app.state.orders)


def _erase(asked: answers.AboutUser, request: Request, by: Key) -> answers.Erased:
    settings = cast("Settings", request.app.state.settings)
    clock = cast("Callable[[], datetime]", request.app.state.clock)
    salt = secrets.token_hex(16)
    try:
        done = erase.run(str(asked.user), by.name, asked.reason, clock(), salt, settings)
    except RefusedError as error:
        raise HTTPException(409, str(error)) from error
    return answers.Erased.model_validate(done.model_dump() | {"found": done.found})


def _about_pin(
    what: Literal["block", "unblock"], asked: answers.AboutPin, request: Request, by: Key
) -> answers.Ordered:
    settings = cast("Settings", request.app.state.settings)
    clock = cast("Callable[[], datetime]", request.app.state.clock)
    try:
        done = takedown.order(what, str(asked.pin), by.name, asked.reason, clock(), settings)
    except RefusedError as error:
        raise HTTPException(409, str(error)) from error
    return answers.Ordered.model_validate(done.model_dump())
