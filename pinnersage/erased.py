"""Erased: who must be gone for good, on a record that does not say who.

    takedown/users.json    every order ever given, the latest last; replaced by compare-and-swap

A user stands there as a digest: SHA-256 of the record's salt and the id. So the record tells
nobody who asked to be forgotten, and a step that meets the id again can still tell. Whoever has
the record and guesses an id can try it: the record is pseudonymous, not anonymous.

An order is given first; what there is of the user is removed after (``erase``), and that this is
done is noted last. From the order on no reader says anything of the user and no step takes in a row
of theirs.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property

from pydantic import BaseModel, ConfigDict, ValidationError

from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.stores import open_storage
from pinnersage.stores.storage import Storage
from pinnersage.stores.watched import Watched

RECORD = "users.json"


class Erasure(BaseModel):
    """One order to erase a user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """Digest of the id."""
    by: str
    reason: str
    at: datetime
    done: datetime | None = None
    """When all that there was had been removed; None while that is not known."""


class Erased(BaseModel):
    """Every order, the latest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    salt: str
    """Random; made with the first order, and the same for all of them."""
    orders: tuple[Erasure, ...]

    @cached_property
    def users(self) -> frozenset[str]:
        """The digest of every user who was ordered to be erased."""
        return frozenset(order.user for order in self.orders)

    @property
    def under_way(self) -> bool:
        """Whether an order is not known to be done: the lake may still have such a user."""
        return any(order.done is None for order in self.orders)

    def digest(self, user: str) -> str:
        """Return what stands for a user's id on the record; SQL files compute the same."""
        return hashlib.sha256(f"{self.salt}{user}".encode()).hexdigest()

    def among(self, users: Iterable[str]) -> set[str]:
        """Return those of some users, as text, who are erased."""
        return {user for user in users if self.digest(user) in self.users} if self.users else set()

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the SQL that finds erased users."""
        return {"salt": self.salt, "erased": sorted(self.users)}


def record_of(settings: Settings) -> Storage:
    """Return where the record is."""
    return open_storage(settings).under("takedown")


def read(settings: Settings) -> Erased:
    """Return every order as it is now."""
    storage = record_of(settings)
    return parsed(storage.read(RECORD), storage.where)


def parsed(data: bytes | None, where: str) -> Erased:
    """Return the orders in a record; what cannot be read must not pass for no orders."""
    if data is None:
        return Erased(salt="", orders=())
    try:
        return Erased.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"{where}/{RECORD} is damaged: {str(error).splitlines()[-2].strip()}. Nothing is shown "
            "and no day computed until it is restored from a backup. "
            "See runbook: damaged erasure record."
        ) from error


class Watch:
    """The users who are erased, as the record says now.

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
            "See runbook: damaged erasure record."
        )
        self._record = Watched(
            storage, RECORD, lambda data: parsed(data, storage.where), gone=gone, clock=clock
        )

    def has(self, user_id: int | str) -> bool:
        """Return whether a user is erased."""
        return bool(self._record.value().among([str(user_id)]))
