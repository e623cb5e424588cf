"""Moves: what was live when, as a chain of records that the live pointer ends.

    releases/moves/000012.json   never changed: when, which release, the move before it, and why

A move is recorded before the pointer is swapped, and the pointer names its move. So the chain from
the pointer back is what happened; a record left by a crash, or by a race that was lost, is not in
it. A pointer from before there were moves names none: the chain begins with the next one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pinnersage.errors import DataError
from pinnersage.stores.lake import canonical
from pinnersage.stores.storage import Storage

Clock = Callable[[], datetime]
"""Says what time it is, with its zone; asked when the pointer is about to move."""

SKEW = timedelta(minutes=1)
"""Clocks of several machines may differ by as much; no time in a record is truer than that."""
PARALLEL = 8
"""Records read at a time: from an object store one takes milliseconds, nearly all waiting."""


class RacedError(Exception):
    """Somebody else moved the pointer between reading it and replacing it."""


class Move(BaseModel):
    """The pointer went to a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    at: AwareDatetime
    """UTC, as the clock said."""
    live: int
    """Number of the release."""
    previous: int | None
    """Number of the move before it."""
    why: str


class Span(NamedTuple):
    """A time in which one release was live, beyond doubt."""

    start: datetime
    end: datetime | None
    """The first moment that is not in it; None for the release that is live."""
    live: int


class Moves:
    """The moves of one home.

    Parameters
    ----------
    storage : Storage
        Where they are.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def add(self, live: int, previous: int | None, why: str, clock: Clock) -> Move:
        """Record a move, before the pointer is swapped.

        Raises
        ------
        RacedError
            Somebody else has just recorded one of that number.
        """
        number = max(self.numbers(), default=0) + 1
        at = clock().astimezone(UTC)
        move = Move(number=number, at=at, live=live, previous=previous, why=why)
        if not self.storage.swap(name_of(number), None, canonical(move.model_dump(mode="json"))):
            raise RacedError(f"{self.storage.where}/{name_of(number)}")
        return move

    def numbers(self) -> list[int]:
        """Return the number of every record, ascending."""
        stems = (name.removesuffix(".json") for name in self.storage.names(""))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def chain(self, newest: int | None) -> list[Move]:
        """Return the moves that led to one, the oldest first.

        Raises
        ------
        DataError
            A record is damaged or gone.
        """
        if newest is None:
            return []
        there = [number for number in self.numbers() if number <= newest]
        with ThreadPoolExecutor(PARALLEL) as pool:
            read = dict(zip(there, pool.map(self.storage.read, map(name_of, there)), strict=True))
        found: list[Move] = []
        at: int | None = newest
        while at is not None:
            found.append(self._parse(at, read.get(at)))
            at = found[-1].previous
        return found[::-1]

    def _parse(self, number: int, data: bytes | None) -> Move:
        where = f"{self.storage.where}/{name_of(number)}"
        what = "is gone"
        if data is not None:
            try:
                return Move.model_validate_json(data)
            except ValidationError as error:
                what = f"is damaged: {str(error).splitlines()[-2].strip()}"
        raise DataError(
            f"{where} {what}. What was live when cannot be told; readers and releases go on. "
            "Restore the file from a backup. See runbook: damaged move."
        )


def name_of(number: int) -> str:
    """Return the name of a move's record."""
    return f"{number:06}.json"


def spans(chain: list[Move]) -> list[Span]:
    """Return when each release was live, in order of time; nothing where a clock was wrong.

    Where a later move has an earlier time, one of the two is wrong, and nobody knows which: both
    are unsure, and so is what begins or ends with either. Up to ``SKEW`` it is machines
    whose clocks differ a little, and the later move counts as made with the one before it.

    Parameters
    ----------
    chain : list of Move
        The oldest first.
    """
    times: list[datetime] = []
    for move in chain:
        before = times[-1] if times else move.at
        times.append(before if timedelta(0) < before - move.at <= SKEW else move.at)
    latest = accumulate(times, max)
    earliest = [*accumulate(reversed(times), min)][::-1]
    sure = [a == b for a, b in zip(latest, earliest, strict=True)]  # and both are its own time
    found = [
        Span(start, end, move.live)
        for move, start, end, known in zip(chain, times, times[1:], pairwise(sure), strict=False)
        if all(known) and start < end
    ]
    return [*found, Span(times[-1], None, chain[-1].live)] if sure and sure[-1] else found
