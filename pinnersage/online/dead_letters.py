"""Dead letters: events that were refused, parked in a stream with the reason.

They are kept to be looked at, and to be given back when the cause is gone: pins that were unknown
and have an embedding since. Of a user who was erased nothing is parked, and ``forget_erased``
removes what was parked before.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from pinnersage import erased
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, RefusedError
from pinnersage.online.events import REASONS
from pinnersage.online.redis_source import connect, server_errors, url_of
from pinnersage.online.shards import DEAD, stream
from pinnersage.stores.address import without_password
from pinnersage.takedown import as_integer

PAGE = 1_000
"""Letters that are read at a time."""
_USER = re.compile(r'"user_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+)')
WHOLE = tuple(reason for reason in REASONS if reason not in {"oversized", "erased_user"})
"""Reasons whose letters are kept whole; others are cut, or not kept."""


class DeadLetter(BaseModel):
    """One event that was refused."""

    model_config = ConfigDict(frozen=True)

    parked_at: datetime
    """By the server's clock."""
    reason: str
    says: str
    data: str
    """As far as it is text, and was kept."""


class Report(BaseModel):
    """What is parked."""

    model_config = ConfigDict(frozen=True)

    reasons: dict[str, int]
    """How many of each, the most frequent first."""
    newest: list[DeadLetter]


class GivenBack(BaseModel):
    """What was given back to the consumers."""

    model_config = ConfigDict(frozen=True)

    reason: str
    events: int


def open_dead_letters(settings: Settings) -> "DeadLetters":
    """Return the dead letters of the source that the settings choose."""
    online = settings.online
    if online.source == "redis":
        return DeadLetters(url_of(settings), online.n_shards)
    if online.source == "kafka":
        raise ConfigError(
            f"online.source is kafka: dead letters are in its topic {online.topic}-dead, "
            "with the reason as a header. Read it with Kafka's own tools."
        )
    raise ConfigError("online.source is http: who posts an event is told why it is refused.")


def forget_erased(settings: Settings) -> int:
    """Remove the dead letters of erased users, where there are any here; return how many."""
    if settings.online.source != "redis":
        return 0
    with closing(open_dead_letters(settings)) as letters:
        return letters.forget(erased.read(settings).among)


class DeadLetters:
    """The dead letters of one server.

    Parameters
    ----------
    url : str
    n_shards : int
    """

    def __init__(self, url: str, n_shards: int) -> None:
        self.name, self.client, self.n_shards = without_password(url), connect(url), n_shards

    def report(self, newest: int) -> Report:
        """Return how many there are of each reason, and the newest of all."""
        with server_errors(self.name):
            reasons = Counter(_text(fields, "reason") for _, fields in self._all())
            last = self.client.xrevrange(DEAD, count=newest) if newest else []
        letters = [_letter(entry, fields) for entry, fields in last]
        return Report(reasons=dict(reasons.most_common()), newest=letters)

    def again(self, reason: str) -> GivenBack:
        """Give all of a reason back to the consumers, and park them no longer.

        Those that are refused again meanwhile stay: each is given back once.
        """
        if reason not in WHOLE:
            raise RefusedError(
                f"Dead letters of {reason!r} cannot be given back; those of one of these can: "
                f"{', '.join(WHOLE)}."
            )
        events = 0
        with server_errors(self.name):
            for entry, fields in self._all():
                if _text(fields, "reason") != reason:
                    continue
                pipe = self.client.pipeline(transaction=True)
                shard = int(fields[b"shard"]) % self.n_shards
                pipe.xadd(stream(shard), {"data": fields[b"data"]})
                pipe.xdel(DEAD, entry)
                pipe.execute()
                events += 1
        return GivenBack(reason=reason, events=events)

    def forget(self, who: Callable[[Iterable[str]], set[str]]) -> int:
        """Remove those that name a user among ``who``; return how many."""
        with server_errors(self.name):
            found = [entry for entry, fields in self._all() if who(users_in(fields[b"data"]))]
            for start in range(0, len(found), PAGE):
                self.client.xdel(DEAD, *found[start : start + PAGE])
        return len(found)

    def close(self) -> None:
        """Let go of the server."""
        self.client.close()

    def _all(self) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        """Those that are there now, the oldest first; none that come meanwhile."""
        last = self.client.xrevrange(DEAD, count=1)
        start: Any = "-"
        while last:
            page = self.client.xrange(DEAD, min=start, max=last[0][0], count=PAGE)
            if not page:
                return
            yield from page
            start = b"(" + page[-1][0]


def _text(fields: dict[bytes, bytes], name: str) -> str:
    return fields.get(name.encode(), b"").decode(errors="replace")


def _letter(entry: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    parked = int(entry.partition(b"-")[0]) / 1000
    return DeadLetter(
        parked_at=datetime.fromtimestamp(parked, UTC),
        reason=_text(fields, "reason"),
        says=_text(fields, "says"),
        data=_text(fields, "data"),
    )


def users_in(data: bytes) -> set[str]:
    """Return whom an event names, however broken it is: ids as they stand, and as the lake's."""
    found = set()
    for text in _USER.findall(data.decode(errors="replace")):
        with suppress(ValueError):
            name = str(json.loads(text))
            name.encode()  # half a character is nobody's id
            found.add(name)
    return found | {str(number) for name in found if (number := as_integer(name)) is not None}
