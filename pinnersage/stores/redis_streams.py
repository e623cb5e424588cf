"""Redis streams: how their server is reached, and a stream written anew.

A stream keeps entries in blocks. One that is deleted stays in its block, in memory and in every
file that the server writes, until the others of the block are deleted too. To leave none of its
bytes, what is kept is copied to a new stream, which takes the old one's place.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from pinnersage.config import Settings
from pinnersage.errors import ConfigError
from pinnersage.stores.redis_store import MEMORY, client_of, redis_errors

ANSWER_SECONDS = 5.0
"""Longest wait for the server."""
_REWRITE = """
-- KEYS: a stream, and where its copy is made. ARGV: entries that are left out.
if redis.call('EXISTS', KEYS[1]) == 0 then return end
local without, info, last = {}, redis.call('XINFO', 'STREAM', KEYS[1]), nil
for i = 1, #ARGV do without[ARGV[i]] = true end
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
redis.call('DEL', KEYS[2])  -- that of a script which the server has stopped
redis.call('XGROUP', 'CREATE', KEYS[2], 'none', '0', 'MKSTREAM')  -- also where nothing is kept
redis.call('XGROUP', 'DESTROY', KEYS[2], 'none')
local part = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100)
while #part > 0 do
  for _, entry in ipairs(part) do
    if not without[entry[1]] then redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
  end
  part = redis.call('XRANGE', KEYS[1], '(' .. part[#part][1], '+', 'COUNT', 100)
end
redis.call('XSETID', KEYS[2], last)
redis.call('RENAME', KEYS[2], KEYS[1])
"""


def url_of(settings: Settings) -> str:
    """Return the address of the server of the streams."""
    url = settings.online.url or os.environ.get("REDIS_URL", "")
    if not url:
        raise ConfigError("online.source is redis, and neither online.url nor REDIS_URL is set.")
    return url


def connect(url: str) -> Any:
    """Return a client that asks once: who calls asks again, and starts from what is pending."""
    client = client_of(url, seconds=ANSWER_SECONDS)
    client.set_retry(Retry(NoBackoff(), 0))
    return client


def server_errors(name: str) -> AbstractContextManager[None]:
    """Turn what the client raises into what a caller of a source can act on."""
    return redis_errors(name, "What was not settled comes again. See runbook: events wait.", MEMORY)


def rewrite(client: Any, stream: str, without: Sequence[bytes] = ()) -> None:
    """Write a stream anew, so that no byte of what was deleted is left in it.

    Entries keep their ids and their order, and later ones get later ids. Nobody sees a stream that
    is half there: the server does nothing else meanwhile. Needs room for a copy.

    Parameters
    ----------
    client : redis.Redis
        One that waits long enough.
    stream : str
        One that has no groups of readers: they would be gone.
    without : sequence of bytes
        Ids of entries that are left out.
    """
    client.register_script(_REWRITE)(keys=[stream, f"{stream}:copy"], args=list(without))
