"""Redis Streams: events through a server, for any number of posts and of consumers.

A user's events are in one stream, its shard (``shards``), and a stream has one reader at a time.
What was handled is acknowledged and deleted in one transaction, so a stream holds what waits. All
readers are one consumer of one group: whoever gets a shard first reads what was delivered and not
settled, by whomever, then what is new.

The promise holds as far as the server's: run it with ``appendonly yes`` and ``appendfsync always``.
"""

import os
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

import redis

from pinnersage.config import MAX_SHARDS, Settings
from pinnersage.errors import ConfigError, TransientError
from pinnersage.online.shards import (
    CONSUMERS,
    GROUP,
    LEASE_SECONDS,
    Leases,
    shard_of,
    stream,
)
from pinnersage.online.sources import Delivery, Refusal
from pinnersage.parked import DEAD
from pinnersage.stores.address import without_password
from pinnersage.stores.redis_streams import connect, server_errors, url_of

TEND_SECONDS = 1.0
"""Least time between two looks at the leases; and longest wait for new events."""
READER = "reader"
"""The one consumer of the group: leases say who acts for it."""
MAX_DEAD = 100_000
"""Dead letters that are kept, about."""
MAX_DEAD_BYTES = 4096
"""Of each as much is kept."""


def waiting(client: Any, n_shards: int) -> list[int]:
    """Return how many events of each shard were not handled yet."""
    pipe = client.pipeline(transaction=False)
    for shard in range(n_shards):
        pipe.xlen(stream(shard))
    counts: list[int] = pipe.execute()
    return counts


def beyond(client: Any, n_shards: int) -> str:
    """Say which shards hold events that nobody reads, since there were more shards once."""
    held = {
        shard: count
        for shard, count in enumerate(waiting(client, MAX_SHARDS))
        if count and shard >= n_shards
    }
    if not held:
        return ""
    return (
        f"{sum(held.values()):,} events wait where nobody looks, in shards "
        f"{', '.join(map(str, held))}: online.n_shards is {n_shards}. Set it to {max(held) + 1} "
        "until they are drained. See runbook: events wait."
    )


class Standing(NamedTuple):
    """How the streams stand."""

    waiting: int
    """Events that were not handled yet."""
    consumers: int
    """Consumers that are alive."""
    dead: int
    """Dead letters."""
    beyond: str
    """Says which shards beyond ``n_shards`` hold events, and what to do; empty where none does."""


def standing(settings: Settings) -> Standing:
    """Return how the streams of the settings' server stand."""
    url = url_of(settings)
    with closing(connect(url)) as client, server_errors(without_password(url)):
        seconds, _ = client.time()
        now, lease = seconds * 1000, LEASE_SECONDS * 1000
        alive = client.zcount(CONSUMERS, now - lease, now + lease)
        n_shards = settings.online.n_shards
        counts = waiting(client, n_shards)
        return Standing(sum(counts), alive, client.xlen(DEAD), beyond(client, n_shards))


