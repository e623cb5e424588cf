"""Dead letters: events that were refused, parked in a stream with the reason.

They are kept to be looked at, and to be given back when the cause is gone: pins that were unknown
and have an embedding since. Of a user who was erased nothing is parked, and what was parked
before goes with the order (``parked``).
"""

from collections import Counter
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from pinnersage import parked
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, RefusedError
from pinnersage.online.events import REASONS
from pinnersage.online.shards import stream
from pinnersage.stores.address import without_password
from pinnersage.stores.redis_streams import connect, server_errors, url_of

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
            reasons = Counter(_text(fields, "reason") for _, fields in parked.letters(self.client))
            last = self.client.xrevrange(parked.DEAD, count=newest) if newest else []
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
            for entry, fields in parked.letters(self.client):
                if _text(fields, "reason") != reason or not fields.keys() >= {b"shard", b"data"}:
                    continue  # also one that we did not write
                pipe = self.client.pipeline(transaction=True)
                shard = int(fields[b"shard"]) % self.n_shards
                pipe.xadd(stream(shard), {"data": fields[b"data"]})
                pipe.xdel(parked.DEAD, entry)
                pipe.execute()
                events += 1
        return GivenBack(reason=reason, events=events)

    def close(self) -> None:
        """Let go of the server."""
        self.client.close()


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
