"""Sources: where events come from, behind one small protocol.

At least once: a delivery that was received and not settled comes again, to this consumer or to the
one after it. ``settle`` is called when what was received is safe, and only then. The order in which
events come does not matter for what becomes of them; sources keep it within a user all the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pinnersage.config import Settings
from pinnersage.errors import ConfigError


class Delivery(NamedTuple):
    """One event, as it came."""

    data: bytes
    token: Any
    """What the source knows it by."""


class Refusal(NamedTuple):
    """An event that was refused, and why."""

    delivery: Delivery
    reason: str
    """One of ``events.REASONS``."""
    says: str


class Source(Protocol):
    """Events of some of the users; no two open sources of one home have a user in common."""

    def receive(self, most: int, seconds: float) -> list[Delivery]:
        """Up to ``most`` events, the oldest first; none after ``seconds`` without any.

        What was received before and not settled comes again. Raises ``TransientError`` where the
        server is away; receiving again is right.
        """
        ...

    def settle(self, deliveries: Sequence[Delivery], refused: Sequence[Refusal]) -> None:
        """Park what was refused with its reason, then let go of all the deliveries.

        Raises ``TransientError`` where the server is away; they come again.
        """
        ...

    def waiting(self) -> int:
        """How many events are not settled, of all users; 0 only where all are."""
        ...

    def close(self) -> None:
        """Let others have the users; what was not settled is theirs. A second call does nothing."""
        ...


class Sender(Protocol):
    """Where who is handed events puts them for a source."""

    def send(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Put events, each with its user, where a source will receive them; safe on return.

        Raises ``TransientError`` where the server is away or too many wait already; sending again
        is right, since events are idempotent.
        """
        ...

    def close(self) -> None:
        """Let go of the server; a second call does nothing."""
        ...


def open_source(settings: Settings) -> Source:
    """Return the source that the settings choose."""
    online = settings.online
    if online.source == "redis":
        from pinnersage.online import redis_source  # noqa: PLC0415 (only the one in force)
        from pinnersage.stores.redis_streams import url_of  # noqa: PLC0415

        return redis_source.RedisSource(url_of(settings), online.n_shards)
    if online.source == "kafka":
        from pinnersage.online import kafka_source  # noqa: PLC0415

        return kafka_source.KafkaSource(kafka_source.brokers_of(settings), online.topic)
    raise ConfigError(
        "online.source is http: the service itself takes what is posted, and nothing waits for a "
        "consumer. For one, set it to redis or kafka."
    )


def open_sender(settings: Settings) -> Sender:
    """Return where the service puts what is posted; not for ``http``, which keeps it at once."""
    online = settings.online
    if online.source == "redis":
        from pinnersage.online import redis_source  # noqa: PLC0415 (only the one in force)
        from pinnersage.stores.redis_streams import url_of  # noqa: PLC0415

        url = url_of(settings)
        return redis_source.RedisSender(url, online.n_shards, online.max_backlog)
    if online.source == "kafka":
        from pinnersage.online import kafka_source  # noqa: PLC0415

        return kafka_source.KafkaSender(kafka_source.brokers_of(settings), online.topic)
    raise ConfigError("online.source is http: there is no stream to put events into.")
