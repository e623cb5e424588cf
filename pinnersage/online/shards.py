"""Shards: streams that users are spread over, and leases that say who reads which.

    pinnersage:events:3             a stream: the events of its users that nobody has handled yet
    pinnersage:events:owner:3       who reads it, for ten seconds from when they last said so
    pinnersage:events:consumers     who is alive, by the server's clock
    pinnersage:events:dead          what was refused, with the reason (``parked``)

Consumers share the shards evenly: each gives up what it has beyond its share, and takes what is
free. A lease keeps two from doing the same work; nothing depends on it for its result, since a
change of states is atomic and merging is idempotent. A sign of life, or a lease, from the future is
from before the server's clock went back: it counts no more.
"""

from collections.abc import Sequence
from typing import Any

from pinnersage.stores.lake import bucket_of

ROOT = "pinnersage:events"
CONSUMERS = f"{ROOT}:consumers"
GROUP = "pinnersage"
LEASE_SECONDS = 10.0

_TEND = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + ARGV[2], '+inf')
redis.call('ZADD', KEYS[1], now, ARGV[1])
local share = math.ceil((#KEYS - 1) / redis.call('ZCARD', KEYS[1]))
local mine = {}
for i = 2, #KEYS do
    if redis.call('GET', KEYS[i]) == ARGV[1] then
        if #mine < share then
            redis.call('PEXPIRE', KEYS[i], ARGV[2])
            mine[#mine + 1] = i - 2
        else
            redis.call('DEL', KEYS[i])
        end
    end
end
for i = 2, #KEYS do
    if redis.call('PTTL', KEYS[i]) > tonumber(ARGV[2]) then
        redis.call('DEL', KEYS[i])
    end
    if #mine < share and redis.call('SET', KEYS[i], ARGV[1], 'NX', 'PX', ARGV[2]) then
        mine[#mine + 1] = i - 2
    end
end
return mine
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #KEYS do
    if redis.call('GET', KEYS[i]) == ARGV[1] then
        redis.call('DEL', KEYS[i])
    end
end
"""


def shard_of(user: str, n_shards: int) -> int:
    """Return the shard of a user, by the same hash as the lake's buckets."""
    return bucket_of(user, n_shards)


def stream(shard: int) -> str:
    """Return the name of a shard's stream."""
    return f"{ROOT}:{shard}"


class Leases:
    """The leases of one consumer.

    Parameters
    ----------
    client : redis.Redis
    n_shards : int
    token : str
        Names this consumer, and no other that ever was.
    seconds : float
        For how long a lease holds.
    """

    def __init__(self, client: Any, n_shards: int, token: str, seconds: float) -> None:
        self._tend, self._leave = client.register_script(_TEND), client.register_script(_LEAVE)
        self._keys = [CONSUMERS, *(f"{ROOT}:owner:{shard}" for shard in range(n_shards))]
        self._token, self._milliseconds = token, round(seconds * 1000)

    def tend(self) -> Sequence[int]:
        """Say that this consumer is alive; return the shards that are its own from now on."""
        mine: list[int] = self._tend(keys=self._keys, args=[self._token, self._milliseconds])
        return mine

    def leave(self) -> None:
        """Give up everything."""
        self._leave(keys=self._keys, args=[self._token])
