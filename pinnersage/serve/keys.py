"""Keys: who may ask the service, and who may give it orders.

    service/keys.json    name, role and SHA-256 of each key; replaced by compare-and-swap

A key is 32 random bytes, so its plain digest tells nothing about it, and the key itself is shown
once, to whoever makes it. Every process reads the record again within seconds: a key that was
removed opens nothing after that.
"""

import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.stores import open_storage
from pinnersage.stores.storage import Storage
from pinnersage.stores.watched import Watched, replaced

RECORD = "keys.json"

Role = Literal["reader", "sender", "admin"]
"""A reader asks; a sender also posts events, which move what users are shown; an admin may also
block pins and erase users."""


class Key(BaseModel):
    """What is kept of one key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role
    sha256: str
    made: datetime


class Keys(BaseModel):
    """Every key that opens something, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...]


def add(name: str, role: Role, key: str, at: datetime, settings: Settings) -> Key:
    """Let a key open the service.

    Parameters
    ----------
    name : str
        Whose it is; stands beside the orders that are given with it.
    role : {"reader", "sender", "admin"}
    key : str
        The key itself: random, and never kept.
    at : datetime
        When, with a time zone.
    settings : Settings
        Of the home.

    Raises
    ------
    ConfigError
        A name that is taken, or that is no name.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ConfigError(f"{name!r} is no name for a key: 1 to 64 letters, digits, . _ or -.")
    new = Key(name=name, role=role, sha256=digest(key), made=at.astimezone(UTC))

    def with_it(known: Keys) -> Keys:
        if any(one.name == name for one in known.keys):
            raise ConfigError(
                f"There is a key {name} already. Choose another name, or first: "
                f"pinnersage remove-key {name}"
            )
        return Keys(keys=tuple(sorted((*known.keys, new), key=lambda one: one.name)))

    replaced(record_of(settings), RECORD, parsed, with_it)
    return new


def remove(name: str, settings: Settings) -> Key:
    """Let a key open nothing any more, within seconds in every process; return what it was."""
    gone: list[Key] = []

    def without_it(known: Keys) -> Keys:
        gone[:] = [one for one in known.keys if one.name == name]
        if not gone:
            raise ConfigError(f"There is no key {name}. See: pinnersage keys")
        return Keys(keys=tuple(one for one in known.keys if one.name != name))

    replaced(record_of(settings), RECORD, parsed, without_it)
    return gone[0]


def read(settings: Settings) -> Keys:
    """Return the keys as they are now."""
    storage = record_of(settings)
    return parsed(storage.read(RECORD), storage.where)


def record_of(settings: Settings) -> Storage:
    """Return where the record is."""
    return open_storage(settings).under("service")


def parsed(data: bytes | None, where: str) -> Keys:
    """Return the keys in a record."""
    if data is None:
        return Keys(keys=())
    try:
        return Keys.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"{where}/{RECORD} is damaged: {str(error).splitlines()[-2].strip()}. Nobody is let in "
            "until it is restored, or removed and new keys are made. See runbook: damaged keys."
        ) from error


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


class Doorkeeper:
    """Which keys open something, as the record says now."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._record = Watched(
            storage,
            RECORD,
            lambda data: {key.sha256: key for key in parsed(data, storage.where).keys},
            gone="and there were keys in it. Restore it, or make new keys: pinnersage add-key NAME",
            clock=clock,
        )

    def key_of(self, text: str) -> Key | None:
        """Return what is known of a key; None for one that opens nothing."""
        return self._record.value().get(digest(text))

    def any(self) -> bool:
        """Return whether there is a key at all."""
        return bool(self._record.value())
