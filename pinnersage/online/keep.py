"""Keep: what maintenance does for the online states, so that they hold nothing that is over.

What waits in the journal goes to the lake. A state goes when none of its actions counts any more,
however nobody reads it: readers enforce ``online.keep_days`` themselves. So does one that cannot be
read, since it counts as empty.

A consumer knows of an order to erase a user some seconds late (``stores.watched``), and may bring
a state back that ``erase`` has removed. No reader shows it, and it goes here; what was added to the
journal is left out of the lake. What was parked of such a user meanwhile goes here as well.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice

from pydantic import BaseModel, ConfigDict

from pinnersage import erased, parked
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.online import feedback, state
from pinnersage.online.events import EPOCH, MICROSECOND
from pinnersage.stores import open_states
from pinnersage.stores.states import States

PART = 1000
"""Users that are looked at together."""


class KeepReport(BaseModel):
    """What there was of online states, and what went."""

    model_config = ConfigDict(frozen=True)

    users: int
    """Users with a state before."""
    states: int
    """States that went, or would go."""
    feedback: int
    """Events that went from the journal to the lake; none in a dry run."""
    dead_letters: int
    """Dead letters of erased users, which went; none in a dry run."""


def run(now: datetime, settings: Settings, *, dry_run: bool) -> KeepReport:
    """Move feedback to the lake and remove states that are over at ``now``, or say which would go.

    Raises
    ------
    TransientError
        A store is away or full; what is left goes next time.
    DataError
        The journal, the states or the record of erased users cannot be read.
    """
    with open_states(settings) as states:
        moved = 0 if dry_run else feedback.flush(states, settings)
        users, gone = sweep(states, now, settings, dry_run=dry_run)
        record, letters = erased.read(settings), 0
        if record.users and not dry_run:
            states.scrub()  # whatever removed what there was of them: this, or a flush before
            letters = parked.forget(settings, record.among)
    return KeepReport(users=users, states=gone, feedback=moved, dead_letters=letters)


def sweep(
    states: States, now: datetime, settings: Settings, *, dry_run: bool = False
) -> tuple[int, int]:
    """Remove the states that are over; return how many there were, and how many of them went."""
    oldest = (now - timedelta(days=settings.online.keep_days) - EPOCH) // MICROSECOND
    record, items, users, gone = erased.read(settings), states.items(), 0, 0

    def over(values: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        there = {key: value for key, value in values.items() if value is not None}
        forgotten = record.among(key.decode() for key in there)
        return {
            key: None
            for key, value in there.items()
            if key.decode() in forgotten or not counts(value, oldest)
        }

    while part := dict(islice(items, PART)):
        keys = list(over(part))
        users, gone = users + len(part), gone + len(keys)
        if keys and not dry_run:
            states.change(keys, over)
    return users, gone


def counts(value: bytes, oldest: int) -> bool:
    """Return whether a state has an action later than ``oldest`` (microseconds)."""
    try:
        return any(action.acted_at > oldest for action in state.unpack(value))
    except DataError:
        return False
