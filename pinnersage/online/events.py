"""Events: what users do and are shown, one at a time, as it comes from outside.

    {"event_id": "e1", "user_id": "u42", "pin_id": "p17", "action": "repin",
     "acted_at": "2026-08-06T12:00:00Z"}

An event is a row of ``actions`` before its day is over. One of whose pin is known which release
showed it (``release``; with it ``medoid`` and ``draw``) is feedback as well: an impression, or
what came of one. What cannot be an event is refused with a reason, which is one of ``REASONS``.
"""

import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from pinnersage.config import OnlineConfig
from pinnersage.errors import RefusedError
from pinnersage.ids import Id, as_utf8
from pinnersage.schema import IdType
from pinnersage.takedown import canonical_id

MAX_BYTES = 4096
"""Longest event, as JSON: two ids of the longest and room for the rest."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_DATED = re.compile(r"[0-9]{4}-")
REASONS = {
    "malformed": "It is no JSON object with the fields of an event.",
    "oversized": f"It has more than {MAX_BYTES:,} bytes.",
    "from_the_future": "It is dated further ahead than online.max_ahead_seconds.",
    "too_old": "It is dated longer ago than online.keep_days.",
    "unknown_pin": "Its pin has no embedding in the live release.",
    "erased_user": "It names a user who was erased. Nothing of it is kept.",
}


def only_text(value: object) -> object:
    """Refuse a number as a time, also as text: seconds or milliseconds, it does not say which."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _DATED.match(value)):
        raise ValueError("no text such as 2026-08-06T12:00:00Z")
    return value


Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(as_utf8)]
EventId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(as_utf8)]


class Event(BaseModel):
    """One event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Annotated[
        EventId | None, Field(description="The same for each repeat of it; default: of its values.")
    ] = None
    user_id: Annotated[Id, Field(examples=["u42"])]
    pin_id: Annotated[Id, Field(examples=["p17"])]
    action: Annotated[Name, Field(examples=["repin"])]
    acted_at: Annotated[
        AwareDatetime, BeforeValidator(only_text), Field(examples=["2026-08-06T12:00:00Z"])
    ]
    release: Annotated[int | None, Field(ge=1, le=2**31, description="That showed the pin.")] = None
    draw: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of that recommendation.")] = 0
    medoid: Annotated[Id | None, Field(description="That brought the pin.")] = None

    @property
    def acted_us(self) -> int:
        """When, in microseconds since 1970, UTC."""
        return (self.acted_at - EPOCH) // MICROSECOND

    @property
    def name(self) -> str:
        """The event's id, or what stands for it: the MD5 of its values."""
        if self.event_id is not None:
            return self.event_id
        values = (self.user_id, self.pin_id, self.action, self.acted_us)
        return hashlib.md5(repr(values).encode(), usedforsecurity=False).hexdigest()


class NotTakenError(RefusedError):
    """An event that is refused."""

    def __init__(self, reason: str, says: str = "") -> None:
        super().__init__(says or REASONS[reason])
        self.reason = reason


def parsed(data: bytes, user: IdType, pin: IdType) -> Event:
    """Return the event in some JSON, its ids as the lake has them.

    Raises
    ------
    NotTakenError
        It is ``oversized`` or ``malformed``.
    """
    if len(data) > MAX_BYTES:
        raise NotTakenError("oversized", f"It has {len(data):,} bytes (limit {MAX_BYTES:,}).")
    try:
        event = Event.model_validate_json(data)
        ids: dict[str, Any] = {
            "user_id": canonical_id(str(event.user_id), user, "user"),
            "pin_id": canonical_id(str(event.pin_id), pin),
        }
        if event.medoid is not None:
            ids["medoid"] = canonical_id(str(event.medoid), pin, "medoid")
    except ValidationError as error:
        first = error.errors()[0]
        where = str((*first["loc"], "it")[0])
        raise NotTakenError("malformed", f"{where}: {first['msg']}") from error
    except RefusedError as error:
        raise NotTakenError("malformed", str(error)) from error
    return event.model_copy(update=ids)


def check_time(event: Event, now: datetime, config: OnlineConfig) -> None:
    """Refuse an event that is dated too far ahead, or too long ago to count."""
    ahead = event.acted_at - now
    if ahead > timedelta(seconds=config.max_ahead_seconds):
        raise NotTakenError(
            "from_the_future",
            f"It is dated {ahead.total_seconds():,.0f} s ahead of {now.isoformat()} "
            f"(limit {config.max_ahead_seconds:g} s).",
        )
    if -ahead >= timedelta(days=config.keep_days):
        raise NotTakenError(
            "too_old",
            f"It is dated {-ahead / timedelta(days=1):,.1f} days ago (limit {config.keep_days:g}).",
        )


def is_interest(event: Event, interest_actions: Collection[str]) -> bool:
    """Tell whether an event counts as interest, as in ``actions``."""
    return event.action in interest_actions
