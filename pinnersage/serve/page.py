"""Page: what a person sees in a browser, behind the same keys.

The key is typed once and lies in a cookie that scripts cannot read and other sites cannot use. So a
link that comes from elsewhere opens the page without it: the page holds nothing, and asks with the
cookie for what it shows.
"""

from typing import Annotated, cast
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from pinnersage import explore, pages
from pinnersage.serve import answers
from pinnersage.serve.access import COOKIE, reads
from pinnersage.serve.keys import Doorkeeper
from pinnersage.serve.live import Live
from pinnersage.serve.routes import as_json, live, now_of

HOURS = 12
"""For so long a browser keeps the key."""

router = APIRouter(include_in_schema=False)


@router.get("/")
def look() -> Response:
    """Return the page."""
    return file("explore.html")


@router.get("/explore/{name}")
def file(name: str) -> Response:
    """Return one of the page's files."""
    if name not in explore.FILES:
        raise HTTPException(404, "The page has no such file.")
    return Response(explore.file(name), headers={"Content-Type": explore.FILES[name]})


@router.get("/v1/explore", dependencies=[Depends(reads)])
def explored(
    asked: Annotated[answers.OneUserToLookAt, Query()],
    request: Request,
    following: Annotated[Live, Depends(live)],
) -> Response:
    """Return what the page shows of a user."""
    with following.reader() as reader:
        now = now_of(request)
        profile = reader.current(asked.user, now).profile
        if profile is None or not len(profile):
            raise HTTPException(404, f"User {asked.user} has no clusters in this release.")
        return as_json(
            explore.user(reader, following.settings, asked.user, draw=asked.draw, now=now)
        )


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
