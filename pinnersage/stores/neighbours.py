"""Neighbours: what is near a medoid, remembered, so that a popular medoid is searched once.

An index version never changes, so what was found in it stays right: an entry is named for the
version, how it is searched and under which filter, the depth of the search and the pin's row, and
is forgotten only for room (or, in Redis, after a while without use: versions come and go).
``Memory`` belongs to one process, ``Shared`` to all that reach one Redis. Both may be used by
several threads.
"""

import logging
import struct
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import redis

from pinnersage.stores.address import without_password
from pinnersage.stores.redis_store import client_of

log = logging.getLogger(__name__)

_FORMAT = 1
_HEADER = struct.Struct("<BI")
"""Format, CRC-32 of the rest."""
_ENTRY = 12
"""Bytes of a row and its cosine."""
PAUSE = 5.0
"""Seconds that a server which did not answer is left alone."""
_PREFIX = "pinnersage:near"
_SECONDS = 3 * 86_400
"""A shared entry is forgotten after as long without use."""


class Near(NamedTuple):
    """Pins near one medoid: the highest cosine first, equal ones by row."""

    rows: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float32]


@dataclass
class Counts:
    """How often an entry was there, and how often it was not."""

    hits: int = 0
    misses: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of hits; 0 before the first question."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class Neighbours(Protocol):
    """Entries of any index version."""

    counts: Counts

    def get(self, version: str, depth: int, rows: Sequence[int]) -> list[Near | None]:
        """Return what is known of each medoid, by its row in the embeddings."""
        ...

    def put(self, version: str, depth: int, found: Mapping[int, Near]) -> None:
        """Remember what a search found."""
        ...


class Memory:
    """Entries in this process; those used longest ago go first.

    Parameters
    ----------
    size : int
        Most entries. One of depth 401 takes about 5 kB.
    """

    def __init__(self, size: int) -> None:
        self.counts = Counts()
        self._size = size
        self._entries: OrderedDict[tuple[str, int, int], Near] = OrderedDict()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Entries."""
        return len(self._entries)

    def get(self, version: str, depth: int, rows: Sequence[int]) -> list[Near | None]:
        """See ``Neighbours``."""
        with self._guard:
            found = [self._entries.get((version, depth, row)) for row in rows]
            for row, near in zip(rows, found, strict=True):
                if near is not None:
                    self._entries.move_to_end((version, depth, row))
            _count(self.counts, found)
        return found

    def put(self, version: str, depth: int, found: Mapping[int, Near]) -> None:
        """See ``Neighbours``."""
        with self._guard:
            for row, near in found.items():
                near.rows.setflags(write=False)  # whoever gets it gets this very array
                near.cosines.setflags(write=False)
                self._entries[version, depth, row] = near
                self._entries.move_to_end((version, depth, row))
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class Shared:
    """Entries in a Redis that several processes reach.

    A server that is away costs a search, never a request: what it did not answer counts as not
    known, is counted in ``failures`` and logged, and for ``PAUSE`` seconds it is not asked again.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._paused_until = clock, float("-inf")
        self.counts = Counts()
        self.failures = 0
        self.name = without_password(url)
        self._client: Any = client_of(url, seconds=0.25)

    def get(self, version: str, depth: int, rows: Sequence[int]) -> list[Near | None]:
        """See ``Neighbours``."""
        found: list[Near | None] = [None] * len(rows)
        if self._clock() < self._paused_until:
            self.counts.misses += len(rows)
            return found
        try:
            pipe = self._client.pipeline(transaction=False)
            for row in rows:
                pipe.getex(_key(version, depth, row), ex=_SECONDS)
            found = [None if value is None else _unpacked(value) for value in pipe.execute()]
        except redis.RedisError as error:
            self._failed(error)
        _count(self.counts, found)
        return found

    def put(self, version: str, depth: int, found: Mapping[int, Near]) -> None:
        """See ``Neighbours``."""
        if self._clock() < self._paused_until:
            return
        try:
            pipe = self._client.pipeline(transaction=False)
            for row, near in found.items():
                pipe.set(_key(version, depth, row), _packed(near), ex=_SECONDS)
            pipe.execute()
        except redis.RedisError as error:
            self._failed(error)

    def _failed(self, error: redis.RedisError) -> None:
        self.failures += 1
        self._paused_until = self._clock() + PAUSE
        log.warning("%s does not answer, neighbours are searched: %s", self.name, error)


def _count(counts: Counts, found: Sequence[Near | None]) -> None:
    hits = sum(near is not None for near in found)
    counts.hits += hits
    counts.misses += len(found) - hits


def _key(version: str, depth: int, row: int) -> str:
    return f"{_PREFIX}:{version}:{depth}:{row}"


def _packed(near: Near) -> bytes:
    body = near.rows.astype("<i8").tobytes() + near.cosines.astype("<f4").tobytes()
    return _HEADER.pack(_FORMAT, zlib.crc32(body)) + body


def _unpacked(value: bytes) -> Near | None:
    """Return an entry; None for what is not one, or is damaged: it is searched for again."""
    body = value[_HEADER.size :]
    n, rest = divmod(len(body), _ENTRY)
    if len(value) < _HEADER.size or rest:
        return None
    if _HEADER.unpack_from(value) != (_FORMAT, zlib.crc32(body)):
        return None
    return Near(np.frombuffer(body, "<i8", n), np.frombuffer(body, "<f4", n, 8 * n))
