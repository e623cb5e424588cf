"""Takedown: a pin that must not be shown is gone from every answer within seconds.

    takedown/pins.json    every order ever given, the latest last; replaced by compare-and-swap

One small record beside the releases, which every reader reads again within seconds
(``stores.watched``): no index is rebuilt and no key-value version written for it. A reader leaves a
blocked pin out of what it says, as a candidate and as a medoid, whatever the stores and memories
still hold; the next ``refine`` leaves it out of the index. An order is one swap: a crash leaves it
given or not given, and giving it again changes nothing.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pinnersage.config import Settings
from pinnersage.errors import DataError, RefusedError
from pinnersage.schema import IdType
from pinnersage.stores import open_lake, open_storage
from pinnersage.stores.storage import Storage
from pinnersage.stores.watched import Watched, replaced

RECORD = "pins.json"


class Order(BaseModel):
    """One order about a pin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pin: str
    what: Literal["block", "unblock"]
    by: str
    reason: str
    at: datetime


class Orders(BaseModel):
    """Every order, the latest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    orders: tuple[Order, ...]

    @property
    def blocked(self) -> dict[str, Order]:
        """The order in force of each pin that is blocked, by pin."""
        latest = {order.pin: order for order in self.orders}
        return {pin: order for pin, order in sorted(latest.items()) if order.what == "block"}

    def times(self) -> list[tuple[str, datetime, datetime | None]]:
        """Return from when to when each pin was blocked; None where it still is."""
        since: dict[str, datetime] = {}
        found: list[tuple[str, datetime, datetime | None]] = []
        for order in self.orders:
            if order.what == "block":
                since[order.pin] = order.at
            else:
                found.append((order.pin, since.pop(order.pin), order.at))
        return [*found, *((pin, at, None) for pin, at in since.items())]


class TakedownReport(BaseModel):
    """What an order changed."""

    model_config = ConfigDict(frozen=True)

    pin: str
    what: str
    by: str
    reason: str
    changed: bool
    """False where it was in force already: who gave it first stands."""
    blocked: int
    """Pins that are blocked now."""


def order(
    what: Literal["block", "unblock"],
    pin: str,
    by: str,
    reason: str,
    at: datetime,
    settings: Settings,
) -> TakedownReport:
    """Block a pin or let it be shown again; ``by`` and ``reason`` are kept.

    Parameters
    ----------
    what : {"block", "unblock"}
    pin : str
        Its id as text, as it is. It need not be known: it may come with later data.
    by, reason : str
        Who answers for it, and why.
    at : datetime
        When, with a time zone.
    settings : Settings
        Of the home.

    Raises
    ------
    RefusedError
        No pin, no name or no reason, or what cannot be an id in this lake.
    """
    by, reason = by.strip(), reason.strip()
    if not pin.strip() or not by or not reason:
        raise RefusedError("A takedown needs a pin, a name and a reason: --by NAME --reason TEXT.")
    pin = canonical_id(pin, open_lake(settings).layout.pin_id)
    new = Order(pin=pin, what=what, by=by, reason=reason, at=at.astimezone(UTC))
    changed = False

    def with_order(orders: Orders) -> Orders:
        nonlocal changed
        changed = (pin in orders.blocked) != (what == "block")
        return Orders(orders=(*orders.orders, new)) if changed else orders

    orders = replaced(record_of(settings), RECORD, parsed, with_order)
    given = new if changed else orders.blocked.get(pin, new)  # who gave it first stands
    return report(given, orders, changed=changed)


def canonical_id(text: str, kind: IdType, what: str = "pin") -> str:
    """Return an id as the lake has it: a number in its shortest form, a text as it is."""
    named = f"{what.capitalize()} {text!r}"
    if kind == "int64":
        number = as_integer(text)
        if number is None:
            raise RefusedError(f"{named}: {what}s of this lake are whole numbers of 64 bits.")
        return str(number)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RefusedError(f"{named} is no text in UTF-8.") from error
    return text


def as_integer(text: str) -> int | None:
    """Return a whole number of 64 bits, None for what is none."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,40}\s*", text, re.ASCII):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def report(given: Order, orders: Orders, *, changed: bool) -> TakedownReport:
    """Return what an order came to."""
    return TakedownReport(
        pin=given.pin,
        what=given.what,
        by=given.by,
        reason=given.reason,
        changed=changed,
        blocked=len(orders.blocked),
    )


def record_of(settings: Settings) -> Storage:
    """Return where the record is."""
    return open_storage(settings).under("takedown")


def read(settings: Settings) -> Orders:
    """Return every order as it is now."""
    storage = record_of(settings)
    return parsed(storage.read(RECORD), storage.where)


def parsed(data: bytes | None, where: str) -> Orders:
    """Return the orders in a record; what cannot be read must not pass for no orders."""
    if data is None:
        return Orders(orders=())
    try:
        return Orders.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"{where}/{RECORD} is damaged: {str(error).splitlines()[-2].strip()}. Nothing is shown "
            "until it is restored from a backup. See runbook: damaged takedown record."
        ) from error


class Watch:
    """The pins that are blocked, as the record says now.

    Parameters
    ----------
    storage : Storage
        Where the record is.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        gone = (
            "and there were orders in it. Nothing is shown until it is restored. "
            "See runbook: damaged takedown record."
        )
        self._record = Watched(
            storage,
            RECORD,
            lambda data: frozenset(parsed(data, storage.where).blocked),
            gone=gone,
            clock=clock,
        )

    def pins(self) -> frozenset[str]:
        """Return the blocked pins, as text."""
        return self._record.value()
