"""Watched: a small record that others replace: how it is replaced, and read again when it is old.

For what must reach every running process within seconds: pins that were taken down, keys that were
withdrawn. A thread that asks gets what is known while that is young enough; one thread at a time
reads again, and the others need not wait for it.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from pinnersage.errors import DataError, TransientError
from pinnersage.stores.lake import canonical
from pinnersage.stores.storage import Storage

SECONDS, LONGEST = 2.0, 4.0
"""For so long what was read is believed; and for so long while it is being read again."""

ATTEMPTS = 20
"""Each is milliseconds, and whoever is beaten is beaten by someone who succeeded."""

Value = TypeVar("Value")
Record = TypeVar("Record", bound=BaseModel)


def replaced(
    storage: Storage,
    name: str,
    parse: Callable[[bytes | None, str], Record],
    change: Callable[[Record], Record],
) -> Record:
    """Replace a record by what ``change`` makes of it, and return that; equal: nothing is written.

    By compare-and-swap: whoever was quicker is read, and ``change`` is asked again.

    Raises
    ------
    TransientError
        Others were quicker ``ATTEMPTS`` times.
    """
    for _ in range(ATTEMPTS):
        data = storage.read(name)
        known = parse(data, storage.where)
        new = change(known)
        if new == known or storage.swap(name, data, canonical(new.model_dump(mode="json"))):
            return new
    raise TransientError(
        f"{storage.where}/{name}: others changed it {ATTEMPTS} times meanwhile. Try it again."
    )


class Watched(Generic[Value]):
    """One record, parsed.

    Parameters
    ----------
    storage : Storage
        Where it is.
    name : str
        Its file there.
    parse : callable
        Of its bytes, ``None`` while there is none; called again only when they changed, so that
        an unchanged record gives the same object.
    gone : str
        What to say when a record that was there is there no longer: that is never "no record".
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        parse: Callable[[bytes | None], Value],
        *,
        gone: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._name, self._parse, self._gone = storage, name, parse, gone
        self._clock = clock
        self._guard = threading.Lock()
        self._data: bytes | None = None
        self._known: tuple[Value, float] | None = None
        """What was parsed, and when it was read."""

    def value(self) -> Value:
        """Return what the record says, at most ``LONGEST`` seconds old.

        Raises
        ------
        DataError
            It is gone or cannot be parsed: what it said is not repeated for long.
        """
        now, known = self._clock(), self._known
        if known is not None and now - known[1] < SECONDS:
            return known[0]
        # One thread reads; the others need not wait for it while what is known is young enough.
        wait = known is None or now - known[1] >= LONGEST
        if self._guard.acquire(blocking=wait):
            try:
                if self._known is known:
                    self._known = known = (self._read(known), now)
                else:
                    known = self._known
            finally:
                self._guard.release()
        if known is None:  # not reached: without a value, the thread waited and read
            raise DataError(f"{self._storage.where}/{self._name} was not read. Try again.")
        return known[0]

    def _read(self, known: tuple[Value, float] | None) -> Value:
        data = self._storage.read(self._name)
        if data is None and self._data is not None:
            raise DataError(f"{self._storage.where}/{self._name} is gone, {self._gone}")
        if known is not None and data == self._data:
            return known[0]
        value = self._parse(data)
        self._data = data
        return value
