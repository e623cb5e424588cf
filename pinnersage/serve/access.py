"""Access: whoever asks shows a key; orders take a stronger one.

A program sends ``Authorization: Bearer KEY``. A browser has the same key in a cookie that only its
own pages send along (``page``); with it one may ask, not order nor send events, so that no other
site can make a browser do so.
"""

from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer

from pinnersage.serve.keys import Doorkeeper, Key

COOKIE = "pinnersage_key"
NOBODY = Key(name="anybody", role="admin", sha256="", made=datetime.fromtimestamp(0, UTC))
"""Who asks where authentication is turned off."""
bearer = HTTPBearer(  # says in the OpenAPI document how to ask; ``sent`` reads the header
    auto_error=False, scheme_name="key", description="pinnersage add-key NAME"
)


def reads(request: Request, _shown: Annotated[object, Depends(bearer)] = None) -> Key:
    """Return whose key came with a question; refuse one without."""
    return known(request, sent(request) or request.cookies.get(COOKIE, ""))


def sends(request: Request, _shown: Annotated[object, Depends(bearer)]) -> Key:
    """Return whose key came with events; refuse one that may only ask."""
    key = known(request, sent(request))
    if key.role == "reader":
        raise HTTPException(
            403, f"The key {key.name} may ask but not send. Use one made with --role sender."
        )
    return key


def orders(request: Request, _shown: Annotated[object, Depends(bearer)]) -> Key:
    """Return whose key came with an order; refuse one that may not give any."""
    key = known(request, sent(request))
    if key.role != "admin":
        raise HTTPException(
            403, f"The key {key.name} may not order. Use one made with --role admin."
        )
    return key


def sent(request: Request) -> str:
    """Return the key in a request's header, empty if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def known(request: Request, text: str) -> Key:
    """Return whose key it is, or refuse."""
    doorkeeper = cast("Doorkeeper | None", request.app.state.doorkeeper)
    if doorkeeper is None:
        return NOBODY
    key = doorkeeper.key_of(text) if text else None
    if key is None:
        says = "This key opens nothing" if text else "No key was sent"
        raise HTTPException(
            401,
            f"{says}. Send: Authorization: Bearer KEY. Keys are made with: pinnersage add-key NAME",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return key