class RedisSender:
    """Puts events into the streams; threads may share it. See ``Sender``.

    Parameters
    ----------
    url : str
    n_shards : int
    max_backlog : int
        Events that may wait in all shards; each takes its part of them.
    """

    def __init__(self, url: str, n_shards: int, max_backlog: int) -> None:
        self.name, self.client = without_password(url), connect(url)
        self.n_shards, self._most = n_shards, max(1, max_backlog // n_shards)

    def send(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See ``Sender``; all of the events, or none."""
        by_shard: dict[int, list[bytes]] = defaultdict(list)
        for user, data in events:
            by_shard[shard_of(user, self.n_shards)].append(data)
        with server_errors(self.name):
            self._refuse_more(list(by_shard))
            pipe = self.client.pipeline(transaction=True)
            for shard, given in by_shard.items():
                for data in given:
                    pipe.xadd(stream(shard), {"data": data})
            pipe.execute()

    def _refuse_more(self, shards: list[int]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for shard in shards:
            pipe.xlen(stream(shard))
        for shard, held in zip(shards, pipe.execute(), strict=True):
            if held >= self._most:
                raise TransientError(
                    f"{self.name}: {held:,} events wait in shard {shard} (limit {self._most:,}, "
                    "online.max_backlog over the shards). Send them again later. "
                    "See runbook: events wait."
                )

    def close(self) -> None:
        """See ``Sender``."""
        self.client.close()


class RedisSource:
    """Events of the shards that this consumer has the lease of. See ``Source``.

    Parameters
    ----------
    url : str
    n_shards : int
    lease_seconds : float
        After so long without a sign of life, a consumer's shards are others'.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        n_shards: int,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.client = without_password(url), connect(url)
        self.n_shards, self._lease_seconds, self._clock = n_shards, lease_seconds, clock
        token = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._leases = Leases(self.client, n_shards, token, lease_seconds)
        self._mine: list[int] = []
        self._looked_beyond = False
        self._tended = self._searched = -float("inf")
        self._pending: set[int] = set()
        """Own shards where events may have been delivered and not settled."""
        self._out: set[tuple[int, bytes]] = set()
        """What was received since, and not settled."""
        self._turn = 0

    def receive(self, most: int, seconds: float) -> list[Delivery]:
        """See ``Source``; what was not settled by now is received again first."""
        with self._errors():
            self._pending |= {shard for shard, _ in self._out}
            self._out.clear()
            self._look_beyond()
            self._tend()
            found = self._delivered(most) or self._new(most, seconds)
        self._out = {delivery.token for delivery in found}
        return found

    def settle(self, deliveries: Sequence[Delivery], refused: Sequence[Refusal]) -> None:
        """See ``Source``.

        Right also when the lease is gone: only what was handled is acknowledged and deleted.
        """
        if not deliveries:
            return
        by_shard: dict[int, list[bytes]] = defaultdict(list)
        for delivery in deliveries:
            by_shard[delivery.token[0]].append(delivery.token[1])
        with self._errors():
            pipe = self.client.pipeline(transaction=True)
            for refusal in refused:
                if refusal.reason != "erased_user":
                    pipe.xadd(DEAD, dead_letter(refusal), maxlen=MAX_DEAD, approximate=True)
            for shard, ids in by_shard.items():
                pipe.xack(stream(shard), GROUP, *ids)
                pipe.xdel(stream(shard), *ids)
            pipe.execute()
        self._out -= {delivery.token for delivery in deliveries}

    def waiting(self) -> int:
        """See ``Source``."""
        with self._errors():
            return sum(waiting(self.client, self.n_shards))

    def close(self) -> None:
        """See ``Source``; if the server is away, the leases end by themselves."""
        with suppress(redis.RedisError):
            self._leases.leave()
        self._mine = []
        self.client.close()

    def _look_beyond(self) -> None:
        """Refuse, the first time, to go on beside shards that nobody reads."""
        if not self._looked_beyond:
            if says := beyond(self.client, self.n_shards):
                raise ConfigError(f"{self.name}: {says}")
            self._looked_beyond = True

    def _tend(self) -> None:
        """Keep the leases, take and give up shards; begin those taken with what is pending."""
        now = self._clock()
        if now - self._tended < min(TEND_SECONDS, self._lease_seconds / 4):
            return
        mine = list(self._leases.tend())
        self._tended = now
        for shard in set(mine) - set(self._mine):
            self._make_group(shard)
        self._pending |= set(mine) - set(self._mine)
        self._mine = mine
        if now - self._searched >= self._lease_seconds:
            # One whose lease had just ended may have been given events, and then have died.
            self._pending |= set(mine)
            self._searched = now
        self._pending &= set(mine)

    def _make_group(self, shard: int) -> None:
        try:
            self.client.xgroup_create(stream(shard), GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _delivered(self, most: int) -> list[Delivery]:
        """Return events that were delivered, to whomever, and not settled; the oldest first."""
        found: list[Delivery] = []
        for shard in sorted(self._pending):
            if len(found) == most:
                break
            entries = self._claimed(shard, most - len(found))
            found += [delivery(shard, *entry) for entry in entries]
            if not entries:
                self._pending.discard(shard)
        return found

    def _claimed(self, shard: int, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        start: Any = "0-0"
        while True:
            start, entries, *_ = self.client.xautoclaim(
                stream(shard), GROUP, READER, min_idle_time=0, start_id=start, count=most
            )
            there = [(entry, fields) for entry, fields in entries if fields]
            if there or start == b"0-0":
                return there

    def _new(self, most: int, seconds: float) -> list[Delivery]:
        """Return events that nobody was given, of each shard the oldest, none of them starved."""
        if not self._mine:
            time.sleep(min(seconds, TEND_SECONDS))  # there are more consumers than shards
            return []
        self._turn += 1
        turn = self._turn % len(self._mine)
        shards = [*self._mine[turn:], *self._mine[:turn]][:most]
        answer = self.client.xreadgroup(
            GROUP,
            READER,
            {stream(shard): ">" for shard in shards},
            count=most // len(shards),
            block=max(1, round(min(seconds, TEND_SECONDS, self._lease_seconds / 4) * 1000)),
        )
        by_name = {stream(shard).encode(): shard for shard in shards}
        return [delivery(by_name[name], *entry) for name, entries in answer for entry in entries]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors into ours; after any, leases and groups are looked at anew."""
        try:
            with server_errors(self.name):
                yield
        except TransientError:
            self._tended, self._mine = -float("inf"), []
            raise


def delivery(shard: int, entry: bytes, fields: dict[bytes, bytes]) -> Delivery:
    """Return what a stream holds; of an entry that we did not write, an event without bytes."""
    return Delivery(fields.get(b"data", b""), (shard, entry))


def dead_letter(refusal: Refusal) -> dict[str, Any]:
    """Return what is parked of a refused event; when, its id in the stream says."""
    return {
        "data": refusal.delivery.data[:MAX_DEAD_BYTES],
        "reason": refusal.reason,
        "says": refusal.says,
        "shard": refusal.delivery.token[0],
    }
