"""Redis states: users spread over hashes, and the journal as a stream.

A change reads, and then hands back what it read with what is to take its place: a script in the
server replaces all of it if every value is still what was read, and nothing otherwise; then the
change begins anew. So only writers of the same user get in each other's way. (``WATCH`` would see
whole hashes, and every batch of some hundred users touches them all.)

The hashes have no time to live, so that a server with ``maxmemory-policy volatile-lru``, which the
published profiles ask for, never evicts a state; how old an action may be is enforced on reading.
"""

import os
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any

from pinnersage.errors import TransientError
from pinnersage.stores.address import without_password
from pinnersage.stores.redis_store import MEMORY, client_of, redis_errors
from pinnersage.stores.redis_streams import rewrite
from pinnersage.stores.states import Change, Item, States, changed, check_keys

_HASHES = 256
_JOURNAL = "pinnersage:online:journal"
_SECONDS = 1.0
"""Longest wait for an answer: a request waits no longer than that for a server that hangs."""
_SCRUB_SECONDS = 60.0
"""The same while the server writes the journal anew."""
_ATTEMPTS = 100
"""Each is a round trip, and whoever is beaten is beaten by someone who succeeded."""
_MEANWHILE = "What was under way is done or not; doing it again is right."
_REPLACE = """
-- ARGV: how many keys; of each its hash among KEYS, itself, its value as read and as it is to be
-- ('' for none, else after a '='); then entries for the journal, the last of KEYS.
local last = 1 + 4 * tonumber(ARGV[1])
for i = 2, last, 4 do
  local held = redis.call('HGET', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
  if (held and '=' .. held or '') ~= ARGV[i + 2] then return 0 end
end
for i = 2, last, 4 do
  local hash, key, new = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 3]
  if new == '' then
    redis.call('HDEL', hash, key)
  elseif new ~= ARGV[i + 2] then
    redis.call('HSET', hash, key, string.sub(new, 2))
  end
end
for i = last + 1, #ARGV do redis.call('XADD', KEYS[#KEYS], '*', 'event', ARGV[i]) end
return 1
"""


class RedisStates(States):
    """States in the server at ``url``; a connection each thread, from a pool each process."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self._url = url
        self._clients = {os.getpid(): client_of(url, seconds=_SECONDS)}

    def __repr__(self) -> str:
        """Name without secrets."""
        return f"RedisStates({self.name!r})"

    @property
    def client(self) -> Any:
        """A client of this process: at a fork, a thread may have held the pool of its parent's."""
        own = self._clients.get(os.getpid())
        if own is None:
            own = client_of(self._url, seconds=_SECONDS)
            self._clients[os.getpid()] = own
        return own

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``States``; one round trip."""
        by_hash: dict[str, list[bytes]] = defaultdict(list)
        for key in keys:
            by_hash[_hash(key)].append(key)
        pipe = self.client.pipeline(transaction=False)
        for name, part in by_hash.items():
            pipe.hmget(name, part)
        found: dict[bytes, bytes | None] = {}
        with self._errors():
            for part, values in zip(by_hash.values(), pipe.execute(), strict=True):
                found |= zip(part, values, strict=True)
        return [found[key] for key in keys]

    def change(self, keys: Sequence[bytes], change: Change, journal: Sequence[bytes] = ()) -> None:
        """See ``States``; it takes part in the journal's order when it succeeds."""
        check_keys(keys)
        if not keys and not journal:
            return
        for _ in range(_ATTEMPTS):
            values = dict(zip(keys, self.get_many(keys), strict=True))
            if self._swap(values, values | changed(values, change), journal):
                return
        raise TransientError(
            f"{self.name}: others changed the same users {_ATTEMPTS} times meanwhile. Try it again."
        )

    def _swap(
        self,
        old: Mapping[bytes, bytes | None],
        new: Mapping[bytes, bytes | None],
        journal: Sequence[bytes],
    ) -> bool:
        """Replace values and add to the journal, if every value is what it was; whether it was."""
        hashes = sorted({_hash(key) for key in old})
        place = {name: i for i, name in enumerate(hashes, start=1)}
        arguments: list[bytes | int] = [len(old)]
        for key in old:
            arguments += [place[_hash(key)], key, _said(old[key]), _said(new[key])]
        with self._errors():
            script = self.client.register_script(_REPLACE)
            return bool(script(keys=[*hashes, _JOURNAL], args=[*arguments, *journal]))

    def items(self) -> Iterator[Item]:
        """See ``States``; holds the users of one hash at a time."""
        for i in range(_HASHES):
            with self._errors():
                part = dict(self.client.hscan_iter(f"pinnersage:online:{i}", count=1000))
            yield from part.items()

    def oldest(self, most: int, after: bytes = b"") -> list[Item]:
        """See ``States``."""
        with self._errors():
            found = self.client.xrange(_JOURNAL, min=b"(" + after if after else "-", count=most)
        return [(entry, fields[b"event"]) for entry, fields in found]

    def remove(self, entries: Sequence[bytes]) -> None:
        """See ``States``."""
        if entries:
            with self._errors():
                self.client.xdel(_JOURNAL, *entries)

    def scrub(self) -> None:
        """See ``States``; a value goes from its hash, an entry only with the journal as it was."""
        with closing(client_of(self._url, seconds=_SCRUB_SECONDS)) as client, self._errors():
            rewrite(client, _JOURNAL)

    def close(self) -> None:
        """See ``States``."""
        self.client.close()

    def _errors(self) -> AbstractContextManager[None]:
        return redis_errors(self.name, _MEANWHILE, MEMORY)


def _hash(key: bytes) -> str:
    return f"pinnersage:online:{zlib.crc32(key) % _HASHES}"


def _said(value: bytes | None) -> bytes:
    """Return a value as the script takes it."""
    return b"" if value is None else b"=" + value
