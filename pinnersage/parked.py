"""Parked: the dead letters in Redis as an order to erase a user meets them.

A dead letter is an event that was refused, kept as it came (``online.dead_letters``). So whom it
names is looked for in its bytes, however broken they are.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

from pinnersage.config import Settings
from pinnersage.stores.address import without_password
from pinnersage.takedown import as_integer

DEAD = "pinnersage:events:dead"
PAGE = 1_000
"""Letters that are read at a time."""
_SECONDS = 60.0
"""Longest wait for the server while it writes the letters anew."""
_KEY = "".join(rf"(?:{letter}|\\u00{ord(letter):02x})" for letter in "user_id")
_USER = re.compile(rf'(?i:"{_KEY}")\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')


def forget(settings: Settings, who: Callable[[Iterable[str]], set[str]]) -> int:
    """Remove the dead letters that name a user among ``who``; return how many.

    They are written anew, so that the server's next files have none of their bytes, nor of those
    that were removed before. None are here unless events come through Redis.

    Raises
    ------
    TransientError
        The server is away or full.
    """
    if settings.online.source != "redis":
        return 0
    from pinnersage.stores import redis_store, redis_streams  # noqa: PLC0415 (only where it is)

    url = redis_streams.url_of(settings)
    with (
        closing(redis_store.client_of(url, seconds=_SECONDS)) as client,
        redis_streams.server_errors(without_password(url)),
    ):
        found = [
            entry
            for entry, fields in letters(client)
            if who(users_in(fields.get(b"data", b"")))  # of an entry that we did not write, none
        ]
        redis_streams.rewrite(client, DEAD, found)
    return len(found)


def letters(client: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Yield those that are there now, the oldest first; none that come meanwhile."""
    last = client.xrevrange(DEAD, count=1)
    start: Any = "-"
    while last:
        page = client.xrange(DEAD, min=start, max=last[0][0], count=PAGE)
        if not page:
            return
        yield from page
        start = b"(" + page[-1][0]


def users_in(data: bytes) -> set[str]:
    """Return whom an event names, however broken it is: ids as they stand, and as the lake's."""
    text = data.decode(errors="replace")
    found: list[object] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        found.extend(value for key, value in pairs if key == "user_id")

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):  # no JSON, or none that anybody reads
        for value in _USER.findall(text):
            with suppress(ValueError):
                found.append(json.loads(value))
    names = {name for value in found if (name := _name(value))}
    return names | {str(number) for name in names if (number := as_integer(name)) is not None}


def _name(value: object) -> str:
    """Return an id as text; '' for what is nobody's."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    try:
        name = str(value)
        name.encode()
    except ValueError:  # half a character, or thousands of digits
        return ""
    return name
