"""Sources: where events come from, behind one small protocol.

At least once: a delivery that was received and not settled comes again, to this consumer or to the
one after it. ``settle`` is called when what was received is safe, and only then.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


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

        Raises ``TransientError`` where the server is away; receiving again is right.
        """
        ...

    def settle(self, deliveries: Sequence[Delivery], refused: Sequence[Refusal]) -> None:
        """Park what was refused with its reason, then let go of all the deliveries.

        Raises ``TransientError`` where the server is away; they come again.
        """
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
