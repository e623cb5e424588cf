"""Page: what a person sees in a browser, behind the same keys.

The key is typed once and lies in a cookie that scripts cannot read and other sites cannot use.
"""

from typing import cast
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from pinnersage import pages
from pinnersage.serve.access import COOKIE
from pinnersage.serve.keys import Doorkeeper

HOURS = 12
"""For so long a browser keeps the key."""

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login() -> HTMLResponse:
    """Return the page that asks for a key."""
    return HTMLResponse(pages.render("login.html.j2", {"wrong": False}))


@router.post("/login")
async def enter(request: Request) -> Response:
    """Take a key that was typed; a wrong one is asked for again."""
    body = (await request.body()).decode(errors="replace")
    key = parse_qs(body).get("key", [""])[0].strip()
    doorkeeper = cast("Doorkeeper | None", request.app.state.doorkeeper)
    if doorkeeper is not None and await run_in_threadpool(doorkeeper.key_of, key) is None:
        return HTMLResponse(pages.render("login.html.j2", {"wrong": True}), 401)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        key,
        max_age=HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def leave() -> Response:
    """Forget the key."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
